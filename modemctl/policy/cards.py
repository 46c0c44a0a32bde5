"""Whether a card may be used at all, by what the register says of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from modemctl.lifecycle import CardState

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
    """Why a card gets no PIN and carries no traffic. `reason` is one word for rows and events."""

    policy: str
    reason: str


UNKNOWN_CARD: Final = Unfitness(policy="SIM-01", reason="unregistered")
TAMPERED_CARD: Final = Unfitness(policy="SEC-05", reason="tampered")


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
