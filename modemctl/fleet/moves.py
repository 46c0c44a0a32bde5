"""What ends a bay's stay in a state: told by the stay itself, or by an interruption of it."""

from __future__ import annotations

from dataclasses import dataclass

from modemctl.lifecycle import ModemEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """What ends a stay in a state."""

    event: ModemEvent
    reason: str = ""


class Interrupted(Exception):
    """The bay's state is left by this event."""

    def __init__(self, event: ModemEvent, reason: str) -> None:
        super().__init__(reason)
        self.event = event
        self.reason = reason
