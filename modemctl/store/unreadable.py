"""Batches of which a row cannot be read: found one by one and held, so that others go on."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from modemctl.lifecycle import BatchState
from modemctl.model import BatchId, EventKind
from modemctl.store.engine import UNREAD, UNREADABLE
from modemctl.store.leases import LeaseRequest, probe
from modemctl.store.segments import hold_batch
from modemctl.store.tables import batch
from modemctl.store.transaction import Tx


def hold_unreadable(tx: Tx, requests: Sequence[LeaseRequest]) -> int:
    """Hold each running batch that none of these can be served from; returns how many."""
    n_held = 0
    running = select(batch.c.batch_id).where(batch.c.state == BatchState.RUNNING)
    for batch_id in tx.conn.scalars(running).all():
        try:
            probe(tx, requests, batch_id)
        except UNREADABLE:
            n_held += hold_batch(tx, BatchId(batch_id), f"{UNREAD} (policy: SEC-05)")
            facts = {"alarm": "refused", "policy": "SEC-05", "rule": UNREAD}
            tx.event(EventKind.ALARM, batch_id, {**facts})
    return n_held
