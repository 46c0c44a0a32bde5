"""When a category may leave: quiet hours in the site's zone, the batch's own window (SIM-08)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo
from itertools import count


@dataclass(frozen=True, slots=True, kw_only=True)
class Quiet:
    """Local times between which nothing leaves; may span midnight. `start` ≠ `end`."""

    start: time
    end: time
    zone: tzinfo


def is_quiet(quiet: Quiet | None, at: datetime) -> bool:
    """Whether `at` (aware) lies in the quiet hours; the first minute does, the last does not."""
    if quiet is None:
        return False
    local = at.astimezone(quiet.zone).time()
    if quiet.start < quiet.end:
        return quiet.start <= local < quiet.end
    return local >= quiet.start or local < quiet.end


def next_open(
    quiet: Quiet | None, at: datetime, *, not_before: datetime, not_after: datetime
) -> datetime | None:
    """The first point from `at` on that lies in the window and outside quiet hours (UTC).

    None when the window ends before.
    """
    opens = max(at, not_before).astimezone(UTC)
    if quiet is not None and is_quiet(quiet, opens):
        opens = _quiet_ends(quiet, opens)
    return opens if opens < not_after else None


def open_seconds(quiet: Quiet | None, start: datetime, end: datetime) -> float:
    """Seconds between `start` and `end` in which messages may leave."""
    if quiet is None or start >= end:
        return max(0.0, (end - start).total_seconds())
    total, at = 0.0, start.astimezone(UTC)
    while at < end:
        if is_quiet(quiet, at):
            at = _quiet_ends(quiet, at)
        else:
            until = min(_next_local(quiet.start, quiet.zone, at), end)
            total += (until - at).total_seconds()
            at = until
    return total


def after_open_seconds(quiet: Quiet | None, start: datetime, seconds: float) -> datetime:
    """The point at which that many seconds outside quiet hours have passed since `start` (UTC)."""
    at, left = start.astimezone(UTC), timedelta(seconds=seconds)
    while quiet is not None:
        if is_quiet(quiet, at):
            at = _quiet_ends(quiet, at)
        until = _next_local(quiet.start, quiet.zone, at)
        if left <= until - at:
            break
        at, left = until, left - (until - at)
    return at + left


def _quiet_ends(quiet: Quiet, at: datetime) -> datetime:
    # Where clocks jump, an end may lie in quiet hours itself: then the next one counts.
    return next(end for end in _local_points(quiet.end, quiet.zone, at) if not is_quiet(quiet, end))


def _next_local(wanted: time, zone: tzinfo, at: datetime) -> datetime:
    return next(_local_points(wanted, zone, at))


def _local_points(wanted: time, zone: tzinfo, at: datetime) -> Iterator[datetime]:
    """The UTC points after `at` at which the zone's clocks show `wanted`."""
    day = at.astimezone(zone).date()
    for offset in count():
        local = datetime.combine(day + timedelta(days=offset), wanted, tzinfo=zone)
        # Where clocks go back, a local time comes twice.
        for point in sorted({local.astimezone(UTC), local.replace(fold=1).astimezone(UTC)}):
            if point > at:
                yield point
