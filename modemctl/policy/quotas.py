"""How much one card may send: sliding minute and hour, the site's calendar day, a gap (SIM-08).

Counts live in buckets. A window takes in every bucket that could still hold something of the last
60 s or hour, so that a sum over whole buckets never lets more through than the cap.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo
from enum import StrEnum
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Span(StrEnum):
    """What a cap is counted over."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"


_BUCKET_SECONDS: Final = {Span.MINUTE: 5, Span.HOUR: 300}
_BUCKETS_BACK: Final = 12  # 12 whole buckets and the present one reach over 60 s or 3,600 s

Usage = Mapping[Span, Mapping[int, int]]
"""What is counted already: span → bucket → segments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    """Segments that one card may send; `gap` is seconds between the starts of two."""

    minute: int
    hour: int
    day: int
    gap: float

    def of(self, span: Span) -> int:
        """The cap of one span."""
        match span:
            case Span.MINUTE:
                return self.minute
            case Span.HOUR:
                return self.hour
            case Span.DAY:
                return self.day

    @property
    def smallest(self) -> int:
        """What may be reserved at once; the rest of a longer message is reserved as it goes."""
        return min(self.minute, self.hour, self.day)


def bucket_of(span: Span, at: datetime, zone: tzinfo) -> int:
    """The bucket that a segment at this moment counts in; days are the zone's calendar days."""
    if span is Span.DAY:
        return at.astimezone(zone).toordinal()
    return (at - _EPOCH) // timedelta(seconds=_BUCKET_SECONDS[span])


def first_bucket(span: Span, at: datetime, zone: tzinfo) -> int:
    """The oldest bucket that still counts at this moment."""
    bucket = bucket_of(span, at, zone)
    return bucket if span is Span.DAY else bucket - _BUCKETS_BACK


def fits_at(usage: Usage, caps: Caps, n: int, *, at: datetime, zone: tzinfo) -> datetime:
    """The earliest moment, not before `at`, at which `n` more fit if nobody else takes them.

    `n` must not exceed `caps.smallest`.
    """
    assert n <= caps.smallest, "more than a cap never fits"
    moment = at
    for _ in range(len(Span) * 3):  # a later moment may be another day, where the day is free
        later = max(
            _span_fits_at(usage.get(span, {}), caps.of(span) - n, span, at=moment, zone=zone)
            for span in Span
        )
        if later == moment:
            break
        moment = later
    return moment


def _span_fits_at(
    used: Mapping[int, int], cap: int, span: Span, *, at: datetime, zone: tzinfo
) -> datetime:
    """When the buckets that count hold no more than `cap`."""
    first = first_bucket(span, at, zone)
    counted = sorted((bucket, n) for bucket, n in used.items() if bucket >= first)
    total = sum(n for _, n in counted)
    moment = at
    for bucket, n in counted:
        if total <= cap:
            break
        total -= n
        moment = _leaves_at(span, bucket, zone)
    return max(at, moment)


def _leaves_at(span: Span, bucket: int, zone: tzinfo) -> datetime:
    """When a bucket stops counting."""
    if span is Span.DAY:
        return datetime.combine(
            datetime.fromordinal(bucket + 1).date(), time(0), tzinfo=zone
        ).astimezone(UTC)
    return _EPOCH + (bucket + _BUCKETS_BACK + 1) * timedelta(seconds=_BUCKET_SECONDS[span])
