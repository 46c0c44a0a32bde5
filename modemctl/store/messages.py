"""Messages and their segments, as they are shown: states computed, every change in order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Row, Select, select, update

from modemctl.errors import TamperedError
from modemctl.lifecycle import BatchState, MessageState, SegmentState, message_state
from modemctl.model import BatchId, MessageId, SegmentId, Topic
from modemctl.policy.digest import Line, read_line
from modemctl.store.batches import Sight, seen_by
from modemctl.store.evidence import ERASED_LINE, open_line
from modemctl.store.finals import announce
from modemctl.store.tables import ITS_MESSAGE, batch, message, recipient, segment, segment_journal
from modemctl.store.transaction import Transition, Tx
from modemctl.vault import Vault

_CLOSED: Mapping[BatchState, SegmentState] = {
    BatchState.CANCELLED: SegmentState.CANCELLED,
    BatchState.WITHDRAWN: SegmentState.CANCELLED,
    BatchState.REJECTED: SegmentState.CANCELLED,
    BatchState.EXPIRED: SegmentState.EXPIRED,
}
"""What an unsent segment of a closed batch is, also before its row says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One segment's row; what is still to come is None."""

    segment_id: SegmentId
    message_id: MessageId
    seq: int
    state: SegmentState
    tries: int
    iccid: str | None
    bay: str | None
    mr: int | None
    submitting_at: datetime | None
    sent_at: datetime | None
    final_at: datetime | None
    cause: str | None
    note: str | None
    not_before: datetime | None = None
    avoids: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One recipient's message. `line` is None where it was erased or its row tampered with."""

    message_id: MessageId
    batch_id: BatchId
    department: str
    category: str
    line_no: int
    line: Line | None = field(repr=False)
    is_erased: bool
    state: MessageState
    iccid: str | None
    choice: str | None
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One journal row: a segment went from one state to the next."""

    segment_id: SegmentId
    at: datetime
    before: SegmentState
    after: SegmentState
    actor: str
    note: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which messages; None matches all. `number` in E.164 form."""

    sight: Sight | None = None
    batch_id: str | None = None
    number: str | None = field(default=None, repr=False)


def find_messages(
    conn: Connection, vault: Vault, query: Query, *, after: int, limit: int
) -> Sequence[Message]:
    """Messages in order of id, behind `after`."""
    statement = _messages().where(message.c.message_id > after)
    if query.sight is not None:
        statement = statement.where(seen_by(query.sight))
    if query.batch_id is not None:
        statement = statement.where(message.c.batch_id == query.batch_id)
    if query.number is not None:
        statement = statement.join(recipient, ITS_MESSAGE).where(
            recipient.c.recipient_bidx == vault.blind_index(query.number)
        )
    rows = conn.execute(statement.order_by(message.c.message_id).limit(limit)).all()
    return _with_segments(conn, vault, rows)


def find_message(conn: Connection, vault: Vault, message_id: int) -> Message | None:
    """The message of this id."""
    rows = conn.execute(_messages().where(message.c.message_id == message_id)).all()
    found = _with_segments(conn, vault, rows)
    return found[0] if found else None


def changes_of(conn: Connection, segment_ids: Iterable[SegmentId]) -> Sequence[Change]:
    """Every change of these segments, in the order in which they were committed."""
    rows = conn.execute(
        select(segment_journal)
        .where(segment_journal.c.segment_id.in_(list(segment_ids)))
        .order_by(segment_journal.c.entry_id)
    )
    return [
        Change(
            segment_id=SegmentId(row.segment_id),
            at=row.at,
            before=SegmentState(row.before),
            after=SegmentState(row.after),
            actor=row.actor,
            note=row.note,
        )
        for row in rows
    ]


# ---------------------------------------------------------------- doubt


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """A segment of which nobody knows whether it left."""

    segment: Segment
    batch_id: BatchId
    department: str
    batch_state: BatchState
    not_after: datetime
    line: Line | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """A person's or a rule's decision on segments in doubt; `to` is QUEUED or ABANDONED."""

    segment_ids: Sequence[SegmentId]
    to: SegmentState
    actor: str
    reason: str


def find_doubts(
    conn: Connection,
    vault: Vault,
    *,
    sight: Sight | None,
    batch_id: str | None,
    after: int,
    limit: int,
    only: Sequence[SegmentId] | None = None,
) -> Sequence[Doubt]:
    """Segments in doubt in order of id, behind `after`."""
    statement = (
        select(
            segment,
            message.c.line_no,
            message.c.line_enc,
            batch.c.department,
            batch.c.state.label("batch_state"),
            batch.c.not_after,
        )
        .join(message, message.c.message_id == segment.c.message_id)
        .join(batch, batch.c.batch_id == segment.c.batch_id)
        .where(segment.c.state == SegmentState.IN_DOUBT, segment.c.segment_id > after)
    )
    if sight is not None:
        statement = statement.where(seen_by(sight))
    if batch_id is not None:
        statement = statement.where(segment.c.batch_id == batch_id)
    if only is not None:
        statement = statement.where(segment.c.segment_id.in_(only))
    rows = conn.execute(statement.order_by(segment.c.segment_id).limit(limit))
    return [
        Doubt(
            segment=_segment(row),
            batch_id=BatchId(row.batch_id),
            department=row.department,
            batch_state=BatchState(row.batch_state),
            not_after=row.not_after,
            line=_line(vault, row),
        )
        for row in rows
    ]


def resolve_doubts(tx: Tx, decision: Resolution) -> Sequence[SegmentId]:
    """Move segments out of doubt by decision; returns those that still were in doubt."""
    is_final = decision.to is not SegmentState.QUEUED
    values: dict[str, object] = {
        "state": decision.to,
        "note": decision.reason,
        "final_at": tx.now if is_final else None,
    }
    if not is_final:
        # What it may have cost stays charged: nobody refunds a charge that no row remembers.
        values |= dict.fromkeys(
            (
                "lease_token",
                "leased_until",
                "charged_at",
                "charged_to",
                "bay",
                "node_id",
                "mr",
                "submitting_at",
            )
        )
    moved = tx.conn.execute(
        update(segment)
        .where(_in_doubt(decision.segment_ids))
        .values(**values)
        .returning(segment.c.segment_id, segment.c.message_id)
    ).all()
    for segment_id in sorted(row.segment_id for row in moved):
        tx.transition(
            Transition(
                segment_id=SegmentId(segment_id),
                before=SegmentState.IN_DOUBT,
                after=decision.to,
                actor=decision.actor,
                note=decision.reason,
            )
        )
    announce(tx, {row.message_id for row in moved})
    tx.wake(Topic.WORK)
    return [SegmentId(row.segment_id) for row in moved]


# ---------------------------------------------------------------- inside


def _in_doubt(segment_ids: Sequence[SegmentId]) -> ColumnElement[bool]:
    return segment.c.segment_id.in_(segment_ids) & (segment.c.state == SegmentState.IN_DOUBT)


def _messages() -> Select[tuple[object, ...]]:
    of_batch = (batch.c.department, batch.c.category, batch.c.state.label("batch_state"))
    return select(message, *of_batch).join(batch, batch.c.batch_id == message.c.batch_id)


def _with_segments(
    conn: Connection, vault: Vault, rows: Sequence[Row[tuple[object, ...]]]
) -> Sequence[Message]:
    segments: dict[int, list[Segment]] = defaultdict(list)
    ids = [row.message_id for row in rows]
    for row in conn.execute(
        select(segment)
        .where(segment.c.message_id.in_(ids))
        .order_by(segment.c.message_id, segment.c.seq)
    ):
        segments[row.message_id].append(_segment(row))
    return [_message(vault, row, tuple(segments[row.message_id])) for row in rows]


def _message(vault: Vault, row: Row[tuple[object, ...]], segments: tuple[Segment, ...]) -> Message:
    closed_as = _CLOSED.get(BatchState(row.batch_state))
    states = [
        closed_as if closed_as is not None and one.state is SegmentState.QUEUED else one.state
        for one in segments
    ]
    return Message(
        message_id=MessageId(row.message_id),
        batch_id=BatchId(row.batch_id),
        department=row.department,
        category=row.category,
        line_no=row.line_no,
        line=_line(vault, row),
        is_erased=_octets(vault, row) == ERASED_LINE,
        state=message_state(states),
        iccid=row.iccid,
        choice=row.choice,
        segments=segments,
    )


def _line(vault: Vault, row: Row[tuple[object, ...]]) -> Line | None:
    octets = _octets(vault, row)
    return None if octets is None or octets == ERASED_LINE else read_line(octets)


def _octets(vault: Vault, row: Row[tuple[object, ...]]) -> bytes | None:
    try:
        return open_line(vault, row.batch_id, row.line_no, row.line_enc)
    except TamperedError:
        return None


def _segment(row: Row[tuple[object, ...]]) -> Segment:
    return Segment(
        segment_id=SegmentId(row.segment_id),
        message_id=MessageId(row.message_id),
        seq=row.seq,
        state=SegmentState(row.state),
        tries=row.tries,
        iccid=row.iccid,
        bay=row.bay,
        mr=row.mr,
        submitting_at=row.submitting_at,
        sent_at=row.sent_at,
        final_at=row.final_at,
        cause=row.cause,
        note=row.note,
        not_before=row.not_before,
        avoids=row.avoid_iccid,
    )
