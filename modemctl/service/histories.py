"""What a card went through, and which requests wait (SIM-02, SIM-03)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from modemctl.lifecycle import CardState
from modemctl.policy.custody import Step, WorkingDays
from modemctl.service.principal import Principal, Scope
from modemctl.service.sim_views import SimView, name_for, unknown, view
from modemctl.store import Connection, Store, custody, sims
from modemctl.store.sims import Card

__all__ = ["CardState", "Histories", "HistoryLine", "OpenRequest", "Step"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryLine:
    """One step of a card's life; holder and department are those after it.

    `is_intact` is false where the line was altered behind our back.
    """

    seq: int
    at: datetime
    step: Step
    by: str
    state: CardState
    holder: str | None
    user_name: str | None
    department: str | None
    reason: str
    reference: str | None
    other_iccid: str | None
    is_intact: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRequest:
    """A request that waits, for whom, and how many working days by now (SIM-02)."""

    card: SimView
    asked_at: datetime
    asked_by: str | None
    waits_for: Step
    working_days: int
    is_overdue: bool


class Histories:
    """Reads; changes nothing."""

    def __init__(self, store: Store, *, days: WorkingDays) -> None:
        """`days`: the site's calendar, by which a request is late."""
        self._store = store
        self._days = days

    async def history(self, who: Principal, iccid: str) -> Sequence[HistoryLine]:
        """The whole custody history of a card, oldest step first (SIM-03).

        Raises:
            NotPermitted, NotFound: scope, card.
        """
        who.require(Scope.SIMS_READ)
        vault = self._store.vault

        def read(conn: Connection) -> Sequence[custody.Line]:
            card = sims.read(conn, vault, iccid)
            if card is None or not who.sees(card.department):
                raise unknown(iccid)
            return custody.read(conn, vault, iccid)

        return [_shown(line, who) for line in await self._store.read(read)]

    async def open_requests(
        self, who: Principal, *, is_overdue: bool | None = None
    ) -> Sequence[OpenRequest]:
        """Requests that wait, the longest first, and whether it is too long (SIM-02).

        Raises:
            NotPermitted: the scope is missing.
        """
        who.require(Scope.SIMS_READ)
        vault, now = self._store.vault, self._store.clock.now()

        def read(conn: Connection) -> Sequence[tuple[Card, custody.Line | None]]:
            cards = sims.in_request(conn, vault, department=who.department)
            asked = custody.last_of(conn, vault, [one.iccid for one in cards], Step.REQUESTED)
            return [(one, asked.get(one.iccid)) for one in cards]

        found = [self._open(card, line, who, now) for card, line in await self._store.read(read)]
        chosen = [one for one in found if is_overdue in {None, one.is_overdue}]
        return sorted(chosen, key=lambda one: (one.asked_at, one.card.iccid))

    def _open(
        self, card: Card, asked: custody.Line | None, who: Principal, now: datetime
    ) -> OpenRequest:
        asked_at = card.created_at if asked is None else asked.at
        return OpenRequest(
            card=view(card, who),
            asked_at=asked_at,
            asked_by=None if asked is None else asked.by,
            waits_for=_NEXT[card.state],
            working_days=self._days.since(asked_at, now),
            is_overdue=self._days.is_overdue(asked_at, now),
        )


def _shown(line: custody.Line, who: Principal) -> HistoryLine:
    return HistoryLine(
        seq=line.seq,
        at=line.at,
        step=line.step,
        by=line.by,
        state=line.state,
        holder=name_for(line.holder, who),
        user_name=name_for(line.user_name, who),
        department=line.department,
        reason=line.reason,
        reference=line.reference,
        other_iccid=line.other_iccid,
        is_intact=line.is_intact,
    )


_NEXT: Final[Mapping[CardState, Step]] = {
    CardState.REQUESTED: Step.REVIEWED,
    CardState.REVIEWED: Step.APPROVED,
    CardState.APPROVED: Step.PROVISIONED,
    CardState.PROVISIONED: Step.ISSUED,
}
