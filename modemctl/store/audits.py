"""Reading the audit chains and what they vouch for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, Row, bindparam, func, select

from modemctl.audit import Draft, Entry
from modemctl.store.engine import UNREADABLE, readable_cells
from modemctl.store.moved import Moved
from modemctl.store.tables import audit_entry, segment_journal, to_ms

IN_ORDER: Final = (
    select(audit_entry)
    .where(audit_entry.c.action.in_(bindparam("actions", expanding=True)))
    .order_by(
        # A clock that was set back turns no chain around.
        func.max(audit_entry.c.at).over(
            partition_by=audit_entry.c.node_id, order_by=audit_entry.c.seq
        ),
        audit_entry.c.node_id,
        audit_entry.c.seq,
    )
)
"""Entries of these `actions`, over all nodes, in their order."""


def list_nodes(conn: Connection) -> Sequence[str]:
    """The nodes that have a chain, by name."""
    return list(
        conn.scalars(select(audit_entry.c.node_id).distinct().order_by(audit_entry.c.node_id))
    )


def read_chain(conn: Connection, *, node_id: str, after: int, limit: int) -> Sequence[Entry]:
    """Entries of one chain behind number `after`, in order."""
    rows = conn.execute(
        select(audit_entry)
        .where(audit_entry.c.node_id == node_id, audit_entry.c.seq > after)
        .order_by(audit_entry.c.seq)
        .limit(limit)
    )
    return [_entry(row) for row in rows]


def read_page(
    conn: Connection, *, node_id: str, after: int, limit: int
) -> tuple[Sequence[Entry], bool]:
    """`read_chain`; of a page that holds a garbled entry those before it, and False."""
    found = _readable(conn, node_id, after, limit)
    if found is not None:
        return found, True
    whole: list[Entry] = []
    while len(whole) < limit:
        one = _readable(conn, node_id, whole[-1].seq if whole else after, 1)
        if not one:
            return whole, one is not None
        whole += one
    return whole, True


def _readable(conn: Connection, node_id: str, after: int, limit: int) -> Sequence[Entry] | None:
    """None where a cell holds what modemctl never writes, such as a text that is no UTF-8."""
    try:
        with readable_cells():
            return read_chain(conn, node_id=node_id, after=after, limit=limit)
    except UNREADABLE:
        return None


def last_entry(conn: Connection, node_id: str) -> int:
    """The number of a chain's last entry; 0 where there is none."""
    last = select(func.max(audit_entry.c.seq)).where(audit_entry.c.node_id == node_id)
    return conn.scalar(last) or 0


def has_entry(conn: Connection, *, node_id: str, seq: int, entry_hash: bytes) -> bool:
    """Whether a chain holds the entry of this number and hash."""
    columns = audit_entry.c
    stored = conn.scalar(select(columns.hash).where(columns.node_id == node_id, columns.seq == seq))
    return stored == entry_hash


def list_entries(
    conn: Connection,
    *,
    node_id: str,
    before: int,
    actor: str | None,
    action: str | None,
    subject: str | None,
    limit: int,
) -> Sequence[Entry]:
    """Entries of one chain, newest first, those before number `before` (0: from the end)."""
    columns = audit_entry.c
    query = select(audit_entry).where(columns.node_id == node_id)
    if before:
        query = query.where(columns.seq < before)
    for column, wanted in (
        (columns.actor, actor),
        (columns.action, action),
        (columns.subject, subject),
    ):
        if wanted is not None:
            query = query.where(column == wanted)
    return [_entry(row) for row in conn.execute(query.order_by(columns.seq.desc()).limit(limit))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Entries from number `first` to `last`; `prev` is the hash that the first one follows."""

    first: int
    last: int
    prev: bytes


def span_of(
    conn: Connection, *, node_id: str, since: datetime | None, until: datetime | None
) -> Span | None:
    """The shortest unbroken part of a chain with all entries of a time; None without any."""
    columns = audit_entry.c
    query = select(func.min(columns.seq), func.max(columns.seq)).where(columns.node_id == node_id)
    if since is not None:
        query = query.where(columns.at >= since)
    if until is not None:
        query = query.where(columns.at < until)
    first, last = conn.execute(query).one()
    if first is None:
        return None
    prev = conn.scalar(select(columns.prev).where(columns.node_id == node_id, columns.seq == first))
    return Span(first=first, last=last, prev=prev or b"")


def acts_of(conn: Connection, *, node_id: str, span: Span) -> Sequence[int]:
    """The numbers of the entries that tell an act: not those of group commits."""
    columns = audit_entry.c
    query = select(columns.seq).where(
        columns.node_id == node_id,
        columns.seq.between(span.first, span.last),
        columns.action != "segments.moved",
    )
    return list(conn.scalars(query.order_by(columns.seq)))


def read_entries(conn: Connection, *, node_id: str, numbers: Sequence[int]) -> Sequence[Entry]:
    """Entries by their numbers, in order."""
    columns = audit_entry.c
    rows = conn.execute(
        select(audit_entry)
        .where(columns.node_id == node_id, columns.seq.in_(numbers))
        .order_by(columns.seq)
    )
    return [_entry(row) for row in rows]


def read_subject(conn: Connection, *, node_id: str, action: str, subject: str) -> Entry | None:
    """The latest entry of a kind of act on this subject; None without any."""
    found = list_entries(
        conn, node_id=node_id, before=0, actor=None, action=action, subject=subject, limit=1
    )
    return found[0] if found else None


def read_acts(conn: Connection, *, node_id: str, action: str) -> Iterator[Entry]:
    """A node's entries of one kind of act, newest first."""
    columns = audit_entry.c
    query = select(audit_entry).where(columns.node_id == node_id, columns.action == action)
    for row in conn.execute(query.order_by(columns.seq.desc())):
        yield _entry(row)


def read_moved(conn: Connection, *, after: int, limit: int) -> tuple[Sequence[Moved], int]:
    """Rows of the segment journal behind `after`, as they were written; and the last one's id."""
    columns = segment_journal.c
    rows = conn.execute(
        select(segment_journal)
        .where(columns.entry_id > after)
        .order_by(columns.entry_id)
        .limit(limit)
    ).all()
    found = [
        Moved(
            segment_id=row.segment_id,
            at=to_ms(row.at),
            before=row.before,
            after=row.after,
            actor=row.actor,
            note=row.note,
        )
        for row in rows
    ]
    return found, rows[-1].entry_id if rows else after


def count_moved(conn: Connection, *, after: int) -> int:
    """How many rows of the segment journal lie behind `after`."""
    columns = segment_journal.c
    query = select(func.count()).select_from(segment_journal).where(columns.entry_id > after)
    return conn.scalar(query) or 0


def n_moved_of(conn: Connection, nodes: Sequence[str]) -> int:
    """How many rows of the segment journal the entries of these nodes speak of."""
    columns = audit_entry.c
    told = conn.scalars(
        select(columns.details).where(
            columns.action == "segments.moved", columns.node_id.in_(nodes)
        ),
        execution_options={"yield_per": 1_000},
    )
    return sum(int(json.loads(details)["n"]) for details in told)


def _entry(row: Row[tuple[object, ...]]) -> Entry:
    return Entry(
        node_id=row.node_id,
        seq=row.seq,
        draft=Draft(
            at=row.at,
            actor=row.actor,
            action=row.action,
            subject=row.subject,
            details=row.details,
        ),
        prev=row.prev,
        hash=row.hash,
        signature=row.signature,
    )
