"""Periods that reports are made of: years, quarters, months, weeks of the site's calendar."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Final

from modemctl.errors import InvalidRequest

_QUARTER: Final = re.compile(r"(20\d\d)-?[Qq]([1-4])")
_WEEK: Final = re.compile(r"(20\d\d)-?[Ww](0[1-9]|[1-4]\d|5[0-3])")
_YEAR: Final = re.compile(r"20\d\d")
_MONTH: Final = re.compile(r"(20\d\d)-(0[1-9]|1[0-2])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """From `first` (in it) until `end` (behind it), both UTC; `name` such as 2026Q3, 2026-11."""

    name: str
    first: datetime
    end: datetime


def read_period(text: str, zone: tzinfo) -> Period:
    """The quarter or month that a text names.

    Raises:
        InvalidRequest: it names none.
    """
    if found := _QUARTER.fullmatch(text):
        return _months(int(found[1]), int(found[2]) * 3 - 2, 3, zone)
    if found := _MONTH.fullmatch(text):
        return _months(int(found[1]), int(found[2]), 1, zone)
    raise InvalidRequest(
        "must be a quarter or a month", field="period", value=text[:20], cure="2026Q3, or 2026-11"
    )


def read_span(text: str, zone: tzinfo) -> Period:
    """The week (ISO 8601), month, quarter or year that a text names.

    Raises:
        InvalidRequest: it names none.
    """
    if _YEAR.fullmatch(text):
        return _months(int(text), 1, 12, zone)
    if found := _WEEK.fullmatch(text):
        try:
            monday = date.fromisocalendar(int(found[1]), int(found[2]), 1)
        except ValueError:
            raise InvalidRequest("the year has no such week", field="period") from None
        return _week(monday, zone)
    if _QUARTER.fullmatch(text) or _MONTH.fullmatch(text):
        return read_period(text, zone)
    rule, cure = "must be a week, month, quarter or year", "2026-W47, 2026-11, 2026Q4, or 2026"
    raise InvalidRequest(rule, field="period", value=text[:20], cure=cure)


def week_before(at: datetime, zone: tzinfo) -> Period:
    """The last week that is over at a moment."""
    local = at.astimezone(zone).date()
    return _week(local - timedelta(days=local.weekday() + 7), zone)


def month_before(at: datetime, zone: tzinfo) -> Period:
    """The last month that is over at a moment."""
    local = at.astimezone(zone)
    months = local.year * 12 + local.month - 2
    return _months(months // 12, months % 12 + 1, 1, zone)


def year_before(at: datetime, zone: tzinfo) -> Period:
    """The last year that is over at a moment."""
    return _months(at.astimezone(zone).year - 1, 1, 12, zone)


def quarter_of(at: datetime, zone: tzinfo) -> Period:
    """The quarter that a moment lies in."""
    local = at.astimezone(zone)
    return _months(local.year, (local.month - 1) // 3 * 3 + 1, 3, zone)


def quarter_before(period: Period, zone: tzinfo) -> Period:
    """The quarter that ends where this period begins."""
    local = period.first.astimezone(zone)
    months = local.year * 12 + local.month - 1 - 3
    return _months(months // 12, months % 12 + 1, 3, zone)


def months_of(period: Period, zone: tzinfo) -> Sequence[Period]:
    """The months of a period, in order."""
    months = []
    at = period.first.astimezone(zone)
    while at.astimezone(UTC) < period.end:
        month = _months(at.year, at.month, 1, zone)
        months.append(month)
        at = month.end.astimezone(zone)
    return months


def weeks_of(period: Period, zone: tzinfo) -> Sequence[Period]:
    """The weeks that end within a period, in order."""
    weeks = []
    monday = period.first.astimezone(zone).date()
    monday -= timedelta(days=monday.weekday())
    while (week := _week(monday, zone)).end <= period.end:
        if week.end > period.first:
            weeks.append(week)
        monday += timedelta(days=7)
    return weeks


def _week(monday: date, zone: tzinfo) -> Period:
    year, week, _day = monday.isocalendar()
    return Period(
        name=f"{year}-W{week:02d}", first=_midnight(monday, zone),
        end=_midnight(monday + timedelta(days=7), zone),
    )  # fmt: skip


def _midnight(day: date, zone: tzinfo) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


def _months(year: int, month: int, n_months: int, zone: tzinfo) -> Period:
    last = year * 12 + month - 1 + n_months
    names = {1: f"{year}-{month:02d}", 3: f"{year}Q{(month + 2) // 3}", 12: f"{year}"}
    return Period(
        name=names[n_months],
        first=datetime(year, month, 1, tzinfo=zone).astimezone(UTC),
        end=datetime(last // 12, last % 12 + 1, 1, tzinfo=zone).astimezone(UTC),
    )
