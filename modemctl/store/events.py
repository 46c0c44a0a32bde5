"""Event rows: reading behind a cursor, and forgetting old ones.

The ids count up without gaps that hide a row: one writer inserts them (SQLite).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, func, select

from modemctl.model import EventKind
from modemctl.store.tables import batch, sim
from modemctl.store.tables import event as event_table
from modemctl.store.transaction import Tx


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """One event; `data` is JSON text without anything personal."""

    event_id: int
    at: datetime
    kind: EventKind
    subject: str
    data: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """The oldest and newest ids that are kept; 0 and 0 where there are none."""

    oldest: int
    newest: int


def read_reach(conn: Connection) -> Reach:
    """What is kept."""
    row = conn.execute(
        select(func.min(event_table.c.event_id), func.max(event_table.c.event_id))
    ).one()
    return Reach(oldest=row[0] or 0, newest=row[1] or 0)


def read_events(
    conn: Connection, *, after: int, kinds: Collection[EventKind] | None, limit: int
) -> Sequence[EventRow]:
    """Events behind id `after`, oldest first; all kinds where `kinds` is None."""
    query = select(event_table).where(event_table.c.event_id > after)
    if kinds is not None:
        query = query.where(event_table.c.kind.in_(kinds))
    rows = conn.execute(query.order_by(event_table.c.event_id).limit(limit))
    return [
        EventRow(
            event_id=row.event_id,
            at=row.at,
            kind=EventKind(row.kind),
            subject=row.subject,
            data=row.data,
        )
        for row in rows
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Owners:
    """Whose batches and cards they are: batch id → department and category, ICCID → department."""

    batches: Mapping[str, tuple[str, str]]
    cards: Mapping[str, str | None]


def read_owners(conn: Connection, subjects: Collection[str]) -> Owners:
    """The owners of those subjects that are batches or cards."""
    words = sorted(set(subjects))
    batches = conn.execute(
        select(batch.c.batch_id, batch.c.department, batch.c.category).where(
            batch.c.batch_id.in_(words)
        )
    )
    cards = conn.execute(select(sim.c.iccid, sim.c.department).where(sim.c.iccid.in_(words)))
    return Owners(
        batches={row.batch_id: (row.department, row.category) for row in batches},
        cards={row.iccid: row.department for row in cards},
    )


def delete_events(tx: Tx, *, before: datetime, limit: int) -> int:
    """Forget at most `limit` events older than `before`; returns how many.

    The newest row stays whatever its age: else SQLite would hand out its id again, and a cursor
    would pass over new events.
    """
    newest = select(func.max(event_table.c.event_id)).scalar_subquery()
    old = (
        select(event_table.c.event_id)
        .where(event_table.c.at < before, event_table.c.event_id < newest)
        .order_by(event_table.c.event_id)
        .limit(limit)
    )
    return tx.conn.execute(delete(event_table).where(event_table.c.event_id.in_(old))).rowcount
