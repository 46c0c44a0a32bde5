"""Acts of two persons (SEC-04): which they are, and when a request for one counts."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum


class DualKind(StrEnum):
    """An act that one person asks for and another one confirms."""

    ELEVATION = "elevation"  # SEC-01: roles for a time
    GRANT = "grant"  # SEC-01: an authorisation to decide
    OPERATOR = "operator"  # SMS-06: signed by two managers, filed by a third person
    UNFREEZE = "unfreeze"  # SEC-06: an account or a key that was frozen
    PIN_REVEAL = "pin_reveal"
    KEY_ROTATION = "key_rotation"
    POLICY_CHANGE = "policy_change"
    EXPORT = "export"
    PURGE = "purge"
    ERASURE = "erasure"
    EVIDENCE_PACKAGE = "evidence_package"
    HOLD_LIFT = "hold_lift"
    THIRD_PARTY = "third_party"  # SMS-09: sending for somebody else
    SUSPENSION_RELEASE = "suspension_release"


class DualState(StrEnum):
    """How far a request is; `expired` is told of one that waits and whose time is over."""

    ASKED = "asked"
    CONFIRMED = "confirmed"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    SPENT = "spent"
    EXPIRED = "expired"


BY_COMMAND = frozenset({DualKind.ELEVATION, DualKind.GRANT, DualKind.OPERATOR, DualKind.UNFREEZE})
"""Kinds that only the service of the act itself asks for, since it knows the details."""

OPEN = frozenset({DualState.ASKED, DualState.CONFIRMED})
"""States that something can still come of."""


def state_at(state: DualState, expires_at: datetime, now: datetime) -> DualState:
    """What a stored state is worth at `now`."""
    return DualState.EXPIRED if state in OPEN and now >= expires_at else state


def why_not_confirm(state: DualState, *, asker: str, confirmer: str) -> str | None:
    """Why this account cannot confirm a request that stands so; None where it can."""
    if asker == confirmer:
        return "who asked does not confirm"
    return None if state is DualState.ASKED else f"the request is {state}"


def why_not_spend(state: DualState, *, asker: str, confirmer: str | None, who: str) -> str | None:
    """Why this account cannot act on a request that stands so; None where it can, once."""
    if state is not DualState.CONFIRMED:
        return "nobody has confirmed it yet" if state is DualState.ASKED else f"it is {state}"
    if who != asker:
        return "it is the permit of who asked for it"
    return "who asked has confirmed it himself" if confirmer in {None, asker} else None
