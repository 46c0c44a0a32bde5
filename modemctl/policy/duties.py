"""What has to be done regularly, and since when it is late."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Duty(StrEnum):
    """A regular duty of the site."""

    SELF_TEST = "self_test"
    BACKUP = "backup"
    BACKUP_COPY = "backup_copy"
    RESTORE_TEST = "restore_test"


class Rhythm(StrEnum):
    """How often a duty comes round."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """How a duty comes round: each day, week or month, from `opens` local time.

    A week's turn begins on `weekday` (0: Monday), a month's on its first day. It is late `grace`
    after its turn began, or, where `late_after` is given, so long after it was done last.
    """

    policy: str
    opens: time
    grace: timedelta = timedelta(0)
    rhythm: Rhythm = Rhythm.WEEK
    weekday: int = 0
    late_after: timedelta | None = None


_FRIDAY: Final = 4

TURNS: Final[Mapping[Duty, Turn]] = MappingProxyType(
    {
        Duty.SELF_TEST: Turn(policy="SIM-18", opens=time(7), grace=timedelta(days=1)),
        Duty.BACKUP: Turn(
            policy="SEC-07", opens=time(17), rhythm=Rhythm.DAY, late_after=timedelta(days=1)
        ),
        Duty.BACKUP_COPY: Turn(
            policy="SEC-07", opens=time(0), weekday=_FRIDAY, late_after=timedelta(days=7)
        ),
        Duty.RESTORE_TEST: Turn(
            policy="SEC-07", opens=time(0), rhythm=Rhythm.MONTH, late_after=timedelta(days=31)
        ),
    }
)
"""By duty: the rule behind it and its rhythm. When backups begin is the site's setting."""


def opened_at(turn: Turn, now: datetime, zone: tzinfo) -> datetime:
    """When the turn that holds now began."""
    local = now.astimezone(zone)
    first = _first_day(turn, local.date())
    opened = datetime.combine(first, turn.opens, tzinfo=zone)
    if opened > local:
        before = _first_day(turn, first - timedelta(days=1))
        opened = datetime.combine(before, turn.opens, tzinfo=zone)
    return opened


def _first_day(turn: Turn, day: date) -> date:
    """The first day of the turn that holds this one."""
    match turn.rhythm:
        case Rhythm.DAY:
            return day
        case Rhythm.WEEK:
            return day - timedelta(days=(day.weekday() - turn.weekday) % 7)
        case Rhythm.MONTH:
            return day.replace(day=1)


def is_due(turn: Turn, done_at: datetime, now: datetime, zone: tzinfo) -> bool:
    """Whether it was not done in the present turn. A site's first day counts as done."""
    return done_at < opened_at(turn, now, zone)


def is_overdue(turn: Turn, done_at: datetime, now: datetime, zone: tzinfo) -> bool:
    """Whether it is late."""
    if turn.late_after is not None:
        return now - done_at > turn.late_after
    return is_due(turn, done_at, now - turn.grace, zone)
