"""Whether a card may be used at all, by what the register says of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, tzinfo
from typing import Final

from modemctl.config.settings import ListMode
from modemctl.lifecycle import CardState
from modemctl.model import Bay, Iccid

_NOT_YET: Final = frozenset(
    {CardState.REQUESTED, CardState.REVIEWED, CardState.APPROVED, CardState.PROVISIONED}
)
_SUSPENDED: Final = {
    CardState.SUSPENDED_LOSS: "SIM-09",
    CardState.SUSPENDED_ARREARS: "TEL-10",
    CardState.SUSPENDED_PENALTY: "TEL-05",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfitness:
    """Why a card or a modem is not used. `reason` is one word for rows and events."""

    policy: str
    reason: str


UNKNOWN_CARD: Final = Unfitness(policy="SIM-01", reason="unregistered")
TAMPERED_CARD: Final = Unfitness(policy="SEC-05", reason="tampered")
MOVED_CARD: Final = Unfitness(policy="SIM-07", reason="moved")
UNBOUND_CARD: Final = Unfitness(policy="SIM-07", reason="unbound")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tie:
    """A bay and the card that belongs into it.

    `is_firm`: a person said so; else it was learned. `tied_by` is his name, or the node's. Build
    nothing on a tie that is not intact: its row was altered.
    """

    bay: Bay
    iccid: Iccid
    is_firm: bool
    tied_by: str
    tied_at: datetime
    is_intact: bool


def unfitness(state: CardState, verified_at: datetime | None) -> Unfitness | None:
    """Why a registered card may not be used; None where it may."""
    if state in _SUSPENDED:
        return Unfitness(policy=_SUSPENDED[state], reason=state.value)
    if state in _NOT_YET:
        return Unfitness(policy="SIM-02", reason="not_issued")
    if state is not CardState.ISSUED:
        return Unfitness(policy="SIM-12", reason=state.value)
    if verified_at is None:
        return Unfitness(policy="SIM-04", reason="unverified")
    return None


def lease_fault(lease_until: date | None, now: datetime, zone: tzinfo) -> Unfitness | None:
    """Why a leased card sends nothing: its term is over; its last day counts (SIM-17)."""
    if lease_until is None or now.astimezone(zone).date() <= lease_until:
        return None
    return Unfitness(policy="SIM-17", reason="lease_ended")


def misplacement(
    mode: ListMode, bay: Bay, iccid: Iccid, *, of_bay: Tie | None, of_card: Tie | None
) -> Unfitness | None:
    """Why a card may not be used in this bay, by the ties of both; None where it may (SIM-07).

    What was only learned binds nobody while the bank learns; what a person said always does.
    """
    if mode is ListMode.OFF:
        return None
    ties = [tie for tie in (of_bay, of_card) if tie is not None]
    if any(not tie.is_intact for tie in ties):
        return TAMPERED_CARD
    if any(tie.bay == bay and tie.iccid == iccid for tie in ties):
        return None
    if mode is ListMode.LEARN:
        return MOVED_CARD if any(tie.is_firm for tie in ties) else None
    return MOVED_CARD if ties else UNBOUND_CARD
