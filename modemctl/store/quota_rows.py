"""The rows behind what limits have counted: read and written as sets, the seal following each.

What they mean is said in `store.quotas`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from sqlalchemy import (
    BigInteger,
    Connection,
    Integer,
    RowMapping,
    Table,
    and_,
    bindparam,
    case,
    delete,
    func,
    insert,
    or_,
    select,
    text,
    type_coerce,
    update,
)

from modemctl.policy.quotas import CALENDAR, SLIDING, Measure, Span, column_of
from modemctl.store import count_seal
from modemctl.store.prepared import AnyRow, Change, Prepared
from modemctl.store.steady import GAP
from modemctl.store.tables import quota, quota_contact
from modemctl.store.transaction import Tx

Place: TypeAlias = tuple[str, str, str]
"""Where a recipient is known: scope, column, blind index."""


@dataclass(slots=True, kw_only=True)
class Contact:
    """A recipient among a scope's: last counted in `bucket`, `n` charges since bucket `since`."""

    since: int
    bucket: int
    n: int


def read_sums(
    conn: Connection,
    scopes: Sequence[str],
    first: Mapping[Span, int],
    now: Mapping[Span, Sequence[int]],
) -> Sequence[AnyRow]:
    """What counts of these since the `first` buckets of windows, in the days and months of `now`.

    Scope, span, the `day` or month if it is one's, used, latest bucket; one statement for all.
    """
    facts: dict[str, object] = {f"first_{span}": first[span] for span in SLIDING}
    facts |= {f"now_{span}": list(now[span]) for span in CALENDAR}
    return _SUMS.rows(conn, {**facts, "scopes": scopes})


def read_contacts(
    conn: Connection, scopes: Sequence[str], recipients: Sequence[str]
) -> Iterable[tuple[Place, Contact]]:
    """How these know these recipients."""
    for row in _CONTACTS.rows(conn, {"scopes": scopes, "recipients": recipients}):
        contact = Contact(since=row.since, bucket=row.bucket, n=row.n)
        yield (row.scope, row.span, row.recipient), contact


def read_buckets(conn: Connection, scope: str, column: str) -> dict[int, int]:
    """A column's buckets one by one."""
    rows = _BUCKETS.rows(conn, {"scope": scope, "span": column})
    return {row.bucket: row.used for row in rows}


def save_counts(tx: Tx, changes: Sequence[tuple[tuple[str, str, int], int]]) -> None:
    """Add so much to each bucket; nothing is taken from one that is not there.

    Raises:
        TamperedError: a count is no number.
    """
    conn = tx.conn
    before = count_seal.read_counts(conn, (key for key, _ in changes))
    used = {key: row[3] for key, row in before.items()}
    after = [(*key, int(used.get(key, 0)) + n) for key, n in changes if n > 0 or key in used]
    more = [{"s": s, "p": p, "b": b, "n": n} for (s, p, b), n in changes if n > 0]
    less = [{"s": s, "p": p, "b": b, "n": n} for (s, p, b), n in changes if n < 0]
    _ADD.run(conn, more)
    _TAKE.run(conn, less)
    _reseal(tx, quota, before.values(), after)


def save_contacts(tx: Tx, contacts: Mapping[Place, Contact | None]) -> None:
    """Write these; None: forget it."""
    before = count_seal.read_contacts(tx.conn, contacts)
    kept, gone = [], []
    for place in sorted(contacts):
        scope, column, recipient = place
        contact = contacts[place]
        row: dict[str, str | int] = {"s": scope, "p": column, "r": recipient}
        if contact is None:
            gone.append(row)
        else:
            kept.append(row | {"f": contact.since, "b": contact.bucket, "n": contact.n})
    _PART.run(tx.conn, gone)
    _KNOW.run(tx.conn, kept)
    after = [tuple(row[name] for name in "sprfbn") for row in kept]
    _reseal(tx, quota_contact, before.values(), after)


def save_gaps(tx: Tx, submits: Mapping[str, int], known: Mapping[str, int]) -> None:
    """Write the moments (steady ms) of last submits; `known` are those that stand there now."""
    moved, fresh, before = [], [], []
    for scope, at in sorted(submits.items()):
        if scope in known:
            moved.append({"s": scope, "b": at})
            before.append((scope, GAP, known[scope], 1))
        else:
            fresh.append({"scope": scope, "span": GAP, "bucket": at, "used": 1})
    _MOVE_GAP.run(tx.conn, moved)
    _FIRST_GAP.run(tx.conn, fresh)
    after = [(scope, GAP, at, 1) for scope, at in submits.items()]
    _reseal(tx, quota, before, after)


def read_calendars(conn: Connection, scope: str) -> Mapping[tuple[str, int], int]:
    """All days and months of one: column and bucket → how much."""
    rows = conn.execute(select(*quota.c).where(quota.c.scope == scope, _IS_CALENDAR))
    return {(row.span, row.bucket): row.used for row in rows}


def replace_calendars(tx: Tx, scope: str, counts: Mapping[tuple[str, int], int]) -> None:
    """Let these be all days and months of one; whom it knew is forgotten."""
    for table, gone in ((quota, _IS_CALENDAR), (quota_contact, quota_contact.c.scope == scope)):
        here = (table.c.scope == scope, gone)
        before: Sequence[RowMapping] = (
            tx.conn.execute(select(*table.c).where(*here)).mappings().all()
        )
        tx.conn.execute(delete(table).where(*here))
        _reseal(tx, table, [tuple(row.values()) for row in before], [])
    rows = [(scope, span, bucket, n) for (span, bucket), n in sorted(counts.items())]
    if rows:
        names = ("scope", "span", "bucket", "used")
        tx.conn.execute(insert(quota), [dict(zip(names, row, strict=True)) for row in rows])
        _reseal(tx, quota, [], rows)


def _reseal(
    tx: Tx,
    table: Table,
    before: Iterable[Sequence[object]],
    after: Iterable[Sequence[object]],
) -> None:
    """Let the seal of the counts follow a change of rows."""
    lost = count_seal.weight(tx.vault, table, before)
    tx.count(count_seal.weight(tx.vault, table, after) - lost)


def _columns(*spans: Span) -> list[str]:
    return [column_of(measure, span) for measure in Measure for span in spans]


_COUNTS: Final = or_(
    quota.c.span == GAP,
    *(
        and_(quota.c.span.in_(_columns(span)), quota.c.bucket >= bindparam(f"first_{span}"))
        for span in SLIDING
    ),
    *(
        and_(
            quota.c.span.in_(_columns(span)),
            quota.c.bucket.in_(bindparam(f"now_{span}", expanding=True)),
        )
        for span in CALENDAR
    ),
)
_DAY: Final = case((quota.c.span.in_(_columns(*CALENDAR)), quota.c.bucket))
_SUMS: Final = Prepared(
    select(
        quota.c.scope,
        quota.c.span,
        _DAY.label("day"),
        type_coerce(func.sum(quota.c.used), Integer).label("used"),
        type_coerce(func.max(quota.c.bucket), BigInteger).label("latest"),
    )
    .where(quota.c.scope.in_(bindparam("scopes", expanding=True)), _COUNTS)
    .group_by(quota.c.scope, quota.c.span, "day")  # PostgreSQL: the same marks twice are two
)
_BUCKETS: Final = Prepared(
    select(quota.c.bucket, quota.c.used).where(
        quota.c.scope == bindparam("scope"), quota.c.span == bindparam("span")
    )
)
_CONTACTS: Final = Prepared(
    select(quota_contact).where(
        quota_contact.c.scope.in_(bindparam("scopes", expanding=True)),
        # named, so that the key serves to its end: a department may know a million recipients
        quota_contact.c.span.in_([column_of(Measure.RECIPIENTS, span) for span in Span]),
        quota_contact.c.recipient.in_(bindparam("recipients", expanding=True)),
    )
)
# Written out: SQLAlchemy has no form of it that SQLite and PostgreSQL share.
_ADD: Final = Change(
    text(
        "INSERT INTO quota (scope, span, bucket, used) VALUES (:s, :p, :b, :n)"
        " ON CONFLICT (scope, span, bucket) DO UPDATE SET used = quota.used + excluded.used"
    )
)
_TAKE: Final = Change(
    update(quota)
    .where(
        quota.c.scope == bindparam("s"),
        quota.c.span == bindparam("p"),
        quota.c.bucket == bindparam("b"),
    )
    .values(used=quota.c.used + bindparam("n"))
)
_KNOW: Final = Change(
    text(
        "INSERT INTO quota_contact (scope, span, recipient, since, bucket, n)"
        " VALUES (:s, :p, :r, :f, :b, :n) ON CONFLICT (scope, span, recipient)"
        " DO UPDATE SET since = excluded.since, bucket = excluded.bucket, n = excluded.n"
    )
)
_PART: Final = Change(
    delete(quota_contact).where(
        quota_contact.c.scope == bindparam("s"),
        quota_contact.c.span == bindparam("p"),
        quota_contact.c.recipient == bindparam("r"),
    )
)
_FIRST_GAP: Final = Change.adding(quota, "scope", "span", "bucket", "used")
_MOVE_GAP: Final = Change(
    update(quota)
    .where(quota.c.scope == bindparam("s"), quota.c.span == GAP)
    .values(bucket=bindparam("b"))
)
_IS_CALENDAR: Final = quota.c.span.in_(_columns(*CALENDAR))
