"""Verifying one node's chain and all that it vouches for, in pages that hold nobody up."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from modemctl.audit import Entry, Head, verify
from modemctl.store import Connection, count_seal, segment_replay
from modemctl.store import audits as rows
from modemctl.store.engine import UNREADABLE, readable_cells
from modemctl.store.moved import SINCE, vouches
from modemctl.store.replay import replay
from modemctl.store.seals import SealCheck, named
from modemctl.store.segment_replay import SegmentReplay
from modemctl.vault import Vault, public_key

__all__ = ["ChainCheck", "ChainReport", "CheckProgress", "Stage"]

_PAGE: Final = 500
_MAX_FAULTS: Final = 100  # a chain cut in the middle would name every entry behind


class Stage(StrEnum):
    """What is being verified."""

    ENTRIES = "entries"
    SEGMENTS = "segments"
    SEALS = "seals"
    ROWS = "rows"  # all else, in one snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckProgress:
    """How far a verification is: how many of these were looked at, of about how many."""

    stage: Stage
    done: int
    of: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainReport:
    """What verifying one node's chain found; whole where there are no faults."""

    node_id: str
    n_entries: int
    n_transitions: int
    head: str
    faults: tuple[str, ...]

    @property
    def is_whole(self) -> bool:
        """Whether nothing was edited, deleted or put in another order."""
        return not self.faults


class ChainCheck:
    """Verifies one chain page by page, so that no reader is held for long.

    First the entries, then the segments under them, then the seals of what authorises, at last, in
    one snapshot, whether those rows are the ones that the log left.
    """

    def __init__(self, node_id: str, *, key: bytes, expected: Head | None, vault: Vault) -> None:
        self._node_id = node_id
        self._key = public_key(key)
        self._vault = vault
        self._expected = expected
        self._seen_expected = expected is None or expected.seq == 0
        self._head = Head()
        self._n_entries = 0
        self._moved_to = 0  # the last row of the segment journal that an entry vouches for
        self._n_moved = 0
        self._is_shared = False  # entries say where their rows begin: other nodes' lie between
        self._faults: list[str] = []
        self._seal_faults: list[str] = []
        self._segments = SegmentReplay()
        self._seals = SealCheck(vault)
        self._stage: Callable[[Connection], bool] = self._read_entries
        self._extent: tuple[int, int] | None = None  # last entry and segment, when it began
        self._is_last = False

    def step(self, conn: Connection) -> bool:
        """Check the next page; False after the last."""
        if self._extent is None:
            self._extent = rows.last_entry(conn, self._node_id), _last_segment(conn)
        self._is_last = self._stage == self._finish
        return self._stage(conn)

    def progress(self) -> CheckProgress:
        """How far it is."""
        n_entries, n_segments = self._extent or (0, 0)
        if self._is_last:
            return CheckProgress(stage=Stage.ROWS, done=1, of=1)
        if self._stage == self._read_entries:
            return CheckProgress(stage=Stage.ENTRIES, done=self._n_entries, of=n_entries)
        if self._stage == self._read_segments:
            return CheckProgress(stage=Stage.SEGMENTS, done=self._segments.at, of=n_segments)
        if self._stage == self._read_seals:
            return CheckProgress(stage=Stage.SEALS, done=self._seals.done, of=self._seals.of)
        return CheckProgress(stage=Stage.ROWS, done=0, of=1)

    def report(self) -> ChainReport:
        """What was found."""
        return ChainReport(
            node_id=self._node_id,
            n_entries=self._n_entries,
            n_transitions=self._n_moved,
            head=self._head.hash.hex(),
            faults=tuple(self._faults[:_MAX_FAULTS]),
        )

    def _read_entries(self, conn: Connection) -> bool:
        page, is_readable = rows.read_page(
            conn, node_id=self._node_id, after=self._head.seq, limit=_PAGE
        )
        self._faults.extend(verify(page, self._key, after=self._head))
        for entry in page:
            self._head = Head(seq=entry.seq, hash=entry.hash)
            self._seen_expected |= self._head == self._expected
            if entry.draft.action == "segments.moved" and not self._faults:
                self._check_moved(conn, entry)
        self._n_entries += len(page)
        if not is_readable:
            self._faults.append(f"entry {self._head.seq + 1} cannot be read")
            return False
        if len(page) == _PAGE and len(self._faults) < _MAX_FAULTS:
            return True
        self._stage = self._read_segments
        return True

    def _read_segments(self, conn: Connection) -> bool:
        faults, has_more = self._segments.step(conn, self._vault)
        self._faults += faults
        if has_more and len(self._faults) < _MAX_FAULTS:
            return True
        self._stage = self._read_seals
        return True

    def _read_seals(self, conn: Connection) -> bool:
        faults, has_more = self._seals.step(conn)
        self._seal_faults += faults
        if has_more and len(self._seal_faults) < _MAX_FAULTS:
            return True
        self._stage = self._finish
        return True

    def _finish(self, conn: Connection) -> bool:
        """In one snapshot: entries that came meanwhile, and the rows as they stand beside them."""
        self._stage = self._read_entries
        while self._stage == self._read_entries and self._read_entries(conn):
            pass
        if not self._seen_expected and self._expected is not None:
            self._faults.append(
                f"entry {self._expected.seq}, noted as head, is missing or was changed: "
                "entries at the end were removed, or the database is an older copy"
            )
        self._faults.extend(self._rows(conn))
        return False

    def _rows(self, conn: Connection) -> Iterator[str]:
        """The rows under the chain; of a broken one nothing follows but that seals are broken."""
        is_whole = not self._faults
        yield from self._seal_faults
        if not is_whole:
            return
        yield from self._unvouched(conn)
        yield from named("quota", count_seal.check(conn, self._vault, self._node_id))
        yield from replay(conn)

    def _unvouched(self, conn: Connection) -> Iterator[str]:
        """Rows of the segment journal that no entry speaks of; other nodes' are those nodes'."""
        if not self._is_shared:
            n_more = rows.count_moved(conn, after=self._moved_to)
            if n_more:
                yield f"segment journal: no entry vouches for its last {n_more} rows"
            return
        try:
            n_told = self._n_moved + rows.n_moved_elsewhere(conn, self._node_id)
        except UNREADABLE:
            yield "an entry of another node does not say what it has to"
            return
        n_rows = rows.count_moved(conn, after=0)
        if n_rows != n_told:
            yield f"segment journal: it has {n_rows} rows, the nodes' entries speak of {n_told}"

    def _check_moved(self, conn: Connection, entry: Entry) -> None:
        """The digest of a group commit against the journal rows that it wrote."""
        try:
            details = json.loads(entry.draft.details)
            since = int(details.get(SINCE, self._moved_to))
            self._is_shared |= SINCE in details
            found, last = rows.read_moved(conn, after=since, limit=int(details["n"]))
            is_ours = since >= self._moved_to and vouches(details, found)
        except UNREADABLE:
            self._faults.append(f"entry {entry.seq} does not say what it has to")
            return
        self._n_moved += len(found)
        self._moved_to = last
        if not is_ours:
            self._faults.append(f"segment journal: what entry {entry.seq} vouches for was changed")


def _last_segment(conn: Connection) -> int:
    """0 where rows hold what modemctl never wrote: the replay names them."""
    try:
        with readable_cells():
            return segment_replay.last_id(conn)
    except UNREADABLE:
        return 0
