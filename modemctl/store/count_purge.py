"""Counts that no limit asks for any more are forgotten, some at a time.

No node forgets what binds on another: the earliest of those that are up says what counts.
"""

from __future__ import annotations

from datetime import datetime, tzinfo
from typing import Final

from sqlalchemy import and_, bindparam, delete, or_, select

from modemctl.model import NodeState
from modemctl.policy.quotas import Measure, Span, column_of, first_bucket
from modemctl.store import count_seal
from modemctl.store.tables import node, quota, quota_contact
from modemctl.store.transaction import Tx

PURGED: Final = 4_000
"""So many rows keep the writer for some 50 ms; a department may have met a million people."""
_KEPT: Final = {Span.MINUTE: 0, Span.HOUR: 0, Span.DAY: 40, Span.MONTH: 12}


def purge(tx: Tx, zone: tzinfo) -> int:
    """Forget buckets that count no more, `PURGED` of a table at most; returns how many rows.

    None where this node's clock is not believed.
    """
    if tx.standing.fault:
        return 0
    n, now = 0, _earliest(tx)
    for table in (quota, quota_contact):
        stale = [
            and_(
                table.c.span.in_([column_of(measure, span) for measure in Measure]),
                table.c.bucket < first_bucket(span, now, zone) - kept,
            )
            for span, kept in _KEPT.items()
        ]
        found = select(*table.c).where(or_(*stale)).limit(PURGED)
        gone = tx.conn.execute(found).mappings().all()
        if not gone:
            continue
        key = list(table.primary_key.columns)
        is_it = [column == bindparam(f"key_{column.name}") for column in key]
        rows = [{f"key_{column.name}": row[column.name] for column in key} for row in gone]
        n += tx.conn.execute(delete(table).where(*is_it), rows).rowcount
        tx.count(-count_seal.weight(tx.vault, table, [tuple(row.values()) for row in gone]))
    return n


def _earliest(tx: Tx) -> datetime:
    """Steady time of the node that is behind all others, as it noted it last."""
    is_other = (node.c.node_id != tx.node_id) & (node.c.state == NodeState.UP.value)
    others = tx.conn.scalars(select(node.c.steady_at).where(is_other)).all()
    known: list[datetime] = [at for at in others if at is not None]
    return min([tx.steady, *known])
