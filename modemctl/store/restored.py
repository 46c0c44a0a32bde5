"""What a restored database may not do by itself: send what may have left since its backup.

Nobody knows here what happened after the moment that the backup was made. So everything stands
still until persons have looked: the fleet is stopped, what ran is held, what was in hand is in
doubt, what was asked of bays is not done, webhooks are paused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import and_, or_, select, update

from modemctl.lifecycle import BatchState, SegmentState
from modemctl.model import AccountId, BatchId
from modemctl.policy.stops import EVERYTHING, StopKind, StopMemory
from modemctl.store import batches, stop_book, webhooks, wishes
from modemctl.store.engine import UNREADABLE
from modemctl.store.finals import announce
from modemctl.store.segments import HELD_COLUMNS, IS_OPEN, note_change
from modemctl.store.stop_book import Act, NewStop
from modemctl.store.tables import batch, segment
from modemctl.store.transaction import Json, Tx
from modemctl.store.webhooks import EndpointState

_CHUNK: Final = 500
_BY: Final = "modemctl restore"
_ASKED: Final = "restored from a backup: whether it was done is not known"
_FROM_BACKUP: Final = "restored from a backup of"
_IN_HAND: Final = "it was in hand when the backup was made; whether it left is not known"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standstill:
    """How much a restored database holds back: batches held, segments in doubt, webhooks paused."""

    n_held: int
    n_in_doubt: int
    n_queued: int
    n_webhooks: int


def stand_still(
    tx: Tx, *, made_at: datetime, sha256: str, general: str, what: str = _FROM_BACKUP
) -> Standstill:
    """Stop the fleet, hold what would run, put in doubt what was in hand; in the log as well.

    `what`: why nobody knows what left since `made_at`.

    Raises:
        TamperedError: the list of stops was altered; then everything is stopped as it is.
    """
    since = made_at.isoformat(timespec="seconds")
    reason = f"{what} {since}: what left since then is not known here"
    stop_book.place(
        tx,
        NewStop(
            kind=StopKind.FLEET,
            target=EVERYTHING,
            reason=reason,
            act=Act(by=AccountId(""), name=_BY, source="local"),
            general_department=general,
        ),
        StopMemory(),
    )
    n_in_doubt = _doubt(tx)
    held = _hold(tx, reason)
    n_queued = _count_queued(tx, held)
    n_webhooks = _pause_webhooks(tx, reason)
    wishes.close_all(tx, _ASKED)
    facts: dict[str, Json] = {"made_at": since, "sha256": sha256, "in_doubt": n_in_doubt}
    details: dict[str, Json] = {**facts, "held": list(held), "policy": "SEC-07"}
    tx.audit(tx.node_id, "store.restored", "store", details)
    return Standstill(
        n_held=len(held), n_in_doubt=n_in_doubt, n_queued=n_queued, n_webhooks=n_webhooks
    )


def _hold(tx: Tx, reason: str) -> Sequence[BatchId]:
    """RUNNING → HELD, and what would start by itself: each is resumed by a person."""
    would_run = or_(
        batch.c.state == BatchState.RUNNING,
        and_(batch.c.state == BatchState.APPROVED, batch.c.starts_itself.is_(True)),
    )
    ids = tx.conn.scalars(select(batch.c.batch_id).where(would_run).order_by(batch.c.batch_id))
    found = [BatchId(one) for one in ids.all()]
    for batch_id in found:
        from_states = {BatchState.RUNNING, BatchState.APPROVED}
        batches.move(tx, batch_id, BatchState.HELD, reason=reason, only_from=from_states)
        tx.audit(tx.node_id, "batch.hold", batch_id, {"reason": reason})
    return found


def _doubt(tx: Tx) -> int:
    """LEASED, SUBMITTING → IN_DOUBT, of all nodes: in the journal too, step by step."""
    in_hand = and_(
        IS_OPEN, segment.c.state.in_([SegmentState.LEASED.value, SegmentState.SUBMITTING.value])
    )
    rows = tx.conn.execute(select(*HELD_COLUMNS).where(in_hand)).mappings().all()
    ids = [row["segment_id"] for row in rows]
    for at in range(0, len(ids), _CHUNK):
        some = segment.c.segment_id.in_(ids[at : at + _CHUNK])
        leased = segment.c.state == SegmentState.LEASED
        tx.conn.execute(update(segment).where(some, leased).values(submitting_at=tx.now))
        tx.conn.execute(
            update(segment).where(some).values(state=SegmentState.IN_DOUBT.value, note=_IN_HAND)
        )
    for row in rows:
        if row["state"] == SegmentState.LEASED:
            note_change(tx, row["segment_id"], SegmentState.LEASED, SegmentState.SUBMITTING)
        note_change(tx, row["segment_id"], SegmentState.SUBMITTING, SegmentState.IN_DOUBT, _IN_HAND)
    if rows:
        announce(tx, {row["message_id"] for row in rows})
    return len(rows)


def _pause_webhooks(tx: Tx, reason: str) -> int:
    """ACTIVE → PAUSED: one that was removed since, or whose secret leaked, gets nothing."""
    n = 0
    for name in webhooks.names(tx.conn):
        try:
            before = webhooks.find(tx.conn, tx.vault, name)
        except UNREADABLE:
            continue  # as it stands it gets nothing
        if before is None or before.state is not EndpointState.ACTIVE:
            continue
        after = webhooks.change(tx, before, state=EndpointState.PAUSED, reason=reason)
        tx.audit(tx.node_id, "webhook.pause", name, {**after.facts, "reason": reason})
        n += 1
    return n


def _count_queued(tx: Tx, held: Sequence[BatchId]) -> int:
    return sum(batches.progress(tx.conn, batch_id).get(SegmentState.QUEUED, 0) for batch_id in held)
