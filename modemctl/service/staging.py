"""A list on its way into a batch: its judged lines indexed, sealed and stored, slice by slice.

The CPU work of a slice runs in a thread, its transaction in the writer; the loop stays free.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Final, TypeVar

from modemctl.errors import Conflict
from modemctl.policy.digest import CHUNK_LINES, LEAF_OCTETS, Totals, chunk_hash
from modemctl.policy.numbers import Rejection
from modemctl.service.judging import Judged
from modemctl.service.recipients import SLICE_LINES
from modemctl.store import Store, Tx
from modemctl.store.batches import NewBatch
from modemctl.store.evidence import seal_line
from modemctl.store.staging import (
    Chunk,
    IndexedLine,
    RemovedLine,
    Slice,
    Spacing,
    StagedLine,
    index_recipients,
    is_draft,
    stage,
)

ResultT = TypeVar("ResultT")

_NO_FAULT: Final = (
    Rejection.OPTED_OUT,
    Rejection.OWN_CARD,
    Rejection.TOO_FREQUENT,
)  # the list is not to blame
_MAX_FORCING: Final = 50  # enough to show a person what costs segments
_BIDX_OCTETS: Final = 16
_LINE_NO_OCTETS: Final = 4
_CHUNK_OCTETS: Final = CHUNK_LINES * LEAF_OCTETS
_MOST_GATHERED: Final = 1 << 18  # 5 MB
_INDEX_LINES: Final = 1_000  # a transaction: they are small and come in order


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedList:
    """The whole list, stored; `chunks` and `recipients` are those not written yet.

    `hashes` are those of all chunks, in order, as the header holds them.
    """

    n_lines: int
    totals: Totals
    hashes: tuple[bytes, ...] = field(repr=False)
    chunks: Sequence[Chunk]
    recipients: Sequence[IndexedLine] = field(repr=False)
    first_removed: RemovedLine | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a list has come: source lines that are stored, and which share (0 … 1) that is."""

    n_lines: int
    share: float


class Staging:
    """Stages one list of the batch; `tell` hears of each slice."""

    def __init__(
        self,
        store: Store,
        draft: NewBatch,
        *,
        spacing: Spacing,
        tell: Callable[[Progress], None],
    ) -> None:
        self._store = store
        self._batch_id = draft.batch_id
        self._nonce = draft.salt_nonce
        self._spacing = spacing
        self._tell = tell
        self._chunks = _Chunks()
        self._recipients = _Recipients()
        self._removed_by: Counter[str] = Counter()
        self._forcing: dict[str, None] = {}
        self._first_removed: RemovedLine | None = None
        self._n_messages = self._n_segments = self._n_lines = 0

    async def run(self, parts: AsyncIterator[Judged]) -> StagedList:
        """Store all lines.

        Raises:
            PolicyRefused, InvalidRequest: what `parts` raises.
            Conflict: the draft is not ours any more.
        """
        async for part in parts:
            lines = await asyncio.to_thread(self._seal, part)
            new = Slice(
                batch_id=self._batch_id,
                lines=lines,
                removed=[_removed(one.line_no, one.masked, one.reason) for one in part.bad],
                chunks=self._chunks.take_full(),
            )
            taken_out = await self._write(partial(stage, new=new, spacing=self._spacing))
            self._count(part, new, taken_out)
            if self._recipients.is_full:
                await self._index(leaving=0)
        last = await self._index(leaving=SLICE_LINES)
        return StagedList(
            n_lines=self._n_lines,
            totals=Totals(
                n_messages=self._n_messages,
                n_segments=self._n_segments,
                n_removed=self._removed_by.total(),
                removed_by=dict(sorted(self._removed_by.items())),
                forcing=tuple(self._forcing)[:_MAX_FORCING],
            ),
            chunks=self._chunks.take_all(),
            recipients=last,
            hashes=tuple(self._chunks.hashes),
            first_removed=self._first_removed,
        )

    def _seal(self, part: Judged) -> Sequence[StagedLine]:
        vault = self._store.vault
        return [
            StagedLine(
                line_no=one.line_no,
                to=one.to,
                recipient_bidx=vault.blind_index(one.to),
                line_enc=seal_line(vault, self._batch_id, one.line_no, one.octets),
                n_segments=one.n_segments,
            )
            for one in part.good
        ]

    def _count(self, part: Judged, new: Slice, taken_out: Sequence[RemovedLine]) -> None:
        out = {one.line_no for one in taken_out}
        for line, one in zip(new.lines, part.good, strict=True):
            if line.line_no not in out:
                self._chunks.put(line.line_no, one.leaf)
                self._recipients.put(line.recipient_bidx, line.line_no)
                self._n_segments += line.n_segments
        self._n_messages += len(new.lines) - len(out)
        self._n_lines = part.last_line
        removed = [*new.removed, *taken_out]
        self._removed_by.update(one.reason for one in removed)
        if self._first_removed is None:
            faults = [one for one in removed if one.reason not in _NO_FAULT]
            self._first_removed = min(faults, key=lambda one: one.line_no, default=None)
        if len(self._forcing) < _MAX_FORCING:
            self._forcing |= dict.fromkeys(part.forcing)
        self._tell(Progress(n_lines=part.last_line, share=part.share))

    async def _index(self, *, leaving: int) -> Sequence[IndexedLine]:
        """Index the recipients gathered so far; at most `leaving` of them are given back."""
        lines = self._recipients.take_in_order()
        part = await asyncio.to_thread(_take, lines)
        while part:
            following = await asyncio.to_thread(_take, lines)
            if not following and len(part) <= leaving:
                return part
            index = partial(index_recipients, batch_id=self._batch_id, lines=part)
            await self._write(index)
            part = following
        return ()

    async def _write(self, act: Callable[[Tx], ResultT]) -> ResultT:
        """Write to our own draft alone: on another node the client may have begun it anew."""

        def guarded(tx: Tx) -> ResultT:
            if not is_draft(tx.conn, self._batch_id, self._nonce):
                raise Conflict("the batch was closed, or begun anew, while its list came in")
            return act(tx)

        return await self._store.write(guarded)


class _Recipients:
    """Recipients to be indexed, packed: 20 octets a line, sorted bucket by bucket.

    In their order they fill one page of the index after the other. At random, each would be a page
    of its own to be written: 1,000,000 lines took three times as long.
    """

    def __init__(self) -> None:
        self._buckets = [bytearray() for _ in range(256)]
        self._n = 0

    @property
    def is_full(self) -> bool:
        """Whether they should be indexed before more come: they are kept in memory."""
        return self._n >= _MOST_GATHERED

    def put(self, bidx: bytes, line_no: int) -> None:
        """Add one."""
        self._buckets[bidx[0]] += bidx + line_no.to_bytes(_LINE_NO_OCTETS, "big")
        self._n += 1

    def take_in_order(self) -> Iterator[IndexedLine]:
        """All of them in ascending order; then there are none."""
        buckets, self._buckets, self._n = self._buckets, [bytearray() for _ in range(256)], 0
        size = _BIDX_OCTETS + _LINE_NO_OCTETS
        for bucket in buckets:
            starts = range(0, len(bucket), size)
            for record in sorted(bytes(bucket[at : at + size]) for at in starts):
                yield record[:_BIDX_OCTETS], int.from_bytes(record[_BIDX_OCTETS:], "big")
            bucket.clear()


def _take(lines: Iterator[IndexedLine]) -> Sequence[IndexedLine]:
    return list(islice(lines, _INDEX_LINES))


class _Chunks:
    """Leaves in the order of lines; lines that are not part of the batch leave zeroes."""

    def __init__(self) -> None:
        self._open = bytearray(_CHUNK_OCTETS)
        self._end = 0
        self._full: list[Chunk] = []
        self.hashes: list[bytes] = []

    def put(self, line_no: int, octets: bytes) -> None:
        """Add a line's leaf; line numbers ascend."""
        chunk_no, place = divmod(line_no - 1, CHUNK_LINES)
        while len(self.hashes) < chunk_no:
            self._close()
        start = place * LEAF_OCTETS
        self._end = start + LEAF_OCTETS
        self._open[start : self._end] = octets

    def take_full(self) -> Sequence[Chunk]:
        """The chunks that are complete and were not taken yet."""
        full, self._full = self._full, []
        return full

    def take_all(self) -> Sequence[Chunk]:
        """What is left, the open one too."""
        if self._end:
            self._close()
        return self.take_full()

    def _close(self) -> None:
        leaves = bytes(self._open[: self._end])
        self._full.append(Chunk(chunk_no=len(self.hashes), leaves=leaves))
        self.hashes.append(chunk_hash(leaves))
        self._open, self._end = bytearray(_CHUNK_OCTETS), 0


def _removed(line_no: int, masked: str, why: Rejection) -> RemovedLine:
    return RemovedLine(line_no=line_no, masked=masked, reason=why, policy=why.policy)
