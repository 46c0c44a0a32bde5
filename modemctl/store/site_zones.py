"""The site gets another time zone: what was counted in the days and months of the old one (SIM-08).

Counts lie in numbered days and months of the site. After a change the same numbers mean other
hours: what was sent in the hours that both share counts in the new ones as well, and the zone that
was left binds further until its day and its month have ended. No change lets more through than
either zone alone would.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from itertools import pairwise
from typing import Final, TypeAlias

from sqlalchemy import Connection, select

from modemctl.errors import TamperedError
from modemctl.policy.quotas import (
    CALENDAR,
    FormerZone,
    Measure,
    Span,
    bucket_of,
    column_of,
    next_start,
)
from modemctl.policy.zones import zone_named
from modemctl.store import policies, quota_rows
from modemctl.store.tables import quota
from modemctl.store.transaction import Tx
from modemctl.vault import Vault

_CARDS_OWN: Final = "sim:%@%"
_AROUND: Final = range(-2, 3)  # no two zones are further apart than days
_SLICE: Final = 500

_Counts: TypeAlias = Mapping[tuple[str, str], Mapping[int, int]]
"""Scope and column to what each bucket holds."""


def former(
    conn: Connection, vault: Vault, zone: str, *, steady: datetime, wall: datetime
) -> tuple[FormerZone, ...]:
    """The zones that the site left so lately that they still bind it, now that it is in `zone`.

    Where nobody has confirmed these settings yet, the one that counts is left now: until they are
    confirmed nothing is sent.
    """
    try:
        known = policies.versions(conn, vault)
    except TamperedError:
        return ()  # the way to the modems is shut, or `audit verify` names the row
    names = [*(policies.zone_of(one.settings) for one in known), zone]
    moments = [*((one.at, one.at) for one in known[1:]), (steady, wall)]
    found = [
        _left(before, after, *when)
        for (before, after), when in zip(pairwise(names), moments, strict=bool(known))
        if before != after
    ]
    now = min(steady, wall)
    return tuple(one for one in found if now < one.month_until and str(one.zone) != zone)


def recount(tx: Tx, before: tzinfo, after: tzinfo) -> int:
    """Let the present days and months of a new zone hold at least what was sent in them.

    Returns how many counts grew. Where no days are counted beside a month, nobody knows in which
    hours of it something was sent: all of an old month that touches the new one counts.
    """
    counts = _read(tx, after)
    with_days = {scope.partition(":")[0] for scope, column in counts if column == Span.DAY}
    grown: dict[tuple[str, str, int], int] = {}
    for (scope, column), known in counts.items():
        span = Span.MONTH if column.endswith(Span.MONTH) else Span.DAY
        days = counts.get((scope, Span.DAY), {})
        for bucket in {bucket_of(span, at, after) for at in (tx.steady, tx.now)}:
            if span is Span.MONTH and scope.partition(":")[0] in with_days:
                more = _missing_days(bucket, days, before, after)
            else:
                more = _missing(span, bucket, known, before, after)
            if more:
                grown[scope, column, bucket] = more
    changes = sorted(grown.items())
    for at in range(0, len(changes), _SLICE):
        quota_rows.save_counts(tx, changes[at : at + _SLICE])
    return len(changes)


def _left(before: str, after: str, *moments: datetime) -> FormerZone:
    zones = [zone_named(before), zone_named(after)]
    day, month = (
        max(next_start(span, at, zone) for at in moments for zone in zones) for span in CALENDAR
    )
    return FormerZone(zone=zones[0], day_until=day, month_until=month)


def _read(tx: Tx, zone: tzinfo) -> _Counts:
    """The site's days and months about now, and the days about the month's beginning."""
    days, months = set[int](), set[int]()
    for at in (tx.steady, tx.now):
        month = bucket_of(Span.MONTH, at, zone)
        begins, _ = _ends(Span.MONTH, month, zone)
        months |= {month + more for more in _AROUND}
        for moment in (at, begins):
            days |= {bucket_of(Span.DAY, moment, zone) + more for more in _AROUND}
    found: defaultdict[tuple[str, str], dict[int, int]] = defaultdict(dict)
    for span, buckets in ((Span.DAY, days), (Span.MONTH, months)):
        columns = [column_of(measure, span) for measure in Measure]
        rows = select(*quota.c).where(
            quota.c.span.in_(columns),
            quota.c.bucket.in_(sorted(buckets)),
            quota.c.scope.not_like(_CARDS_OWN),
        )
        for row in tx.conn.execute(rows):
            found[row.scope, row.span][row.bucket] = int(row.used)
    return found


def _missing(
    span: Span, bucket: int, known: Mapping[int, int], before: tzinfo, after: tzinfo
) -> int:
    """What stands in the old zone's days or months that share a moment with this new one."""
    shared = {bucket_of(span, at, before) for at in _ends(span, bucket, after)}
    return sum(known.get(one, 0) for one in shared - {bucket})


def _missing_days(month: int, days: Mapping[int, int], before: tzinfo, after: tzinfo) -> int:
    """What was sent on days that lie in this new month, in part at least, and in another old one.

    Of any measure there are no more than segments.
    """
    n = 0
    for day, used in days.items():
        ends = _ends(Span.DAY, day, before)
        is_counted = bucket_of(Span.MONTH, ends[0], before) == month
        if not is_counted and month in {bucket_of(Span.MONTH, at, after) for at in ends}:
            n += used
    return n


def _ends(span: Span, bucket: int, zone: tzinfo) -> tuple[datetime, datetime]:
    """The first and the last moment of a day or a month."""
    if span is Span.DAY:
        first = date.fromordinal(bucket)
    else:
        year, month = divmod(bucket, 12)
        first = date(year, month + 1, 1)
    begins = datetime.combine(first, time(0), tzinfo=zone).astimezone(UTC)
    return begins, next_start(span, begins, zone) - timedelta(microseconds=1)
