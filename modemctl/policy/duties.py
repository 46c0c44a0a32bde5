"""What has to be done regularly, and since when it is late. A week begins on Monday."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta, tzinfo
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Duty(StrEnum):
    """A regular duty of the site."""

    SELF_TEST = "self_test"


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """How a duty comes round: each week, from `opens` local time of Monday; late after `grace`."""

    policy: str
    opens: time
    grace: timedelta


TURNS: Final[Mapping[Duty, Turn]] = MappingProxyType(
    {Duty.SELF_TEST: Turn(policy="SIM-18", opens=time(7), grace=timedelta(days=1))}
)
"""By duty: the rule behind it and its rhythm."""


def opened_at(turn: Turn, now: datetime, zone: tzinfo) -> datetime:
    """When the turn that holds now began."""
    local = now.astimezone(zone)
    monday = local.date() - timedelta(days=local.weekday())
    opened = datetime.combine(monday, turn.opens, tzinfo=zone)
    if opened > local:
        opened = datetime.combine(monday - timedelta(days=7), turn.opens, tzinfo=zone)
    return opened


def is_due(turn: Turn, done_at: datetime, now: datetime, zone: tzinfo) -> bool:
    """Whether it was not done in the present turn. A site's first day counts as done."""
    return done_at < opened_at(turn, now, zone)


def is_overdue(turn: Turn, done_at: datetime, now: datetime, zone: tzinfo) -> bool:
    """Whether its time of grace is over too."""
    return is_due(turn, done_at, now - turn.grace, zone)
