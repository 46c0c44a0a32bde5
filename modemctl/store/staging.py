"""A batch's list on its way in: slices of lines, each a short transaction, then the freeze."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeAlias

from sqlalchemy import Connection, delete, insert, literal, select, union_all, update

from modemctl.lifecycle import BatchState, CardState, SegmentState
from modemctl.model import BatchId, EventKind, mask_number
from modemctl.policy.numbers import Rejection
from modemctl.policy.quotas import QuotaRules, ScopeKind, message_load
from modemctl.store.bulk import among, insert_rows
from modemctl.store.customers import strangers
from modemctl.store.evidence import open_line, seal_line, state_values
from modemctl.store.quotas import Book
from modemctl.store.tables import (
    batch,
    batch_chunk,
    batch_removed,
    message,
    opt_out,
    recipient,
    segment,
    sim,
    text_use,
)
from modemctl.store.transaction import Tx

_GOING: Final = b""  # the nonce of a draft that is being taken back


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedLine:
    """A line that may be sent, sealed, with what finds it again."""

    line_no: int
    to: str = field(repr=False)
    recipient_bidx: bytes
    line_enc: bytes = field(repr=False)
    n_segments: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovedLine:
    """A line that is not part of the batch; `masked` shows what stood there."""

    line_no: int
    masked: str
    reason: str
    policy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A whole chunk's leaves, 32 octets each."""

    chunk_no: int
    leaves: bytes = field(repr=False)


IndexedLine: TypeAlias = tuple[bytes, int]
"""A recipient's blind index and the number of its line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """Some lines in ascending order; `chunks` are those that earlier slices completed."""

    batch_id: BatchId
    lines: Sequence[StagedLine]
    removed: Sequence[RemovedLine]
    chunks: Sequence[Chunk]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spacing:
    """What a number may get, and until when the batch could send: its window's end.

    `test_numbers`: those of our own cards that this batch may write to. `customers_of`: the
    department whose customers alone may get it. `cards_of`: the one whose active cards alone may.
    """

    rules: QuotaRules
    until: datetime
    test_numbers: frozenset[str] = field(default=frozenset(), repr=False)
    customers_of: str | None = None
    cards_of: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    """What ends the staging: last chunks and recipients, the signed header and the totals."""

    batch_id: BatchId
    chunks: Sequence[Chunk]
    recipients: Sequence[IndexedLine]
    header: bytes = field(repr=False)
    digest: bytes
    n_messages: int
    n_removed: int
    n_segments: int


def stage(tx: Tx, new: Slice, spacing: Spacing | None = None) -> Sequence[RemovedLine]:
    """Store a slice; returns the lines taken out here.

    Those are of numbers that opted out, of our own cards (they would answer each other), of
    strangers where the department's customers alone may get it, and of such as have no room
    within the window.
    """
    whys = (
        *_too_frequent(tx, new, spacing),
        *_no_customers(tx, new, spacing),
        *_not_written_to(tx, new, spacing),  # the last one counts
    )
    out = list({one.line_no: one for one in whys}.values())
    gone = {one.line_no for one in out}
    kept = [line for line in new.lines if line.line_no not in gone]
    if kept:
        _add_messages(tx.conn, new.batch_id, kept)
    removed = [
        {
            "batch_id": new.batch_id,
            "line_no": one.line_no,
            "masked": one.masked,
            "reason": one.reason,
            "policy": one.policy,
        }
        for one in (*new.removed, *out)
    ]
    if removed:
        tx.conn.execute(insert(batch_removed), removed)
    _add_chunks(tx.conn, new.batch_id, new.chunks)
    return out


def index_recipients(tx: Tx, batch_id: BatchId, lines: Sequence[IndexedLine]) -> None:
    """Let lines be found by their recipient; quick where they come in order, once for each list.

    The database refuses the same recipient twice in a batch.
    """
    names = ("recipient_bidx", "batch_id", "line_no")
    rows = [(bidx, batch_id, line_no) for bidx, line_no in lines]
    insert_rows(tx.conn, recipient, names, rows)


def freeze(tx: Tx, end: Frozen) -> bool:
    """Make the list final: DRAFT becomes CHECKED; False if the batch is no draft any more."""
    changed = tx.conn.execute(
        update(batch)
        .where(batch.c.batch_id == end.batch_id, batch.c.state == BatchState.DRAFT)
        .values(
            **state_values(tx, end.batch_id, BatchState.CHECKED),
            header=end.header,
            digest=end.digest,
            n_lines=end.n_messages,
            n_removed=end.n_removed,
            n_segments=end.n_segments,
        )
    )
    if not changed.rowcount:
        return False
    _add_chunks(tx.conn, end.batch_id, end.chunks)
    index_recipients(tx, end.batch_id, end.recipients)
    tx.event(EventKind.BATCH, end.batch_id, {"state": BatchState.CHECKED, "reason": ""})
    return True


def copy_list(tx: Tx, source: BatchId, to: BatchId) -> None:
    """Give a batch the list of another, whose salt it shares: lines, chunks, recipients."""
    rows = tx.conn.execute(
        select(message).where(message.c.batch_id == source).order_by(message.c.line_no)
    ).all()
    lines = [
        StagedLine(
            line_no=row.line_no,
            to="",
            recipient_bidx=row.recipient_bidx,
            line_enc=seal_line(
                tx.vault, to, row.line_no, open_line(tx.vault, source, row.line_no, row.line_enc)
            ),
            n_segments=row.n_segments,
        )
        for row in rows
    ]
    _add_messages(tx.conn, to, lines)
    chunks = tx.conn.execute(select(batch_chunk).where(batch_chunk.c.batch_id == source))
    _add_chunks(tx.conn, to, [Chunk(chunk_no=row.chunk_no, leaves=row.leaves) for row in chunks])
    index_recipients(tx, to, sorted((one.recipient_bidx, one.line_no) for one in lines))


def removed_lines(
    conn: Connection, batch_id: str, *, after: int, limit: int
) -> Sequence[RemovedLine]:
    """Lines that were removed, in order, behind line `after`."""
    rows = conn.execute(
        select(batch_removed)
        .where(batch_removed.c.batch_id == batch_id, batch_removed.c.line_no > after)
        .order_by(batch_removed.c.line_no)
        .limit(limit)
    )
    return [
        RemovedLine(
            line_no=row.line_no, masked=row.masked, reason=row.reason, policy=row.policy or ""
        )
        for row in rows
    ]


def is_draft(conn: Connection, batch_id: BatchId, salt_nonce: bytes) -> bool:
    """Whether the draft stands that was begun with this nonce: no other node began it anew."""
    row = conn.execute(
        select(batch.c.state, batch.c.salt_nonce).where(batch.c.batch_id == batch_id)
    ).first()
    return row is not None and row.state == BatchState.DRAFT and row.salt_nonce == salt_nonce


def discard(tx: Tx, batch_id: BatchId, *, limit: int, salt_nonce: bytes | None = None) -> bool:
    """Take back up to `limit` lines of a draft, at last the draft itself; True when it is gone.

    A batch that was frozen stays as it is: it is no draft any more. So does a draft that was begun
    with another `salt_nonce`, where one is given.
    """
    row = tx.conn.execute(
        select(batch.c.state, batch.c.salt_nonce).where(batch.c.batch_id == batch_id)
    ).first()
    if row is None or row.state != BatchState.DRAFT:
        return True
    if salt_nonce is not None and row.salt_nonce not in {salt_nonce, _GOING}:
        return True
    if row.salt_nonce != _GOING:  # nobody may freeze what is left of it
        tx.conn.execute(update(batch).where(batch.c.batch_id == batch_id).values(salt_nonce=_GOING))
    rows = tx.conn.execute(
        select(message.c.message_id, message.c.recipient_bidx)
        .where(message.c.batch_id == batch_id)
        .limit(limit)
    ).all()
    if rows:
        ids, indexes = [row.message_id for row in rows], [row.recipient_bidx for row in rows]
        tx.conn.execute(delete(segment).where(segment.c.message_id.in_(ids)))
        tx.conn.execute(
            delete(recipient).where(
                recipient.c.recipient_bidx.in_(indexes), recipient.c.batch_id == batch_id
            )
        )
        tx.conn.execute(delete(message).where(message.c.message_id.in_(ids)))
        return False
    tx.conn.execute(delete(batch_removed).where(batch_removed.c.batch_id == batch_id))
    tx.conn.execute(delete(batch_chunk).where(batch_chunk.c.batch_id == batch_id))
    tx.conn.execute(delete(text_use).where(text_use.c.batch_id == batch_id))
    tx.conn.execute(delete(batch).where(batch.c.batch_id == batch_id))
    return True


# ---------------------------------------------------------------- inside


def _not_written_to(tx: Tx, new: Slice, spacing: Spacing | None) -> Sequence[RemovedLine]:
    indexes = [line.recipient_bidx for line in new.lines]
    out = among(tx.conn, opt_out.c.number_bidx, indexes)
    own = among(tx.conn, sim.c.number_bidx, indexes)
    tests = frozenset[str]() if spacing is None else spacing.test_numbers
    if spacing is not None and spacing.cards_of is not None:
        return _no_cards_of(tx, new, spacing.cards_of, out)
    found = [
        (line, Rejection.OPTED_OUT if line.recipient_bidx in out else Rejection.OWN_CARD)
        for line in new.lines
        if line.recipient_bidx in out or (line.recipient_bidx in own and line.to not in tests)
    ]
    return [
        RemovedLine(
            line_no=line.line_no, masked=mask_number(line.to), reason=why, policy=why.policy
        )
        for line, why in found
    ]


def _no_cards_of(
    tx: Tx, new: Slice, department: str, out: Collection[bytes]
) -> Sequence[RemovedLine]:
    """Lines to others than the department's own active cards (SMS-09)."""
    chosen = select(sim.c.number_bidx).where(
        sim.c.department == department, sim.c.state == CardState.ISSUED
    )
    cards, why = set(tx.conn.scalars(chosen)), Rejection.NOT_OWN_CARD
    return [
        RemovedLine(line_no=one.line_no, masked=mask_number(one.to), reason=why, policy=why.policy)
        for one in new.lines
        if one.recipient_bidx not in cards or one.recipient_bidx in out
    ]


def _no_customers(tx: Tx, new: Slice, spacing: Spacing | None) -> Sequence[RemovedLine]:
    """Lines to others than the department's customers, where it keeps a register (SMS-02)."""
    if spacing is None or spacing.customers_of is None:
        return ()
    indexes = [line.recipient_bidx for line in new.lines]
    out, why = strangers(tx.conn, tx.vault, spacing.customers_of, indexes), Rejection.NOT_CUSTOMER
    return [
        RemovedLine(line_no=one.line_no, masked=mask_number(one.to), reason=why, policy=why.policy)
        for one in new.lines
        if one.recipient_bidx in out
    ]


def _too_frequent(tx: Tx, new: Slice, spacing: Spacing | None) -> Sequence[RemovedLine]:
    """Lines whose number got so much already that it gets nothing before the window ends."""
    if spacing is None or ScopeKind.RECIPIENT not in spacing.rules.by_kind:
        return ()
    book, why = Book(tx, spacing.rules), Rejection.TOO_FREQUENT
    scopes = {
        line.line_no: [spacing.rules.scope(ScopeKind.RECIPIENT, line.recipient_bidx.hex())]
        for line in new.lines
    }
    known = {line_no: [one for one in some if one] for line_no, some in scopes.items()}
    book.read(one for some in known.values() for one in some)
    out: list[RemovedLine] = []
    for line in new.lines:
        load = message_load(line.n_segments, is_first=True, recipient=line.recipient_bidx)
        own = known[line.line_no]
        if book.lacks(own, load) is None or book.fits_at(own, load) < spacing.until:
            continue
        masked = mask_number(line.to)
        out.append(RemovedLine(line_no=line.line_no, masked=masked, reason=why, policy=why.policy))
    return out


def _add_messages(conn: Connection, batch_id: str, lines: Sequence[StagedLine]) -> None:
    names = ("batch_id", "line_no", "recipient_bidx", "line_enc", "n_segments")
    rows = [
        (batch_id, one.line_no, one.recipient_bidx, one.line_enc, one.n_segments) for one in lines
    ]
    insert_rows(conn, message, names, rows)
    first, last = lines[0].line_no, lines[-1].line_no
    longest = max(line.n_segments for line in lines)
    seqs = union_all(*(select(literal(seq).label("seq")) for seq in range(1, longest + 1)))
    places = seqs.subquery()
    of_these = (
        select(
            message.c.message_id,
            message.c.batch_id,
            places.c.seq,
            literal(SegmentState.QUEUED.value),
        )
        .join(places, places.c.seq <= message.c.n_segments)
        .where(message.c.batch_id == batch_id, message.c.line_no.between(first, last))
        # as the list has them: `audit verify` sees by that who exchanged two (segment_replay)
        .order_by(message.c.line_no, places.c.seq)
    )
    conn.execute(insert(segment).from_select(["message_id", "batch_id", "seq", "state"], of_these))


def _add_chunks(conn: Connection, batch_id: str, chunks: Sequence[Chunk]) -> None:
    if chunks:
        conn.execute(
            insert(batch_chunk),
            [
                {"batch_id": batch_id, "chunk_no": one.chunk_no, "leaves": one.leaves}
                for one in chunks
            ],
        )
