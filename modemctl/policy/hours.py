"""When a category may leave: quiet hours in the site's zone, the batch's own window (SIM-08)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo


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


def _quiet_ends(quiet: Quiet, at: datetime) -> datetime:
    ends = _next_local(quiet.end, quiet.zone, at)
    # A clock change may put the local end inside quiet hours again, for an hour at most.
    while is_quiet(quiet, ends):
        ends += timedelta(minutes=1)
    return ends


def _next_local(wanted: time, zone: tzinfo, at: datetime) -> datetime:
    """The first UTC point after `at` at which the zone's clocks show `wanted`."""
    day = at.astimezone(zone).date()
    points = (
        # Where clocks go back, a local time comes twice.
        datetime.combine(day + timedelta(days=offset), wanted, tzinfo=zone).replace(fold=fold)
        for offset in (0, 1, 2)
        for fold in (0, 1)
    )
    return next(point for point in (one.astimezone(UTC) for one in points) if point > at)
