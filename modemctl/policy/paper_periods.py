"""Periods that reports are made of: quarters, months, days of the site's calendar."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Final

from modemctl.errors import InvalidRequest

_QUARTER: Final = re.compile(r"(20\d\d)-?[Qq]([1-4])")
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


def _months(year: int, month: int, n_months: int, zone: tzinfo) -> Period:
    last = year * 12 + month - 1 + n_months
    name = f"{year}Q{(month + 2) // 3}" if n_months == 3 else f"{year}-{month:02d}"
    return Period(
        name=name,
        first=datetime(year, month, 1, tzinfo=zone).astimezone(UTC),
        end=datetime(last // 12, last % 12 + 1, 1, tzinfo=zone).astimezone(UTC),
    )
