"""A charge: on whom a segment is counted, as its row remembers it until it is given back."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from modemctl.policy.quotas import Measure
from modemctl.store.tables import from_ms, to_ms

_NOBODY: Final = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """What one segment counts for; its row remembers it as `at` and `text`.

    `at` is steady time, `wall` the other clock's at that moment.
    """

    at: datetime
    wall: datetime
    mark: str
    n_messages: int
    recipient: str | None = field(repr=False)
    keys: tuple[str, ...]

    @property
    def text(self) -> str:
        """All but `at`."""
        words = (self.mark, str(to_ms(self.wall)), str(self.n_messages), self.recipient or _NOBODY)
        return " ".join((*words, *self.keys))

    @classmethod
    def of(cls, at: datetime | None, text: str | None) -> Charge | None:
        """As a row remembers it; None where nothing is charged that could be given back."""
        if at is None or text is None:
            return None
        mark, wall, n_messages, recipient, *keys = text.split(" ")
        return cls(
            at=at,
            wall=from_ms(int(wall)),
            mark=mark,
            n_messages=int(n_messages),
            recipient=None if recipient == _NOBODY else recipient,
            keys=tuple(keys),
        )

    def amount(self, measure: Measure) -> int:
        """How much of a measure it stands for."""
        match measure:
            case Measure.SEGMENTS:
                return 1
            case Measure.MESSAGES:
                return self.n_messages
            case Measure.RECIPIENTS:
                return int(self.recipient is not None)
