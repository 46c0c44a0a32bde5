"""Where a card stands with its PIN, by what its last start has shown."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class LockState(StrEnum):
    """Where a card stands with its PIN."""

    LOCKED = "locked"  # it asks for its PIN at power-up, and serves
    UNLOCKED = "unlocked"  # it serves anybody
    UNKNOWN = "unknown"  # no modem has told yet
    STOPPED = "stopped"  # the PIN guard, or the card, keeps it from being used
    BLOCKED = "blocked"  # it asks for its PUK
    WAITS_FOR_PUK = "waits_for_puk"  # the same, and somebody has brought the PUK


_BLOCKED: Final = frozenset({"sim_puk", "pin_blocked"})


def lock_state(*, is_locked: bool | None, reason: str, has_puk_request: bool) -> LockState:
    """The state behind what was seen; `reason`: one word why the card cannot be used."""
    if reason in _BLOCKED or reason.startswith("puk_"):
        return LockState.WAITS_FOR_PUK if has_puk_request else LockState.BLOCKED
    if is_locked is False:
        return LockState.UNLOCKED
    if reason:
        return LockState.STOPPED
    return LockState.UNKNOWN if is_locked is None else LockState.LOCKED
