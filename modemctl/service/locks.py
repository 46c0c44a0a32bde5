"""Who asks for a PIN at power-up, who does not, of whom nobody knows (SIM-02, SIM-07)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from modemctl.lifecycle import CardState, ModemState
from modemctl.policy.locks import LockState
from modemctl.service.pages import Page, decode_text, encode_cursor
from modemctl.service.principal import Principal, Scope
from modemctl.store import Store, card_locks
from modemctl.store.card_locks import LockRow

__all__ = ["CardState", "LockState", "LockView", "Locks"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LockView:
    """One card. `is_locked` is what a modem told at `verified_at`; None: none has.

    `reason`: one word why the card cannot be used, or why nothing is known of it.
    """

    iccid: str
    department: str | None
    card_state: CardState | None
    bay: str | None
    state: LockState
    is_locked: bool | None
    verified_at: datetime | None
    reason: str


class Locks:
    """Reports; what is in it was seen by the fleet."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def report(
        self, who: Principal, *, cursor: str | None = None, limit: int = 100
    ) -> Page[LockView]:
        """Cards in use, and those that are in a bay, in order of ICCID.

        Raises:
            NotPermitted, InvalidRequest: scope or cursor.
        """
        who.require(Scope.SIMS_READ)
        after = decode_text(cursor)
        found = await self._store.read(
            lambda conn: card_locks.find(
                conn, department=who.department, after=after, limit=limit + 1
            )
        )
        more = encode_cursor(found[limit - 1].iccid) if len(found) > limit else None
        return Page(items=[_view(row) for row in found[:limit]], next=more)


def _view(row: LockRow) -> LockView:
    state = row.lock
    return LockView(
        iccid=row.iccid,
        department=row.department,
        card_state=row.state,
        bay=row.bay,
        state=state,
        is_locked=row.is_locked,
        verified_at=row.verified_at,
        reason=row.reason or (_why_unknown(row) if state is LockState.UNKNOWN else ""),
    )


def _why_unknown(row: LockRow) -> str:
    if row.bay is None or row.bay_state == ModemState.ABSENT:
        return "in no bay"
    return row.bay_reason or row.bay_state or ""
