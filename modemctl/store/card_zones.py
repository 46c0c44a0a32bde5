"""The time zones of cards: which bind a card now, and the change from one to another (SIM-08)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from sqlalchemy import RowMapping, select

from modemctl.errors import Conflict
from modemctl.policy.card_zones import CardZones
from modemctl.policy.quotas import (
    QuotaRules,
    ScopeKind,
    Span,
    Zones,
    bucket_of,
    scope_key,
    zoned_key,
)
from modemctl.policy.zones import zone_named
from modemctl.store import quota_rows, sims
from modemctl.store.tables import sim
from modemctl.store.transaction import Tx

_LAST_MOMENT = timedelta(microseconds=1)


def binding(tx: Tx, row: RowMapping) -> Zones | None:
    """The zones whose days and months bind a card of this row now; None: the site's alone."""
    if (row["timezone"] is None and row["zones_left"] is None) or not are_known(row):
        return None
    return _zones(row).binding(steady=tx.steady, wall=tx.now)


def are_known(row: RowMapping) -> bool:
    """Whether this machine knows a card's zones: one whose days nobody can tell sends nothing."""
    if row["timezone"] is None and row["zones_left"] is None:
        return True
    try:
        zones = _zones(row)
        for name in (zones.own, *(one.name for one in zones.left)):
            if name is not None:
                zone_named(name)
    except (KeyError, OSError, ValueError):
        return False
    return True


def move(tx: Tx, rules: QuotaRules, iccid: str, to: str | None) -> str | None:
    """Give a card another zone from now on; the one it had.

    What it sent before counts in the new zone's days and months as well: at least so much, since
    only whole days of the site are known.

    Raises:
        NotFound: the register does not know it.
        Conflict: it has that zone, or left too many others lately.
        TamperedError: the row was altered.
    """
    row = tx.conn.execute(select(*sims.SEALED).where(sim.c.iccid == iccid)).mappings().one()
    before = _zones(row)
    if before.own == to:
        raise Conflict("the card has this zone", field="timezone", policy="SIM-08")
    after = before.moved(to, site=rules.zone, steady=tx.steady, wall=tx.now)
    if after is None:
        raise Conflict(
            "the card had too many zones this month, which bind it still",
            field="timezone",
            cure="wait for the month's end",
            policy="SIM-08",
        )
    sims.amend(tx, iccid, {"timezone": to, "zones_left": after.text()})
    if to is not None:
        _count_anew(tx, rules.zone, iccid, to)
    return before.own


def _zones(row: RowMapping) -> CardZones:
    return CardZones.of(row["timezone"], row["zones_left"])


def _count_anew(tx: Tx, site: tzinfo, iccid: str, to: str) -> None:
    """Let the counts of a zone be at least what was sent in each of its days and months."""
    key = scope_key(ScopeKind.SIM, iccid)
    known, there = quota_rows.read_calendars(tx.conn, key), zone_named(to)
    latest = max(tx.steady, tx.now)
    begun, due = (bucket_of(Span.MONTH, latest, zone) for zone in (there, site))
    months = {column for column, _ in known if column.endswith(Span.MONTH)}
    found: Counter[tuple[str, int]] = Counter()
    for (column, bucket), n in known.items():
        if column in months:
            if not begun < bucket <= due:  # what was sent by now is of no month to come
                found[column, bucket] += n
            continue
        days = _overlapped(bucket, site, there, latest)
        for day in days:
            found[column, day] += n
        if column == Span.DAY:  # of any measure, no more than segments were sent in a day
            others = {_month_of(day) for day in days} - {_month_of(bucket)}
            found.update({(one, month): n for one in months for month in others})
    quota_rows.replace_calendars(tx, zoned_key(key, to), found)


def _overlapped(day: int, site: tzinfo, there: tzinfo, latest: datetime) -> Sequence[int]:
    """The days of a zone that share a moment with a day of the site, as far as that has passed."""
    begins, ends = (
        datetime.combine(date.fromordinal(one), time(0), tzinfo=site).astimezone(UTC)
        for one in (day, day + 1)
    )
    last = ends - _LAST_MOMENT
    if begins <= latest:
        last = min(last, latest)
    return range(bucket_of(Span.DAY, begins, there), bucket_of(Span.DAY, last, there) + 1)


def _month_of(day: int) -> int:
    return bucket_of(Span.MONTH, datetime.combine(date.fromordinal(day), time(12), tzinfo=UTC), UTC)
