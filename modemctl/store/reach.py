"""What a stop found: exactly what had left, was on its way, and had not left (SEC-10).

Nothing that a stop concerns is submitted while it stands, so the rows themselves tell; once it is
lifted, the journal does, up to the mark that the lift left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    Select,
    and_,
    case,
    func,
    literal,
    or_,
    select,
    true,
)

from modemctl.errors import TamperedError
from modemctl.lifecycle import SegmentState
from modemctl.model import BatchId, MessageId, SegmentId
from modemctl.policy.digest import read_line
from modemctl.policy.stops import StopKind
from modemctl.store.evidence import open_line
from modemctl.store.stop_book import Stop
from modemctl.store.tables import message, segment, segment_journal, stop_batch, stop_flight
from modemctl.vault import Vault


class Part(StrEnum):
    """Where a segment stood when the stop was placed."""

    SENT = "sent"  # it had left, or may have: in doubt counts
    IN_FLIGHT = "in_flight"  # it was being submitted
    UNSENT = "unsent"  # it had not left


LEFT: Final = frozenset(
    {
        SegmentState.SENT,
        SegmentState.DELIVERED,
        SegmentState.UNDELIVERED,
        SegmentState.IN_DOUBT,
        SegmentState.ABANDONED,
    }
)
"""States of a segment that left, or of which nobody knows; what the network let expire left too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """So many segments of a batch were in this part; `state` is what they are now."""

    batch_id: BatchId
    part: Part
    state: SegmentState
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """One segment of a stop's reach. `to` is None where its line was altered."""

    segment_id: SegmentId
    message_id: MessageId
    batch_id: BatchId
    line_no: int
    seq: int
    part: Part
    state: SegmentState
    iccid: str | None
    bay: str | None
    mr: int | None
    sent_at: datetime | None
    to: str | None = field(repr=False)


def count(conn: Connection, stop: Stop) -> Sequence[Count]:
    """How many segments of each batch stood where, and how they ended."""
    part, scoped = _scoped(stop)
    query = scoped.with_only_columns(
        segment.c.batch_id, part.label("part"), segment.c.state, func.count().label("n")
    ).group_by(segment.c.batch_id, part, segment.c.state)
    return [
        Count(
            batch_id=BatchId(row.batch_id),
            part=Part(row.part),
            state=SegmentState(row.state),
            n=row.n,
        )
        for row in conn.execute(query.order_by(segment.c.batch_id, part, segment.c.state))
    ]


def find(
    conn: Connection,
    vault: Vault,
    stop: Stop,
    *,
    after: int,
    limit: int,
    only: Part | None = None,
) -> Sequence[Reached]:
    """Segments of the reach in order of id, behind `after`."""
    part, scoped = _scoped(stop)
    query = (
        scoped.with_only_columns(
            *segment.c, part.label("part"), message.c.line_no, message.c.line_enc
        )
        .join(message, message.c.message_id == segment.c.message_id)
        .where(segment.c.segment_id > after)
        .order_by(segment.c.segment_id)
        .limit(limit)
    )
    if only is not None:
        query = query.where(part == only.value)
    return [_reached(vault, row) for row in conn.execute(query).mappings()]


def find_numbers(
    conn: Connection, vault: Vault, stop: Stop, *, after: int, limit: int
) -> Mapping[MessageId, str | None]:
    """Messages behind `after` of which something left or may have left, and to whom each went.

    What was in flight counts by what became of it; None where a line was altered.
    """
    part, scoped = _scoped(stop)
    has_left = or_(part == Part.SENT.value, and_(part == Part.IN_FLIGHT.value, _is_left()))
    query = (
        scoped.with_only_columns(
            message.c.message_id, message.c.batch_id, message.c.line_no, message.c.line_enc
        )
        .join(message, message.c.message_id == segment.c.message_id)
        .where(has_left, message.c.message_id > after)
        .distinct()
        .order_by(message.c.message_id)
        .limit(limit)
    )
    rows = conn.execute(query).mappings()
    return {MessageId(row["message_id"]): _to(vault, row) for row in rows}


# ---------------------------------------------------------------- inside


def _scoped(stop: Stop) -> tuple[ColumnElement[str], Select[tuple[object, ...]]]:
    """The part that a segment was in, and the segments that the stop concerns."""
    was = stop_flight.c.was
    part = case(
        (was == SegmentState.SUBMITTING.value, literal(Part.IN_FLIGHT.value)),
        (was == SegmentState.LEASED.value, literal(Part.UNSENT.value)),
        (_had_left(stop), literal(Part.SENT.value)),
        else_=literal(Part.UNSENT.value),
    )
    is_noted = and_(
        stop_flight.c.stop_id == stop.stop_id, stop_flight.c.segment_id == segment.c.segment_id
    )
    batches = select(stop_batch.c.batch_id).where(stop_batch.c.stop_id == stop.stop_id)
    query: Select[tuple[object, ...]] = (
        select(segment.c.segment_id)
        .select_from(segment)
        .outerjoin(stop_flight, is_noted)
        .where(segment.c.batch_id.in_(batches), or_(_own(stop), was.is_not(None)))
    )
    return part, query


def _own(stop: Stop) -> ColumnElement[bool]:
    if stop.kind is StopKind.CARD:
        return segment.c.iccid == stop.target
    if stop.kind is StopKind.NODE:
        return segment.c.node_id == stop.target
    return true()


def _had_left(stop: Stop) -> ColumnElement[bool]:
    if stop.mark is None:
        return _is_left()
    journal = segment_journal.alias("past")
    then = (
        select(journal.c.after)
        .where(journal.c.segment_id == segment.c.segment_id, journal.c.entry_id <= stop.mark)
        .order_by(journal.c.entry_id.desc())
        .limit(1)
        .scalar_subquery()
    )
    was_sent = (
        select(journal.c.entry_id)
        .where(
            journal.c.segment_id == segment.c.segment_id,
            journal.c.entry_id <= stop.mark,
            journal.c.after.in_([SegmentState.SENT, SegmentState.IN_DOUBT]),
        )
        .exists()
    )
    expired = and_(then == SegmentState.EXPIRED, was_sent)
    return or_(then.in_(sorted(LEFT)), expired)


def _is_left() -> ColumnElement[bool]:
    expired = and_(segment.c.state == SegmentState.EXPIRED, segment.c.submitting_at.is_not(None))
    return or_(segment.c.state.in_(sorted(LEFT)), expired)


def _reached(vault: Vault, row: RowMapping) -> Reached:
    return Reached(
        segment_id=SegmentId(row["segment_id"]),
        message_id=MessageId(row["message_id"]),
        batch_id=BatchId(row["batch_id"]),
        line_no=row["line_no"],
        seq=row["seq"],
        part=Part(row["part"]),
        state=SegmentState(row["state"]),
        iccid=row["iccid"],
        bay=row["bay"],
        mr=row["mr"],
        sent_at=row["sent_at"],
        to=_to(vault, row),
    )


def _to(vault: Vault, row: RowMapping) -> str | None:
    try:
        return read_line(open_line(vault, row["batch_id"], row["line_no"], row["line_enc"])).to
    except TamperedError:
        return None
