"""A charge: on whom a segment is counted, as its row remembers it until it is given back.

The row's words are sealed: who planted others would have counts given back that he never took.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy import RowMapping

from modemctl.policy.quotas import Measure
from modemctl.store.tables import from_ms, to_ms
from modemctl.vault import Vault

_NOBODY: Final = "-"
_SEAL_DIGITS: Final = 32  # 128 bits


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

    def text(self, vault: Vault, segment_id: int) -> str:
        """All but `at`, sealed for the row of this segment."""
        words = (self.mark, str(to_ms(self.wall)), str(self.n_messages), self.recipient or _NOBODY)
        plain = " ".join((*words, *self.keys))
        return f"{_seal(vault, segment_id, self.at, plain)} {plain}"

    @classmethod
    def of(cls, vault: Vault, row: RowMapping) -> Charge | None:
        """As a segment's row remembers it; None where nothing is charged that is given back.

        What modemctl did not write gives nothing back: it stays counted.
        """
        at, text = row["charged_at"], row["charged_to"]
        if at is None or text is None:
            return None
        seal, _, plain = str(text).partition(" ")
        wanted = _seal(vault, row["segment_id"], at, plain)
        if not hmac.compare_digest(seal.encode(), wanted.encode()):
            return None
        mark, wall, n_messages, recipient, *keys = plain.split(" ")
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


def _seal(vault: Vault, segment_id: int, at: datetime, plain: str) -> str:
    return vault.mac("charge", segment_id, to_ms(at), plain).hex()[:_SEAL_DIGITS]
