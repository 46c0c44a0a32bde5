"""How a card's use ends: suspended, lost, damaged, returned, cancelled (SIM-09, SIM-10, SIM-12).

What stops a card needs one person; what lets it go on needs the permission to issue.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final

from modemctl.errors import Conflict, InvalidRequest, PolicyRefused
from modemctl.lifecycle import CardState
from modemctl.model import EventKind, Iccid
from modemctl.policy.custody import ENDS, MISSING, SUSPENDED, Step, is_bound, step_to
from modemctl.policy.dual import DualKind
from modemctl.service import dual
from modemctl.service.card_acts import (
    approval_of,
    change_card,
    following_command,
    move_card,
    next_command,
    note,
    required,
)
from modemctl.service.principal import Principal, Scope
from modemctl.service.sim_views import SimView
from modemctl.store import Store, Tx, sims, ties
from modemctl.store.sims import Card
from modemctl.store.transaction import Json

__all__ = ["CardState", "Ending", "Endings", "end_card"]

_REFERENCE_MAX: Final = 128
_STATE: Final = "state"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """Why and how a card is stopped or given up.

    `until`: how long a penalty's suspension lasts; None: until two persons end it.
    `carrier_reference`: what the carrier answered to the report of a loss (挂失), at
    `carrier_told_at`, None for now.
    """

    state: CardState
    reason: str
    until: datetime | None = None
    carrier_reference: str | None = None
    carrier_told_at: datetime | None = None


class Endings:
    """Stops cards, and lets suspended ones go on."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def end(self, who: Principal, iccid: str, ending: Ending) -> SimView:
        """Suspend a card, or give it up as lost, damaged, returned or cancelled: at once.

        A returned card belongs into no bay any more. One that a bay holds is not cancelled.

        Raises:
            NotPermitted, InvalidRequest, NotFound: scope, reason, a field, card.
            Conflict: the card's life has no such step, or a bay holds it still (SIM-10).
        """
        who.require(Scope.SIMS_WRITE)
        why = required(ending.reason)
        if ending.state not in ENDS:
            rule = f"nobody makes a card {ending.state} by this"
            raise PolicyRefused("SIM-02", rule, field=_STATE, cure=next_command(ending.state))
        changes = _ending_changes(ending, self._store.clock.now())

        def act(tx: Tx, card: Card) -> None:
            end_card(tx, who, card, ending.state, why=why, changes=changes)

        return await change_card(self._store, who, iccid, act)

    async def release(
        self, who: Principal, iccid: str, reason: str, *, request_id: str | None = None
    ) -> SimView:
        """End a suspension. A penalty's ends before its time only by two persons (TEL-05, SEC-04).

        Raises:
            NotPermitted, InvalidRequest, NotFound: scope, reason, card.
            Conflict: it is not suspended.
            PolicyRefused: SIM-02: a machine; SEC-04: nobody confirmed `request_id`.
        """
        who.require(Scope.SIMS_ISSUE)
        who.require_person("SIM-02")
        why = required(reason)

        def act(tx: Tx, card: Card) -> None:
            if card.state not in SUSPENDED:
                rule = f"a card that is {card.state} is not suspended"
                cure = following_command(card.state)
                raise Conflict(rule, field=_STATE, policy="SIM-02", cure=cure)
            facts: dict[str, Json] = approval_of(tx, card)
            if is_bound(card.state, card.suspended_until, tx.now):
                kind = DualKind.SUSPENSION_RELEASE
                permit = dual.take(tx, who, request_id, kind=kind, subject=iccid)
                facts |= {"request": permit.request_id, "policy": "TEL-05"}
            changes = {"suspended_until": None, "carrier_reference": None, "carrier_told_at": None}
            move_card(tx, who, card, Step.RELEASED, why=why, changes=changes, facts=facts)

        return await change_card(self._store, who, iccid, act)

    async def tell_carrier(
        self, who: Principal, iccid: str, reference: str, at: datetime | None = None
    ) -> SimView:
        """Note that the carrier was told of a loss (挂失), under which reference and when.

        Raises:
            NotPermitted, InvalidRequest, NotFound: scope, reference, time, card.
            Conflict: the card is not missing.
        """
        who.require(Scope.SIMS_WRITE)
        changes = _carrier_columns(reference, at, self._store.clock.now())

        def act(tx: Tx, card: Card) -> None:
            if card.state not in MISSING:
                rule = f"a card that is {card.state} is not missing"
                raise Conflict(rule, field=_STATE, policy="SIM-09")
            sims.amend(tx, iccid, changes)
            details: dict[str, Json] = {"reference": reference.strip(), "policy": "SIM-09"}
            note(tx, who, "sim.carrier", iccid, details, step=Step.CARRIER_TOLD,
                 reason="loss reported", reference=reference.strip())  # fmt: skip

        return await change_card(self._store, who, iccid, act)


def end_card(
    tx: Tx,
    who: Principal,
    card: Card,
    to: CardState,
    *,
    why: str,
    changes: Mapping[str, object] = MappingProxyType({}),
) -> None:
    """Stop a card or give it up, inside a transaction.

    Raises:
        Conflict: the card's life has no such step, or a bay holds it still (SIM-10).
    """
    bay = sims.bay_of(tx.conn, card.iccid) if to is CardState.CANCELLED else None
    if bay is not None:
        rule, cure = f"bay {bay} holds it still", "take it out first"
        raise Conflict(rule, field=_STATE, value=to, cure=cure, policy="SIM-10")
    if to is CardState.RETURNED:
        _untie(tx, who, card.iccid)
    facts: dict[str, Json] = {"policy": _POLICIES.get(to, "SIM-12")}
    if to in MISSING:
        tx.event(EventKind.ALARM, card.iccid, {"alarm": "card_missing", "policy": "SIM-09"})
    reference = changes.get("carrier_reference")
    text = None if reference is None else str(reference)
    move_card(
        tx, who, card, step_to(to), why=why, changes=changes, facts=facts, to=to, reference=text
    )


def _untie(tx: Tx, who: Principal, iccid: Iccid) -> None:
    tie = ties.read_many(tx.conn, tx.vault, iccids=[iccid]).by_card.get(iccid)
    if tie is not None:
        ties.unbind(tx, tie.bay)
        details = {"iccid": iccid, "source": who.source, "reason": "returned", "policy": "SIM-10"}
        tx.audit(who.name, "bay.unbind", tie.bay, details)


def _ending_changes(ending: Ending, now: datetime) -> Mapping[str, object]:
    changes: dict[str, object] = {}
    if ending.until is not None:
        if ending.state is not CardState.SUSPENDED_PENALTY or ending.until <= now:
            rule = "is for a penalty, and lies ahead"
            raise InvalidRequest(rule, field="until", policy="TEL-05")
        changes["suspended_until"] = ending.until
    if ending.carrier_reference is not None:
        if ending.state not in MISSING:
            rule = "is for a card that is missing"
            raise InvalidRequest(rule, field="carrier_reference", policy="SIM-09")
        changes |= _carrier_columns(ending.carrier_reference, ending.carrier_told_at, now)
    return changes


def _carrier_columns(reference: str, at: datetime | None, now: datetime) -> dict[str, object]:
    text = reference.strip()
    if not text or len(text) > _REFERENCE_MAX or not text.isprintable():
        rule = f"must have 1 to {_REFERENCE_MAX} printable characters"
        raise InvalidRequest(rule, field="carrier_reference", policy="SIM-09")
    if at is not None and at > now:
        raise InvalidRequest("lies in the future", field="carrier_told_at", policy="SIM-09")
    return {"carrier_reference": text, "carrier_told_at": at or now}


_POLICIES: Final[Mapping[CardState, str]] = {
    CardState.LOST: "SIM-09",
    CardState.DAMAGED: "SIM-09",
    CardState.SUSPENDED_LOSS: "SIM-09",
    CardState.SUSPENDED_ARREARS: "TEL-10",
    CardState.SUSPENDED_PENALTY: "TEL-05",
}
