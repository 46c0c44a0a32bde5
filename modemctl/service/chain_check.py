"""Verifying all nodes' chains and all that they vouch for, in pages that hold nobody up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from modemctl.audit import Head
from modemctl.service.chain_walk import ChainWalk, Spans
from modemctl.store import Connection, audit_keys, count_seal, segment_replay
from modemctl.store import audits as rows
from modemctl.store.engine import UNREADABLE, readable_cells
from modemctl.store.replay import replay
from modemctl.store.seals import SealCheck, named
from modemctl.store.segment_replay import SegmentReplay
from modemctl.vault import Vault

__all__ = ["ChainCheck", "ChainReport", "CheckProgress", "Stage"]

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
    """Verifies the chains page by page, so that no reader is held for long.

    First the entries, of each node by its key; then the segments under them, then the seals of what
    authorises, at last, in one snapshot, whether those rows are the ones that the logs left.
    """

    def __init__(
        self,
        node_id: str,
        *,
        key: bytes,
        expected: Head | None,
        vault: Vault,
        heads: Mapping[str, Head] | None = None,
    ) -> None:
        """This node's public `key` and noted head; other nodes' `heads`. Their keys are read."""
        self._vault = vault
        self._key = key
        self._heads = heads or {}
        self._own = ChainWalk(node_id, key=key, expected=expected)
        self._walks = [self._own]
        self._at = 0  # which of them is gone through
        self._faults: list[str] = []  # beside those of the chains themselves
        self._seal_faults: list[str] = []
        self._segments = SegmentReplay()
        self._seals = SealCheck(vault)
        self._stage: Callable[[Connection], bool] = self._read_entries
        self._extent: tuple[int, int] | None = None  # last entries and segment, when it began
        self._is_last = False

    def step(self, conn: Connection) -> bool:
        """Check the next page; False after the last."""
        if self._extent is None:
            self._find_others(conn)
            n_entries = sum(rows.last_entry(conn, walk.node_id) for walk in self._walks)
            self._extent = n_entries, _last_segment(conn)
        self._is_last = self._stage == self._finish
        return self._stage(conn)

    def progress(self) -> CheckProgress:
        """How far it is."""
        n_entries, n_segments = self._extent or (0, 0)
        if self._is_last:
            return CheckProgress(stage=Stage.ROWS, done=1, of=1)
        if self._stage == self._read_entries:
            done = sum(walk.n_entries for walk in self._walks)
            return CheckProgress(stage=Stage.ENTRIES, done=done, of=n_entries)
        if self._stage == self._read_segments:
            return CheckProgress(stage=Stage.SEGMENTS, done=self._segments.at, of=n_segments)
        if self._stage == self._read_seals:
            return CheckProgress(stage=Stage.SEALS, done=self._seals.done, of=self._seals.of)
        return CheckProgress(stage=Stage.ROWS, done=0, of=1)

    def report(self) -> ChainReport:
        """What was found of this node's chain, and of all that is of no single one."""
        return _report(self._own, [*self._own.faults, *self._faults])

    def reports(self) -> Sequence[ChainReport]:
        """`report`, and what was found of the other nodes' chains."""
        others = [_report(walk, walk.faults) for walk in self._walks[1:]]
        return [self.report(), *others]

    def _find_others(self, conn: Connection) -> None:
        """Chains that nobody has looked for yet: of entries, of a key, or of a head noted."""
        keys = audit_keys.known_keys(conn, self._vault)
        found = {walk.node_id for walk in self._walks}
        for node_id in sorted({*rows.list_nodes(conn), *keys, *self._heads} - found):
            walk = ChainWalk(node_id, key=keys.get(node_id), expected=self._heads.get(node_id))
            self._walks.append(walk)

    def _read_entries(self, conn: Connection) -> bool:
        walk = self._walks[self._at]
        if walk.step(conn) and len(walk.faults) < _MAX_FAULTS:
            return True
        if not self._own.is_readable:
            return False
        if self._at + 1 < len(self._walks):
            self._at += 1
        else:
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
        self._find_others(conn)
        for walk in self._walks:
            while len(walk.faults) < _MAX_FAULTS and walk.step(conn):
                pass
            walk.close(conn)
            if walk is not self._own and walk.is_known and not walk.n_entries:
                walk.faults.append("it has started here, and has no entries: its chain is gone")
        self._faults.extend(self._rows(conn))
        return False

    def _rows(self, conn: Connection) -> Iterator[str]:
        """The rows under the chains; of a broken one nothing follows but that seals are broken."""
        known = [walk for walk in self._walks if walk.is_known]
        is_whole = not self._faults and not any(walk.faults for walk in known)
        yield from self._seal_faults
        if audit_keys.known_keys(conn, self._vault).get(self._own.node_id, self._key) != self._key:
            yield "this server's audit key is another than the one this node started with"
        if not is_whole:
            return
        yield from self._unvouched(conn, known)
        yield from named("quota", count_seal.check(conn, self._vault, self._own.node_id))
        yield from replay(conn)

    def _unvouched(self, conn: Connection, known: Sequence[ChainWalk]) -> Iterator[str]:
        """Rows of the segment journal that no entry, or more than one, speaks of."""
        turn = Spans.common(walk.turns for walk in known)
        if turn is not None:
            yield f"quota: turn {turn} of the counts is told by two nodes: their seal was put back"
        if not any(walk.is_shared for walk in known):
            n_more = rows.count_moved(conn, after=max(walk.moved.last for walk in known))
            if n_more:
                yield f"segment journal: no entry vouches for its last {n_more} rows"
            return
        twice = Spans.common(walk.moved for walk in known)
        if twice is not None:
            yield f"segment journal: two nodes vouch for row {twice}"
        strangers = [walk.node_id for walk in self._walks if not walk.is_known]
        try:
            n_told = sum(walk.n_moved for walk in known) + rows.n_moved_of(conn, strangers)
        except UNREADABLE:
            yield "an entry of another node does not say what it has to"
            return
        n_rows = rows.count_moved(conn, after=0)
        if n_rows != n_told:
            yield f"segment journal: it has {n_rows} rows, the nodes' entries speak of {n_told}"


def _report(walk: ChainWalk, faults: Sequence[str]) -> ChainReport:
    return ChainReport(
        node_id=walk.node_id,
        n_entries=walk.n_entries,
        n_transitions=walk.n_moved,
        head=walk.head.hash.hex() if walk.is_known else "",
        faults=tuple(faults[:_MAX_FAULTS]),
    )


def _last_segment(conn: Connection) -> int:
    """0 where rows hold what modemctl never wrote: the replay names them."""
    try:
        with readable_cells():
            return segment_replay.last_id(conn)
    except UNREADABLE:
        return 0
