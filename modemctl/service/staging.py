"""A list on its way into a batch: each line read, judged, hashed and sealed, slice by slice.

The CPU work of a slice runs in a thread, its transaction in the writer; the loop stays free.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from modemctl.model import BatchId, mask_number, mask_text
from modemctl.policy.content import ContentRules, render, variables_of
from modemctl.policy.digest import (
    CHUNK_LINES,
    LEAF_OCTETS,
    Line,
    Totals,
    chunk_hash,
    chunk_of,
    leaf,
    line_jcs,
)
from modemctl.policy.numbers import NumberRules, Rejection, normalise
from modemctl.service.recipients import Recipient
from modemctl.sms.alphabet import Unencodable
from modemctl.sms.segments import SegmentPlan, plan
from modemctl.store import Store
from modemctl.store.evidence import seal_line
from modemctl.store.staging import Chunk, RemovedLine, Slice, StagedLine, stage
from modemctl.vault import Vault

_MAX_FORCING: Final = 50  # enough to show a person what costs segments


@dataclass(frozen=True, slots=True, kw_only=True)
class ListJob:
    """All that a line is judged by."""

    batch_id: BatchId
    category: str
    template: str = field(repr=False)
    salt: bytes = field(repr=False)
    numbers: NumberRules
    content: ContentRules
    smallest_cap: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedList:
    """The whole list, stored; `chunks` are those that no slice has written yet.

    `hashes` are those of all chunks, in order, as the header holds them.
    """

    n_lines: int
    totals: Totals
    hashes: tuple[bytes, ...] = field(repr=False)
    chunks: Sequence[Chunk]
    first_removed: RemovedLine | None


@dataclass(slots=True, kw_only=True)
class _Prepared:
    lines: list[StagedLine] = field(default_factory=list)
    removed: list[RemovedLine] = field(default_factory=list)
    leaves: dict[int, bytes] = field(default_factory=dict)
    forcing: dict[str, None] = field(default_factory=dict)  # a set that keeps its order


class Staging:
    """Stages one list."""

    def __init__(self, store: Store, job: ListJob) -> None:
        self._store = store
        self._job = job
        self._judge = _Judge(job, store.vault)
        self._chunks = _Chunks()
        self._removed_by: Counter[str] = Counter()
        self._forcing: dict[str, None] = {}
        self._first_removed: RemovedLine | None = None
        self._n_messages = self._n_segments = self._n_lines = 0

    async def run(self, slices: AsyncIterator[Sequence[Recipient]]) -> StagedList:
        """Store all lines.

        Raises:
            PolicyRefused: SMS-08, SMS-12, SMS-02: what a line's variables make of the text.
            InvalidRequest: the list itself is wrong.
        """
        async for part in slices:
            prepared = await asyncio.to_thread(self._judge.prepare, part)
            new = Slice(
                batch_id=self._job.batch_id,
                lines=prepared.lines,
                removed=prepared.removed,
                chunks=self._chunks.take_full(),
            )
            taken_out = await self._store.write(partial(stage, new=new))
            self._count(part, prepared, taken_out)
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
            hashes=tuple(self._chunks.hashes),
            first_removed=self._first_removed,
        )

    def _count(
        self, part: Sequence[Recipient], prepared: _Prepared, taken_out: Sequence[RemovedLine]
    ) -> None:
        out = {one.line_no for one in taken_out}
        kept = [line for line in prepared.lines if line.line_no not in out]
        for line in kept:
            self._chunks.put(line.line_no, prepared.leaves[line.line_no])
        self._n_messages += len(kept)
        self._n_segments += sum(line.n_segments for line in kept)
        self._n_lines = part[-1].line_no
        removed = [*prepared.removed, *taken_out]
        self._removed_by.update(one.reason for one in removed)
        if self._first_removed is None:
            faults = [one for one in removed if one.reason != Rejection.OPTED_OUT]
            self._first_removed = min(faults, key=lambda one: one.line_no, default=None)
        if len(self._forcing) < _MAX_FORCING:
            self._forcing |= prepared.forcing


class _Judge:
    """Judges lines; holds what is the same for all of them. No database, no loop."""

    def __init__(self, job: ListJob, vault: Vault) -> None:
        self._job = job
        self._vault = vault
        self._needed = sorted(variables_of(job.template))
        self._plan = None if self._needed else _plan(job.template)

    def prepare(self, lines: Sequence[Recipient]) -> _Prepared:
        """Judge, hash and seal a slice.

        Raises:
            PolicyRefused: a line's text may not be sent.
        """
        prepared = _Prepared()
        for line in lines:
            self._prepare(line, prepared)
        return prepared

    def _prepare(self, source: Recipient, prepared: _Prepared) -> None:
        to = normalise(source.to, self._job.numbers)
        if isinstance(to, Rejection):
            prepared.removed.append(_removed(source, to))
            return
        variables = {name: source.variables.get(name, "") for name in self._needed}
        if not all(variables.values()):
            prepared.removed.append(_removed(source, Rejection.MISSING_VARIABLE))
            return
        found = self._plan_for(variables)
        if found is None or found.n_segments > self._job.smallest_cap:
            why = Rejection.BAD_TEXT if found is None else Rejection.TOO_LONG
            prepared.removed.append(_removed(source, why))
            return
        batch_id, line_no = self._job.batch_id, source.line_no
        octets = line_jcs(Line(line_no=line_no, to=to, variables=variables))
        prepared.leaves[line_no] = leaf(octets, salt=self._job.salt, line_no=line_no)
        prepared.forcing |= dict.fromkeys(found.forcing)
        prepared.lines.append(
            StagedLine(
                line_no=line_no,
                masked=mask_number(to),
                recipient_bidx=self._vault.blind_index(to),
                line_enc=seal_line(self._vault, batch_id, line_no, octets),
                n_segments=found.n_segments,
            )
        )

    def _plan_for(self, variables: dict[str, str]) -> SegmentPlan | None:
        if not self._needed:
            return self._plan
        text = render(self._job.template, variables)
        self._job.content.check(text, category=self._job.category)
        return _plan(text)


class _Chunks:
    """Leaves in the order of lines; lines that are not part of the batch leave zeroes."""

    def __init__(self) -> None:
        self._open = bytearray()
        self._full: list[Chunk] = []
        self.hashes: list[bytes] = []

    def put(self, line_no: int, octets: bytes) -> None:
        """Add a line's leaf; line numbers ascend."""
        while len(self.hashes) < chunk_of(line_no):
            self._close()
        place = (line_no - 1) % CHUNK_LINES * LEAF_OCTETS
        self._open.extend(bytes(place - len(self._open)))
        self._open += octets

    def take_full(self) -> Sequence[Chunk]:
        """The chunks that are complete and were not taken yet."""
        full, self._full = self._full, []
        return full

    def take_all(self) -> Sequence[Chunk]:
        """What is left, the open one too."""
        if self._open:
            self._close()
        return self.take_full()

    def _close(self) -> None:
        leaves = bytes(self._open)
        self._full.append(Chunk(chunk_no=len(self.hashes), leaves=leaves))
        self.hashes.append(chunk_hash(leaves))
        self._open = bytearray()


def _plan(text: str) -> SegmentPlan | None:
    try:
        return plan(text)
    except Unencodable:
        return None


def _removed(source: Recipient, why: Rejection) -> RemovedLine:
    return RemovedLine(
        line_no=source.line_no,
        masked=mask_text(source.to.strip()[:32]),
        reason=why,
        policy=why.policy,
    )
