"""One node's chain, entry by entry, and the rows of the segments' journal that it vouches for."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Iterator
from heapq import merge
from typing import Final

from modemctl.audit import Entry, Head, verify
from modemctl.store import Connection
from modemctl.store import audits as rows
from modemctl.store.count_seal import TURN
from modemctl.store.engine import UNREADABLE
from modemctl.store.moved import SINCE, vouches
from modemctl.vault import public_key

__all__ = ["PAGE", "UNKNOWN_KEY", "ChainWalk", "Spans"]

PAGE: Final = 500
"""Entries that are read at once."""

UNKNOWN_KEY: Final = (
    "the public key of this node is not known here: verify its chain on that server"
)
"""The fault of a chain that cannot be checked: a planted one must not pass for a good one."""

_END: Final = 1 << 62  # behind all numbers


class Spans:
    """Numbers in ascending order, kept as runs: 16 octets a run, whatever its length."""

    def __init__(self) -> None:
        self._after = array("q")
        self._last = array("q")

    @property
    def last(self) -> int:
        """The last number; 0 where there is none."""
        return self._last[-1] if self._last else 0

    def add(self, after: int, last: int) -> bool:
        """Add those behind `after` up to `last`; False, and none, where they are not ascending."""
        if not self.last <= after <= last < _END:
            return False
        if self._last and self._last[-1] == after:
            self._last[-1] = last
        elif after < last:
            self._after.append(after)
            self._last.append(last)
        return True

    def runs(self) -> Iterator[tuple[int, int]]:
        """What lies before each run, and its last number."""
        return zip(self._after, self._last, strict=True)

    @staticmethod
    def common(several: Iterable[Spans]) -> int | None:
        """The first number that two of these have; None where none do."""
        end = 0
        for after, last in merge(*(one.runs() for one in several)):
            if after < end:
                return after + 1
            end = last
        return None


class ChainWalk:
    """Goes through one chain page by page. One without a `key` is not gone through."""

    def __init__(self, node_id: str, *, key: bytes | None, expected: Head | None) -> None:
        self.node_id: Final = node_id
        self.head = Head()
        self.n_entries = 0
        self.n_moved = 0
        """Rows of the segments' journal that its entries speak of, and that are there."""
        self.moved: Final = Spans()
        """Which these are."""
        self.turns: Final = Spans()
        """Which changes of the counts of limits it tells (ADR 0015)."""
        self.is_shared = False
        """Whether entries say where their rows begin: other nodes' may lie in between."""
        self.is_readable = True
        """Whether all cells so far were such as modemctl writes."""
        self.faults: Final[list[str]] = []
        self._moved_to = 0  # the last row that an entry vouches for
        self._key = None if key is None else public_key(key)
        self._expected = expected
        self._seen_expected = expected is None or expected.seq == 0

    @property
    def is_known(self) -> bool:
        """Whether it can be checked here."""
        return self._key is not None

    def step(self, conn: Connection) -> bool:
        """Check the next page; False after the last, or where nothing behind can be read."""
        if self._key is None or not self.is_readable:
            return False
        page, self.is_readable = rows.read_page(
            conn, node_id=self.node_id, after=self.head.seq, limit=PAGE
        )
        self.faults.extend(verify(page, self._key, after=self.head))
        for entry in page:
            self.head = Head(seq=entry.seq, hash=entry.hash)
            self._seen_expected |= self.head == self._expected
            if entry.draft.action == "segments.moved" and not self.faults:
                self._check_moved(conn, entry)
        self.n_entries += len(page)
        if not self.is_readable:
            self.faults.append(f"entry {self.head.seq + 1} cannot be read")
        return self.is_readable and len(page) == PAGE

    def close(self, conn: Connection) -> None:
        """Say what can be said at the end only."""
        if self._key is None and rows.last_entry(conn, self.node_id):
            self.faults.append(UNKNOWN_KEY)
        elif not self._seen_expected and self._expected is not None:
            self.faults.append(
                f"entry {self._expected.seq}, noted as head, is missing or was changed: "
                "entries at the end were removed, or the database is an older copy"
            )

    def _check_moved(self, conn: Connection, entry: Entry) -> None:
        """The digest of a group commit against the journal rows that it wrote."""
        try:
            details = json.loads(entry.draft.details)
            since = int(details.get(SINCE, self._moved_to))
            turn = int(details.get(TURN, 0))
            self.is_shared |= SINCE in details
            found, last = rows.read_moved(conn, after=since, limit=int(details["n"]))
            is_ours = since >= self._moved_to and vouches(details, found)
        except UNREADABLE:
            self.faults.append(f"entry {entry.seq} does not say what it has to")
            return
        self.n_moved += len(found)
        self._moved_to = last
        if not (is_ours and self.moved.add(since, last)):
            self.faults.append(f"segment journal: what entry {entry.seq} vouches for was changed")
        if turn and not self.turns.add(turn - 1, turn):
            self.faults.append(f"entry {entry.seq} tells turn {turn} of the counts out of order")
