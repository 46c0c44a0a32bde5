"""Segments back into a text. The caller holds the state; nothing here remembers anything."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from modemctl.sms.tpdu import Deliver
from modemctl.sms.userdata import decode_ucs2


@dataclass(frozen=True, slots=True, kw_only=True)
class PartKey:
    """What the segments of one message share, besides the card that received them."""

    sender: str = field(repr=False)
    reference: int
    total: int
    is_wide: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One received segment. `ucs2`: its octets where it came as UCS-2, else empty."""

    key: PartKey
    sequence: int
    text: str = field(repr=False)
    ucs2: bytes = field(default=b"", repr=False)


def part_of(deliver: Deliver) -> Part | None:
    """The segment that this message is; None where it is a whole message or carries no text."""
    concat = deliver.user_data.concat
    text = deliver.user_data.text
    if concat is None or text is None:
        return None
    key = PartKey(
        sender=deliver.sender.text,
        reference=concat.reference,
        total=concat.total,
        is_wide=concat.is_wide,
    )
    return Part(key=key, sequence=concat.sequence, text=text, ucs2=deliver.user_data.ucs2)


def missing(parts: Iterable[Part]) -> tuple[int, ...]:
    """The sequence numbers that are not there yet, ascending; none for no parts."""
    have: set[int] = set()
    total = 0
    for part in parts:
        have.add(part.sequence)
        total = part.key.total
    return tuple(number for number in range(1, total + 1) if number not in have)


def join(parts: Iterable[Part]) -> str | None:
    """The whole text once every segment is there, in any order; None before.

    All parts have one key. A sequence number that came twice counts once, as first given.
    A character that its sender cut in two halves (UCS-2) is whole again.
    """
    by_sequence: dict[int, Part] = {}
    for part in parts:
        by_sequence.setdefault(part.sequence, part)
    if not by_sequence or missing(by_sequence.values()):
        return None
    ordered = [by_sequence[number] for number in sorted(by_sequence)]
    if all(part.ucs2 for part in ordered):
        return decode_ucs2(b"".join(part.ucs2 for part in ordered))
    return "".join(part.text for part in ordered)


def may_belong(one: datetime | None, other: datetime | None, *, within: timedelta) -> bool:
    """Whether two segments of one key may be of one message, by their service centre times.

    A sender may use a reference again; segments of one message arrive at the service centre
    shortly after each other. An unknown time excludes nothing.
    """
    return one is None or other is None or abs(one - other) <= within
