"""The steps of a card's life: who may take which, and for how many working days a request waits.

Source: policy SIM-02, SIM-05, SIM-09, SIM-10.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from enum import StrEnum
from typing import Final

from modemctl.config.settings import HoursSettings, Weekday
from modemctl.lifecycle import CardState

LONGEST_WAIT: Final = 4
"""Working days that a request may be open (SIM-02)."""


class Step(StrEnum):
    """What was done with a card; one line of its custody history."""

    REGISTERED = "registered"  # by a list
    HANDED_OVER = "handed_over"  # by a list, to who had not used it yet
    REQUESTED = "requested"
    REVIEWED = "reviewed"
    APPROVED = "approved"
    REFUSED = "refused"
    PROVISIONED = "provisioned"
    VERIFIED = "verified"
    ISSUED = "issued"
    SUSPENDED = "suspended"
    RELEASED = "released"
    CARRIER_TOLD = "carrier_told"  # 挂失
    LOST = "lost"
    DAMAGED = "damaged"
    REPLACED = "replaced"  # 补办
    RETURNED = "returned"
    CANCELLED = "cancelled"


_S = CardState
SUSPENDED: Final = (_S.SUSPENDED_LOSS, _S.SUSPENDED_ARREARS, _S.SUSPENDED_PENALTY)
ENDS: Final = (*SUSPENDED, _S.LOST, _S.DAMAGED, _S.RETURNED, _S.CANCELLED)
"""States that stop a card or give it up: they need no approval, and nothing starts by them."""

MISSING: Final = (_S.LOST, _S.SUSPENDED_LOSS)
"""States of a card that nobody has in his hands: the carrier is to be told (SIM-09)."""

GONE: Final = (_S.LOST, _S.DAMAGED)
"""States in which a card is replaced by another one (SIM-09)."""

IN_REQUEST: Final = (_S.REQUESTED, _S.REVIEWED, _S.APPROVED, _S.PROVISIONED)
"""States of a request that is open."""


def step_to(state: CardState) -> Step:
    """The line that the history gets for a state that stops a card."""
    return Step.SUSPENDED if state in SUSPENDED else Step(state.value)


def why_not_decide(who: str, *, requester: str | None, reviewer: str | None) -> str | None:
    """Why this account decides nothing about a request; None where it may (SIM-02)."""
    if who == requester:
        return "who asked for a card does not decide about it"
    return "who reviewed a request does not approve it" if who == reviewer else None


def is_bound(state: CardState, until: datetime | None, now: datetime) -> bool:
    """Whether a suspension ends only by two persons: a penalty's, before its time is over."""
    return state is _S.SUSPENDED_PENALTY and (until is None or now < until)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkingDays:
    """The site's calendar: days of rest, and days that are worked although they were ones."""

    zone: tzinfo
    weekdays: frozenset[int] = frozenset()
    holidays: frozenset[date] = frozenset()
    extra: frozenset[date] = frozenset()

    @classmethod
    def of(cls, hours: HoursSettings, zone: tzinfo) -> WorkingDays:
        """The calendar of the settings."""
        numbers = {day: number for number, day in enumerate(Weekday)}
        return cls(
            zone=zone,
            weekdays=frozenset(numbers[one] for one in hours.rest_weekdays),
            holidays=frozenset(hours.holidays),
            extra=frozenset(hours.extra_working_days),
        )

    def since(self, start: datetime, now: datetime) -> int:
        """Working days behind the one of `start`, up to and with the one of `now`."""
        first, last = (at.astimezone(self.zone).date() for at in (start, now))
        return sum(self._is_worked(day) for day in _days_behind(first, last))

    def after(self, at: datetime, days: int) -> datetime:
        """The end (UTC) of the last of so many working days that follow the day of `at`."""
        day, left = at.astimezone(self.zone).date(), days
        while left:
            day += timedelta(days=1)
            left -= self._is_worked(day)
        end = datetime.combine(day + timedelta(days=1), time(0), tzinfo=self.zone)
        return end.astimezone(UTC)

    def is_overdue(self, start: datetime, now: datetime) -> bool:
        """Whether a request has been open for longer than it may (SIM-02)."""
        return self.since(start, now) > LONGEST_WAIT

    def _is_worked(self, day: date) -> bool:
        is_rest = day.weekday() in self.weekdays or day in self.holidays
        return day in self.extra or not is_rest


def _days_behind(first: date, last: date) -> Iterator[date]:
    for n in range(1, (last - first).days + 1):
        yield first + timedelta(days=n)
