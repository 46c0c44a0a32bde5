"""When a category may leave: quiet hours and days in the site's zone, the batch's own window.

Source: policy SIM-08.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from itertools import count
from typing import Final

from modemctl.config.settings import HoursSettings, Weekday


@dataclass(frozen=True, slots=True, kw_only=True)
class Quiet:
    """Local times between which nothing leaves, and days; may span midnight.

    `start` = `end`: no quiet hours, days alone. `weekdays` are numbers from Monday = 0; `open_days`
    are worked although their weekday is quiet. Some weekday is open.
    """

    start: time
    end: time
    zone: tzinfo
    days: frozenset[date] = frozenset()
    weekdays: frozenset[int] = frozenset()
    open_days: frozenset[date] = frozenset()

    @classmethod
    def of(cls, settings: HoursSettings, category: str, zone: tzinfo) -> Quiet | None:
        """What the settings say of a category; None where it may leave at any time."""
        hours = settings.quiet_for(category)
        is_bound = category in settings.working_days_only
        weekdays = frozenset(_WEEKDAYS[one] for one in settings.rest_weekdays)
        if hours is None and not (is_bound and (weekdays or settings.holidays)):
            return None
        return cls(
            start=time(0) if hours is None else hours.quiet_from,
            end=time(0) if hours is None else hours.quiet_until,
            zone=zone,
            days=frozenset(settings.holidays if is_bound else ()),
            weekdays=weekdays if is_bound else frozenset(),
            open_days=frozenset(settings.extra_working_days),
        )

    def is_day(self, day: date) -> bool:
        """Whether nothing leaves on that day of the zone."""
        return day in self.days or (day.weekday() in self.weekdays and day not in self.open_days)


_WEEKDAYS: Final = {day: number for number, day in enumerate(Weekday)}
_MIDNIGHT: Final = time(0)


def is_quiet(quiet: Quiet | None, at: datetime) -> bool:
    """Whether `at` (aware) lies in the quiet hours; the first minute does, the last does not."""
    if quiet is None:
        return False
    there = at.astimezone(quiet.zone)
    if quiet.is_day(there.date()):
        return True
    local = there.time()
    if quiet.start < quiet.end:
        return quiet.start <= local < quiet.end
    return quiet.start != quiet.end and (local >= quiet.start or local < quiet.end)


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


def _quiet_ends(quiet: Quiet, at: datetime) -> datetime:
    # Where clocks jump, an end may lie in quiet hours itself: then the next one counts.
    ends = _local_points({quiet.end, _MIDNIGHT}, quiet.zone, at)
    return next(end for end in ends if not is_quiet(quiet, end))


def _local_points(wanted: set[time], zone: tzinfo, at: datetime) -> Iterator[datetime]:
    """The UTC points after `at` at which the zone's clocks show one of `wanted`."""
    day = at.astimezone(zone).date()
    for offset in count():
        today = day + timedelta(days=offset)
        # Where clocks go back, a local time comes twice.
        points = {
            datetime.combine(today, one, tzinfo=zone).replace(fold=fold).astimezone(UTC)
            for one in wanted
            for fold in (0, 1)
        }
        yield from sorted(point for point in points if point > at)
