"""The seal of what limits have counted: one number over all rows of `quota` and `quota_contact`.

It is the sum of the rows' MACs modulo 2^256, so a change costs what it touches. Each group commit
that counts puts the sum into its audit entry: rows that are lowered, deleted or put back as they
were yesterday do not add up to what the log says last.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from sqlalchemy import Connection, Table, bindparam, select

from modemctl.errors import TamperedError
from modemctl.store.prepared import Prepared
from modemctl.store.tables import audit_entry, quota, quota_contact
from modemctl.vault import Vault

CountRow: TypeAlias = tuple[str | int, ...]
"""A row's columns in the table's order."""

DETAIL: Final = "counts"
"""The key under which an audit entry says what the rows add up to (64 hexadecimal digits)."""

_MODULUS: Final = 1 << 256
_PAGE: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the log said last: entry `seq` left rows that add up to `total`."""

    seq: int
    total: int


def weight(vault: Vault, table: Table, rows: Iterable[Sequence[object]]) -> int:
    """What these rows of a table add to the seal."""
    total = 0
    for row in rows:
        total += int.from_bytes(vault.mac(table.name, *row), "big")
    return total % _MODULUS


def add(total: int, change: int) -> int:
    """The seal after a change of it."""
    return (total + change) % _MODULUS


def text(total: int) -> str:
    """As an audit entry says it."""
    return f"{total:064x}"


def measure(conn: Connection, vault: Vault) -> int:
    """What the rows add up to as they stand."""
    total = 0
    for table in (quota, quota_contact):
        found = conn.execute(select(*table.c), execution_options={"yield_per": _PAGE})
        for page in found.partitions():
            total = add(total, weight(vault, table, page))
    return total


def last_told(conn: Connection, node_id: str) -> Told | None:
    """The log's last word; None where it never said one: a new site, or an older version's."""
    columns = audit_entry.c
    row = conn.execute(
        select(columns.seq, columns.details)
        .where(
            columns.node_id == node_id,
            columns.action == "segments.moved",
            columns.details.contains(f'"{DETAIL}":'),
        )
        .order_by(columns.seq.desc())
        .limit(1)
    ).first()
    if row is None:
        return None
    return Told(seq=row.seq, total=int(json.loads(row.details)[DETAIL], 16))


def read_counts(conn: Connection, keys: Iterable[tuple[str, str, int]]) -> dict[CountRow, CountRow]:
    """Rows of `quota` by scope, span and bucket, as they stand.

    Raises:
        TamperedError: a count is no number.
    """
    wanted = set(keys)
    if not wanted:
        return {}
    scopes, spans, buckets = (sorted(set(part)) for part in zip(*wanted, strict=True))
    rows = _COUNTS.rows(conn, {"scopes": scopes, "spans": spans, "buckets": buckets})
    whole = [(row.scope, row.span, row.bucket, row.used) for row in rows]
    found: dict[CountRow, CountRow] = {row[:3]: row for row in whole if row[:3] in wanted}
    for (scope, span, bucket), row in found.items():
        if not isinstance(row[3], int):
            raise TamperedError(f"quota {scope} {span} {bucket}: the count is no number")
    return found


def read_contacts(
    conn: Connection, keys: Iterable[tuple[str, str, str]]
) -> dict[CountRow, CountRow]:
    """Rows of `quota_contact` by scope, span and recipient, as they stand."""
    wanted = set(keys)
    if not wanted:
        return {}
    scopes, spans, recipients = (sorted(set(part)) for part in zip(*wanted, strict=True))
    rows = _CONTACTS.rows(conn, {"scopes": scopes, "spans": spans, "recipients": recipients})
    whole = [(row.scope, row.span, row.recipient, row.since, row.bucket, row.n) for row in rows]
    return {row[:3]: row for row in whole if row[:3] in wanted}


_COUNTS: Final = Prepared(
    select(*quota.c).where(
        quota.c.scope.in_(bindparam("scopes", expanding=True)),
        quota.c.span.in_(bindparam("spans", expanding=True)),
        quota.c.bucket.in_(bindparam("buckets", expanding=True)),
    )
)
_CONTACTS: Final = Prepared(
    select(*quota_contact.c).where(
        quota_contact.c.scope.in_(bindparam("scopes", expanding=True)),
        quota_contact.c.span.in_(bindparam("spans", expanding=True)),
        quota_contact.c.recipient.in_(bindparam("recipients", expanding=True)),
    )
)
