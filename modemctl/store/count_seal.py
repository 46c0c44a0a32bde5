"""The seal of what limits have counted: one number over all rows of `quota` and `quota_contact`.

It is the sum of the rows' MACs modulo 2^256, so a change costs what it touches. Each group commit
that counts puts the sum into its audit entry: rows that are lowered, deleted or put back as they
were yesterday do not add up to what the log says last.

Nodes that share a PostgreSQL hand the sum on in a row of `meta`, under a MAC and with a number that
grows by one with each change of any node (ADR 0015). A node goes back behind no number that it has
told, and no number is told twice: rows put back together with that row show as well.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from sqlalchemy import Connection, Table, bindparam, select, update

from modemctl.errors import TamperedError
from modemctl.store.audits import list_nodes
from modemctl.store.prepared import Change, Prepared
from modemctl.store.tables import audit_entry, meta, quota, quota_contact
from modemctl.vault import Vault

CountRow: TypeAlias = tuple[str | int, ...]
"""A row's columns in the table's order."""

DETAIL: Final = "counts"
"""The key under which an audit entry says what the rows add up to (64 hexadecimal digits)."""

TURN: Final = "turn"
"""The key under which it says of how many changes, where nodes share the counts."""

_ROW: Final = "counts"  # of `meta`
_CHANGED: Final = "the counts of limits were changed"
_MODULUS: Final = 1 << 256
_PAGE: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class CountSeal:
    """What the rows add up to; `turn` is how many changes made it so, where nodes share them."""

    total: int = 0
    turn: int = 0

    def details(self) -> dict[str, str | int]:
        """As an audit entry says it."""
        told: dict[str, str | int] = {DETAIL: f"{self.total:064x}"}
        return told | {TURN: self.turn} if self.turn else told


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a node's log said last: entry `seq` left rows that add up to `total`."""

    seq: int
    total: int
    turn: int


def weight(vault: Vault, table: Table, rows: Iterable[Sequence[object]]) -> int:
    """What these rows of a table add to the seal."""
    total = 0
    for row in rows:
        total += int.from_bytes(vault.mac(table.name, *row), "big")
    return total % _MODULUS


def add(total: int, change: int) -> int:
    """The seal after a change of it."""
    return (total + change) % _MODULUS


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
    details = json.loads(row.details)
    return Told(seq=row.seq, total=int(details[DETAIL], 16), turn=int(details.get(TURN, 0)))


def advance(conn: Connection, vault: Vault, known: CountSeal, change: int) -> CountSeal:
    """The seal after a change; `known` is what this node committed or took up last.

    The row that nodes share is believed where it is ours and not of before. If not, the node goes
    on from what it knows: the rows add up to another sum, and whoever verifies sees it.
    """
    if not (_is_shared(conn) or known.turn):
        return CountSeal(total=add(known.total, change))
    found = _shared(conn, vault)
    base = found if found is not None and found.turn > known.turn else known
    new = CountSeal(total=add(base.total, change), turn=base.turn + 1)
    _share(conn, vault, new)
    return new


def take_up(conn: Connection, vault: Vault, node_id: str) -> tuple[CountSeal, list[str]]:
    """At start: what this node goes on from, and what is wrong with it, a line each.

    That is what the log, or the nodes' row, said last: what the rows say instead is never signed.
    """
    seal, faults = _standing(conn, vault, node_id)
    measured = measure(conn, vault)
    if seal is None:
        return CountSeal(total=measured), faults
    if seal.total != measured:
        faults.append("the counts of limits are not as the audit log left them")
    if seal.turn:
        _share(conn, vault, seal)
    return seal, faults


def check(conn: Connection, vault: Vault, node_id: str) -> Iterator[str]:
    """What is wrong with the counts as they stand, a line each."""
    seal, faults = _standing(conn, vault, node_id)
    yield from (f"quota: {_CHANGED}: {fault}" for fault in faults)
    if seal is not None and seal.total != measure(conn, vault):
        told = last_told(conn, node_id)
        left = f"turn {seal.turn}" if told is None or seal.turn else f"entry {told.seq}"
        yield f"quota: {_CHANGED}: not as {left} left them"


def _standing(conn: Connection, vault: Vault, node_id: str) -> tuple[CountSeal | None, list[str]]:
    """What was told last of the counts, and what speaks against that; None: nothing ever was."""
    own = last_told(conn, node_id)
    if not (_is_shared(conn) or _SHARED.rows(conn) or (own is not None and own.turn)):
        return (None if own is None else CountSeal(total=own.total)), []
    told = {node: one for node in list_nodes(conn) if (one := last_told(conn, node))}
    if own is None and told:  # a new node goes on from the others
        own = max(told.values(), key=lambda one: one.turn)
    known = None if own is None else CountSeal(total=own.total, turn=own.turn)
    found = _shared(conn, vault)
    latest = max((one.turn for one in told.values()), default=0)
    if found is None:
        return known, ["the nodes' seal of them is missing or altered"] if latest else []
    if found.turn < latest or (known and found.turn == known.turn and found != known):
        is_older = known is None or found.turn > known.turn
        return found if is_older else known, ["the nodes' seal of them is one of before"]
    return found, []


def _is_shared(conn: Connection) -> bool:
    """Whether others may count here; what came from such a database to SQLite goes on alike."""
    return conn.dialect.name == "postgresql"


def _shared(conn: Connection, vault: Vault) -> CountSeal | None:
    """What the nodes' row says; None where it is missing, or was not written by modemctl."""
    row = _SHARED.first(conn)
    if row is None:
        return None
    words = str(row.value).rpartition(" ")[0]
    if not hmac.compare_digest(_sealed(vault, words).encode(), str(row.value).encode()):
        return None
    turn, total = words.split(" ")
    return CountSeal(total=int(total, 16), turn=int(turn))


def _share(conn: Connection, vault: Vault, seal: CountSeal) -> None:
    row = {"value": _sealed(vault, f"{seal.turn} {seal.total:064x}")}
    if not _SHARE.run(conn, [row]):
        conn.execute(meta.insert().values(key=_ROW, **row))


def _sealed(vault: Vault, words: str) -> str:
    return f"{words} {vault.mac('count_seal', words).hex()}"


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
_SHARED: Final = Prepared(select(meta.c.value).where(meta.c.key == _ROW))
_SHARE: Final = Change(
    update(meta).where(meta.c.key == _ROW).values(value=bindparam("value", type_=meta.c.value.type))
)
