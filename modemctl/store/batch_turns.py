"""Batches that move by themselves: their window opens or ends, or nothing of them is unsent."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from sqlalchemy import ColumnElement, and_, exists, select, update

from modemctl.errors import PolicyRefused
from modemctl.lifecycle import BATCH, BatchState, SegmentState
from modemctl.model import BatchId, EventKind, SegmentId
from modemctl.policy.approvals import ApprovalRules, require_open
from modemctl.store.batches import Batch, move, read_batch, require_start
from modemctl.store.finals import announce
from modemctl.store.tables import batch, segment
from modemctl.store.transaction import Json, Transition, Tx

__all__ = ["due_starts", "expire_due", "finish_done", "settle_closed"]

_SYSTEM: Final = "modemctl"
_UNSETTLED: Final = (SegmentState.QUEUED, SegmentState.LEASED, SegmentState.SUBMITTING)
_CLOSED_AS: Final[Mapping[BatchState, SegmentState]] = {
    BatchState.CANCELLED: SegmentState.CANCELLED,
    BatchState.WITHDRAWN: SegmentState.CANCELLED,
    BatchState.REJECTED: SegmentState.CANCELLED,
    BatchState.EXPIRED: SegmentState.EXPIRED,
}


def due_starts(tx: Tx, rules: ApprovalRules) -> Sequence[BatchId]:
    """Start batches that start themselves and whose window is open; returns those started.

    One whose approval or operator does not hold at this moment is held with the reason.
    """
    rows = tx.conn.execute(
        select(batch)
        .where(
            batch.c.state == BatchState.APPROVED,
            batch.c.starts_itself.is_(True),
            batch.c.not_before <= tx.now,
            batch.c.not_after > tx.now,
        )
        .order_by(batch.c.priority, batch.c.created_at)
        .limit(50)
    ).all()
    return [found.batch_id for found in map(read_batch, rows) if _start(tx, found, rules)]


def expire_due(tx: Tx) -> Sequence[BatchId]:
    """Close batches whose window is over: DONE where nothing is unsent, else EXPIRED."""
    rows = tx.conn.execute(
        select(batch.c.batch_id, batch.c.state)
        .where(batch.c.state.in_(_live_states()), batch.c.not_after <= tx.now)
        .limit(50)
    ).all()
    expired: list[BatchId] = []
    for row in rows:
        batch_id = BatchId(row.batch_id)
        is_sent = row.state == BatchState.RUNNING and not _has_segments(tx, batch_id, _UNSETTLED)
        to = BatchState.DONE if is_sent else BatchState.EXPIRED
        if move(tx, batch_id, to, reason="the window is over"):
            tx.audit(_SYSTEM, f"batch.{to}", batch_id, {"reason": "the window is over"})
            expired.append(batch_id)
    return expired


def finish_done(tx: Tx) -> Sequence[BatchId]:
    """RUNNING batches of which nothing is unsent, in flight or in doubt become DONE."""
    still_open = (*_UNSETTLED, SegmentState.IN_DOUBT)
    rows = tx.conn.execute(
        select(batch.c.batch_id).where(
            batch.c.state == BatchState.RUNNING,
            ~exists().where(
                segment.c.batch_id == batch.c.batch_id, segment.c.state.in_(still_open)
            ),
        )
    )
    done = [BatchId(row.batch_id) for row in rows.all()]
    moved = [batch_id for batch_id in done if move(tx, batch_id, BatchState.DONE)]
    for batch_id in moved:
        tx.audit(_SYSTEM, "batch.done", batch_id, {})
    return moved


def settle_closed(tx: Tx, *, limit: int = 500) -> int:
    """Give unsent segments of closed batches their final state, at most `limit` of them."""
    # Two steps: of one, a database with statistics makes a walk through all that is queued.
    its = and_(segment.c.batch_id == batch.c.batch_id, segment.c.state == SegmentState.QUEUED)
    closed = select(batch.c.batch_id).where(batch.c.state.in_(_CLOSED_AS), exists().where(its))
    found = tx.conn.scalars(closed.limit(50)).all()
    if not found:
        return 0
    rows = tx.conn.execute(
        select(segment.c.segment_id, segment.c.message_id, batch.c.state)
        .join(batch, its)
        .where(batch.c.batch_id.in_(found))
        .limit(limit)
    ).all()
    for to in {_CLOSED_AS[BatchState(row.state)] for row in rows}:
        ids = [row.segment_id for row in rows if _CLOSED_AS[BatchState(row.state)] is to]
        settled = tx.conn.scalars(
            update(segment)
            .where(segment.c.segment_id.in_(ids), segment.c.state == SegmentState.QUEUED)
            .values(state=to, final_at=tx.now)
            .returning(segment.c.segment_id)
        ).all()
        for segment_id in settled:
            tx.transition(
                Transition(
                    segment_id=SegmentId(segment_id),
                    before=SegmentState.QUEUED,
                    after=to,
                    actor=_SYSTEM,
                    note="the batch was closed",
                )
            )
    if rows:
        announce(tx, {row.message_id for row in rows})
    return len(rows)


# ---------------------------------------------------------------- inside


def _start(tx: Tx, found: Batch, rules: ApprovalRules) -> bool:
    try:
        verified = require_start(tx.conn, tx.vault, found, rules=rules, now=tx.now)
        require_open(verified, now=tx.now)
    except PolicyRefused as refusal:
        details: dict[str, Json] = {"policy": refusal.policy, "rule": refusal.rule}
        reason = f"{refusal.policy}: {refusal.rule}"
        if move(tx, found.batch_id, BatchState.HELD, reason=reason):
            tx.audit(_SYSTEM, "batch.refused", found.batch_id, details)
            tx.event(EventKind.ALARM, found.batch_id, details)
        return False
    if not move(tx, found.batch_id, BatchState.RUNNING, only_from={BatchState.APPROVED}):
        return False
    started: dict[str, Json] = {"approvals": list(verified.approvers), "operator": found.operator}
    tx.audit(_SYSTEM, "batch.start", found.batch_id, started)
    return True


def _has_segments(tx: Tx, batch_id: BatchId, states: Collection[SegmentState]) -> bool:
    condition: ColumnElement[bool] = exists().where(
        segment.c.batch_id == batch_id, segment.c.state.in_(states)
    )
    return bool(tx.conn.scalar(select(condition)))


def _live_states() -> Sequence[BatchState]:
    return [state for state, to in BATCH.items() if to]
