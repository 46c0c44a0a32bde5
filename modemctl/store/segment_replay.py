"""Segments held against their journal and their lists: none was set back, exchanged or planted."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from sqlalchemy import Connection, RowMapping, and_, bindparam, func, select

from modemctl.errors import TamperedError
from modemctl.lifecycle import BatchState, SegmentState
from modemctl.policy.approvals import LineEvidence
from modemctl.policy.digest import (
    BatchHeader,
    chunk_hash,
    chunk_of,
    decode_header,
    leaf,
    leaf_in_chunk,
    read_line,
)
from modemctl.store.engine import UNREADABLE, readable_cells
from modemctl.store.evidence import ERASED_LINE, read_lines
from modemctl.store.tables import (
    audit_entry,
    batch,
    message,
    recipient,
    segment,
    segment_journal,
)
from modemctl.vault import Vault

_PAGE: Final = 2_000  # short enough for others to use the database in between


_NO_END: Final = 2**63


@dataclass(slots=True, kw_only=True)
class _List:
    """What was seen of a batch's list so far: its last place, how many segments."""

    last: tuple[int, int, int] = (0, 0, 0)  # line, place in the message, message
    is_open: bool = False  # that message has more segments
    n: int = 0


@dataclass(slots=True)
class SegmentReplay:
    """Goes through all segments, page by page; `n` have been looked at, up to number `at`."""

    n: int = 0
    at: int = 0
    _lists: dict[str, _List] = field(default_factory=dict)
    _frozen: dict[str, bytes] | None = None
    _purged: Purged | None = None

    def step(self, conn: Connection, vault: Vault) -> tuple[list[str], bool]:
        """The faults of the next page, a line each; and whether there are more pages."""
        try:
            with readable_cells():
                return self._step(conn, vault)
        except UNREADABLE:
            return [f"segments behind {self.at}: a row holds what modemctl never wrote"], False

    def _step(self, conn: Connection, vault: Vault) -> tuple[list[str], bool]:
        if self._frozen is None or self._purged is None:
            self._frozen = {row.batch_id: row.header for row in conn.execute(_FROZEN)}
            self._purged = read_purged(conn)
        rows = conn.execute(_SEGMENTS, {"after": self.at, "n": _PAGE}).mappings().all()
        is_last = len(rows) < _PAGE
        last = last_id(conn) if is_last else rows[-1]["segment_id"]
        told = {
            row.segment_id: row.after
            for row in conn.execute(_TOLD, {"after": self.at, "last": last})
        }
        held = {row["segment_id"] for row in rows}
        if is_last or any(one not in held and one not in self._purged for one in told):
            self._purged = read_purged(conn)  # a purge may be under way
        faults = [*self._faults(rows, told), *self._line_faults(conn, vault, rows)]
        self.at = max(last, self.at)
        self.n += len(rows)
        if is_last:
            faults += self._short_lists()
        return faults, not is_last

    def _faults(self, rows: Sequence[RowMapping], told: dict[int, str]) -> Iterator[str]:
        assert self._purged is not None, "read with the first page"
        for row in rows:
            segment_id, state = row["segment_id"], row["state"]
            after = told.pop(segment_id, SegmentState.QUEUED.value)
            if segment_id in self._purged:
                yield f"segment {segment_id}: it was purged, and is there again"
            if after != state:
                yield f"segment {segment_id}: it is {state}, the journal says {after}"
            seen = self._lists.setdefault(row["batch_id"], _List())
            seen.n += 1
            if row["of_batch"] != row["batch_id"] or not _follows(row, seen):
                yield f"segment {segment_id}: it is not where its list had it"
            if row["line_no"] is not None:
                seen.last = (row["line_no"], row["seq"], row["message_id"])
                seen.is_open = row["seq"] != row["n_segments"]
        for segment_id, after in sorted(told.items()):
            if segment_id in self._purged:
                continue
            yield f"segment {segment_id}: the row is missing, the journal says {after}"

    def _line_faults(
        self, conn: Connection, vault: Vault, rows: Sequence[RowMapping]
    ) -> Iterator[str]:
        """Lines that are not those of the approved list, or found under another's number."""
        firsts = {row["message_id"]: row for row in rows if row["seq"] == 1}
        for message_id, line in read_lines(conn, vault, firsts.keys()).items():
            row = firsts[message_id]
            header = self._header(row["batch_id"])
            if header is None or row["salt_nonce"] is None:
                continue  # a draft, or a list that was erased
            try:
                is_ours = _is_listed(vault, row, line, header)
            except UNREADABLE:
                is_ours = False
            if not is_ours:
                yield f"message {message_id}: line {row['line_no']} is not as it was approved"

    def _header(self, batch_id: str) -> BatchHeader | None:
        assert self._frozen is not None, "read with the first page"
        try:
            return decode_header(self._frozen[batch_id])
        except UNREADABLE:
            return None  # `_short_lists` names it

    def _short_lists(self) -> Iterator[str]:
        """Frozen lists that are longer or shorter than what was approved."""
        assert self._frozen is not None, "read with the first page"
        assert self._purged is not None
        for batch_id, header in sorted(self._frozen.items()):
            try:
                wanted = decode_header(header).totals.n_segments
            except UNREADABLE:
                yield f"batch {batch_id}: its header cannot be read"
                continue
            seen = self._lists.get(batch_id, _List())
            n = seen.n + self._purged.n_of.get(batch_id, 0)
            if n != wanted or seen.is_open:
                yield f"batch {batch_id}: {n} segments, its header says {wanted}"


@dataclass(slots=True, kw_only=True)
class Purged:
    """Which segments were purged, as the audit log tells, and how many of each batch."""

    spans: list[tuple[int, int]]
    n_of: dict[str, int]

    def __contains__(self, segment_id: int) -> bool:
        """Whether this segment was purged."""
        at = bisect_right(self.spans, (segment_id, _NO_END)) - 1
        return at >= 0 and self.spans[at][0] <= segment_id <= self.spans[at][1]


def read_purged(conn: Connection) -> Purged:
    """What the audit log says was purged."""
    purged = Purged(spans=[], n_of={})
    for row in conn.execute(_PURGED):
        spans = [(int(first), int(last)) for first, last in json.loads(row.details)["segments"]]
        purged.spans += spans
        n = sum(last - first + 1 for first, last in spans)
        purged.n_of[row.subject] = purged.n_of.get(row.subject, 0) + n
    purged.spans.sort()
    return purged


def _follows(row: RowMapping, seen: _List) -> bool:
    """Segments are made in the order of their list: who exchanged two has changed it."""
    if row["line_no"] is None:
        return False
    line, seq, message_id = seen.last
    if seen.is_open:
        is_next = row["line_no"] == line and row["message_id"] == message_id
        return bool(is_next and row["seq"] == seq + 1)
    return bool(row["line_no"] > line and row["message_id"] > message_id and row["seq"] == 1)


def _is_listed(
    vault: Vault, row: RowMapping, found: LineEvidence | TamperedError, header: BatchHeader
) -> bool:
    """Whether a line is the one that the signed header stands for."""
    if isinstance(found, TamperedError):
        return False
    if found.line == ERASED_LINE:  # sealed for its place: nobody else can put it there
        return bool(row["indexed_at"] == found.line_no)
    line_no, leaves = found.line_no, found.chunk_leaves
    index = vault.blind_index(read_line(found.line).to)
    own = leaf(found.line, salt=found.salt, line_no=line_no)
    return (
        header.chunks[chunk_of(line_no)] == _chunk_hash(leaves)
        and leaf_in_chunk(leaves, line_no) == own
        and row["recipient_bidx"] == index
        and row["indexed_at"] == line_no
    )


@lru_cache(maxsize=8)
def _chunk_hash(leaves: bytes) -> bytes:
    return chunk_hash(leaves)


def last_id(conn: Connection) -> int:
    """The last segment that table or journal know."""
    known = (
        conn.scalar(select(func.max(segment.c.segment_id))),
        conn.scalar(select(func.max(segment_journal.c.segment_id))),
    )
    return max(one or 0 for one in known)


_PURGED: Final = select(audit_entry.c.subject, audit_entry.c.details).where(
    audit_entry.c.action == "purge.segments"
)
_FROZEN: Final = select(batch.c.batch_id, batch.c.header).where(
    batch.c.header.is_not(None), batch.c.state != BatchState.DRAFT
)
_SEGMENTS: Final = (
    select(
        segment.c.segment_id,
        segment.c.state,
        segment.c.batch_id,
        segment.c.message_id,
        segment.c.seq,
        message.c.batch_id.label("of_batch"),
        message.c.line_no,
        message.c.recipient_bidx,
        message.c.n_segments,
        batch.c.salt_nonce,
        recipient.c.line_no.label("indexed_at"),
    )
    .outerjoin(message, message.c.message_id == segment.c.message_id)
    .outerjoin(batch, batch.c.batch_id == segment.c.batch_id)
    .outerjoin(
        recipient,
        and_(
            recipient.c.recipient_bidx == message.c.recipient_bidx,
            recipient.c.batch_id == message.c.batch_id,
        ),
    )
    .where(segment.c.segment_id > bindparam("after"))
    .order_by(segment.c.segment_id)
    .limit(bindparam("n"))
)
_TOLD: Final = select(segment_journal.c.segment_id, segment_journal.c.after).where(
    segment_journal.c.entry_id.in_(
        select(func.max(segment_journal.c.entry_id))
        .where(
            segment_journal.c.segment_id > bindparam("after"),
            segment_journal.c.segment_id <= bindparam("last"),
        )
        .group_by(segment_journal.c.segment_id)
    )
)
