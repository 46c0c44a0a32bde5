"""What time alone does to segments and batches; a sweep is short: a few hundred rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    and_,
    select,
    update,
)

from modemctl.lifecycle import BatchState, SegmentState
from modemctl.model import BatchId, Bay, EventKind, SegmentId, Topic
from modemctl.store import batch_turns, reports
from modemctl.store.finals import announce
from modemctl.store.messages import Resolution, resolve_doubts
from modemctl.store.segments import (
    HELD_COLUMNS,
    IS_OPEN,
    Note,
    SendingRules,
    hold_batch,
    note_change,
    requeue,
)
from modemctl.store.tables import batch, segment
from modemctl.store.transaction import Tx

_CHUNK: Final = 500
_RULE: Final = "rule:on_doubt"
_NO_REPORT: Final = "no report came while one could"


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """How much one sweep moved."""

    n_lapsed: int
    n_orphans: int
    n_doubts: int
    n_closed: int
    n_batches: int

    @property
    def has_more(self) -> bool:
        """Whether closed batches or old doubts have segments left to settle."""
        return max(self.n_closed, self.n_doubts) >= _CHUNK


def recover(
    tx: Tx, rules: SendingRules, *, node_id: str | None = None, reason: str = "the daemon ended"
) -> tuple[int, int]:
    """At start: SUBMITTING rows of this node are IN_DOUBT, its LEASED rows are QUEUED again.

    So it is with those of a lost node (`node_id`). Returns how many of each.
    """
    own = segment.c.node_id == (node_id or tx.node_id)
    doubtful = _held(tx.conn, and_(own, segment.c.state == SegmentState.SUBMITTING))
    put_in_doubt(tx, doubtful, f"{reason} while it was being submitted", rules)
    leased = _held(tx.conn, and_(own, segment.c.state == SegmentState.LEASED))
    note = Note(text=f"{reason} before it was submitted")
    requeue(tx, leased, rules.quota, notes={row["lease_token"]: note for row in leased})
    return len(doubtful), len(leased)


def hold_after_outage(tx: Tx, absence: timedelta | None, longest: timedelta) -> int:
    """Hold what runs where the node was away for longer: a person says whether it is still right.

    Returns how many batches; none where `longest` is 0.
    """
    if absence is None or not longest or absence <= longest:
        return 0
    minutes = int(absence.total_seconds() // 60)
    reason = f"an outage of {minutes} min; a person says whether the rest is still right"
    running = tx.conn.scalars(
        select(batch.c.batch_id).where(batch.c.state == BatchState.RUNNING)
    ).all()
    for batch_id in running:
        hold_batch(tx, BatchId(batch_id), reason)
        tx.event(EventKind.ALARM, batch_id, {"alarm": "outage", "minutes": minutes})
    return len(running)


def hold_after_tampering(tx: Tx, faults: Sequence[str]) -> int:
    """Hold what runs where the store was altered while nobody looked: limits may be open.

    Returns how many batches; none where there are no `faults`.
    """
    if not faults:
        return 0
    tx.event(EventKind.ALARM, "audit", {"alarm": "tampered", "faults": list(faults)})
    tx.audit(tx.node_id, "store.altered", "store", {"faults": list(faults), "policy": "SEC-05"})
    running = tx.conn.scalars(
        select(batch.c.batch_id).where(batch.c.state == BatchState.RUNNING)
    ).all()
    for batch_id in running:
        hold_batch(tx, BatchId(batch_id), f"{faults[0]} (policy: SEC-05)")
    return len(running)


def orphan(tx: Tx, bay: Bay, rules: SendingRules) -> int:
    """A bay's actor ended in disorder: what it left SUBMITTING is IN_DOUBT. Returns how many."""
    rows = _held(
        tx.conn,
        and_(
            segment.c.node_id == tx.node_id,
            segment.c.bay == bay,
            segment.c.state == SegmentState.SUBMITTING,
        ),
    )
    put_in_doubt(tx, rows, "its actor failed while it was submitted", rules)
    return len(rows)


def put_in_doubt(tx: Tx, rows: Sequence[RowMapping], reason: str, rules: SendingRules) -> None:
    """SUBMITTING → IN_DOUBT; what is in doubt stays charged."""
    ids = [row["segment_id"] for row in rows]
    for at in range(0, len(ids), _CHUNK):
        tx.conn.execute(
            update(segment)
            .where(
                segment.c.segment_id.in_(ids[at : at + _CHUNK]),
                segment.c.state == SegmentState.SUBMITTING,
            )
            .values(state=SegmentState.IN_DOUBT.value, note=reason)
        )
    for segment_id in ids:
        note_change(tx, segment_id, SegmentState.SUBMITTING, SegmentState.IN_DOUBT, reason)
    for at in range(0, len(ids), _CHUNK):
        reports.rematch(tx, ids[at : at + _CHUNK])  # one may have waited for the answer
    if rows:
        announce(tx, {row["message_id"] for row in rows})
    if rules.on_doubt_hold:
        for batch_id in sorted({row["batch_id"] for row in rows}):
            hold_batch(tx, BatchId(batch_id), "a segment is in doubt")


def sweep(tx: Tx, rules: SendingRules) -> Swept:
    """What is over by time: leases, forgotten submits, batches, segments of closed batches."""
    lapsed = _held(
        tx.conn, and_(segment.c.state == SegmentState.LEASED, segment.c.leased_until <= tx.now)
    )
    note = Note(text="the lease lapsed; nothing was written to a modem")
    requeue(tx, lapsed, rules.quota, notes={row["lease_token"]: note for row in lapsed})
    orphans = _held(
        tx.conn,
        and_(
            segment.c.state == SegmentState.SUBMITTING,
            segment.c.submitting_at <= tx.now - timedelta(seconds=rules.lease_seconds),
        ),
    )
    put_in_doubt(tx, orphans, "nobody told what became of it", rules)
    n_doubts = _close_doubts(tx, rules)
    n_batches = (
        len(batch_turns.due_starts(tx, rules.approvals))
        + len(batch_turns.expire_due(tx))
        + len(batch_turns.finish_done(tx))
    )
    n_closed = batch_turns.settle_closed(tx, limit=_CHUNK)
    if lapsed:
        tx.wake(Topic.WORK)
    return Swept(
        n_lapsed=len(lapsed),
        n_orphans=len(orphans),
        n_doubts=n_doubts,
        n_closed=n_closed,
        n_batches=n_batches,
    )


def _close_doubts(tx: Tx, rules: SendingRules) -> int:
    """IN_DOUBT → ABANDONED where the site says so and no report can come any more."""
    if rules.doubt_closes_after is None:
        return 0
    is_over = segment.c.submitting_at <= tx.now - rules.doubt_closes_after
    rows = tx.conn.execute(
        select(segment.c.segment_id, segment.c.batch_id)
        .where(IS_OPEN, segment.c.state == SegmentState.IN_DOUBT, is_over)
        .order_by(segment.c.segment_id)
        .limit(_CHUNK)
    ).all()
    by_batch: dict[BatchId, list[SegmentId]] = {}
    for row in rows:
        by_batch.setdefault(BatchId(row.batch_id), []).append(SegmentId(row.segment_id))
    for batch_id, ids in by_batch.items():
        decision = Resolution(
            segment_ids=ids, to=SegmentState.ABANDONED, actor=_RULE, reason=_NO_REPORT
        )
        resolve_doubts(tx, decision)
        tx.audit(_RULE, "doubt.close", batch_id, {"segments": list(ids), "reason": _NO_REPORT})
    return len(rows)


def note_progress(tx: Tx, counts: Mapping[BatchId, Mapping[str, int]]) -> None:
    """An event for each batch that moved."""
    for batch_id, states in counts.items():
        tx.event(EventKind.BATCH, batch_id, {"state": BatchState.RUNNING.value, "segments": states})


def _held(conn: Connection, condition: ColumnElement[bool]) -> Sequence[RowMapping]:
    return conn.execute(select(*HELD_COLUMNS).where(IS_OPEN, condition)).mappings().all()
