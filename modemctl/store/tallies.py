"""Segments by state of the batches that run: counted once, then kept by what moved since.

To count a batch of a million takes a tenth of a second, and it is asked every second; what moved in
a second is a few hundred rows of the journal. It is told to people and decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sqlalchemy import Connection, bindparam, func, select

from modemctl.lifecycle import BatchState
from modemctl.model import BatchId
from modemctl.store.prepared import Prepared
from modemctl.store.tables import batch, segment, segment_journal

_FEW: Final = 20_000  # segments: so many are counted anew as quickly as what moved is looked up
_ANEW: Final = 600  # looks after which all is counted anew, whatever the journal said


class Tally:
    """What was counted last. One thread at a time.

    `few`: batches with at most so many segments are counted anew each time.
    """

    def __init__(self, *, few: int = _FEW) -> None:
        self._few = few
        self._counts: dict[BatchId, dict[str, int]] = {}
        self._latest = 0
        self._n_looks = 0

    def look(self, conn: Connection) -> Mapping[BatchId, Mapping[str, int]]:
        """Segments by state of each running batch, as they stand in this snapshot."""
        running = {BatchId(str(one)) for one in _RUNNING.column(conn)}
        latest = max((int(str(one or 0)) for one in _LATEST.column(conn)), default=0)
        known = {one: dict(self._counts[one]) for one in running & self._counts.keys()}
        self._n_looks += 1
        if self._n_looks % _ANEW == 0 or latest < self._latest:
            known = {}
        known = {one: states for one, states in known.items() if sum(states.values()) > self._few}
        if known:
            for row in _MOVED.rows(conn, {"since": self._latest, "until": latest}):
                if (states := known.get(row.batch_id)) is not None:
                    states[row.before] = states.get(row.before, 0) - row.n
                    states[row.after] = states.get(row.after, 0) + row.n
        for row in _ALL.rows(conn, {"ids": sorted(running - known.keys())}):
            known.setdefault(row.batch_id, {})[row.state] = row.n
        self._counts = {one: {k: n for k, n in known[one].items() if n} for one in sorted(known)}
        self._latest = latest
        return self._counts


_RUNNING: Final = Prepared(select(batch.c.batch_id).where(batch.c.state == BatchState.RUNNING))
_LATEST: Final = Prepared(
    select(segment_journal.c.entry_id).order_by(segment_journal.c.entry_id.desc()).limit(1)
)
_ALL: Final = Prepared(
    select(segment.c.batch_id, segment.c.state, func.count().label("n"))
    .where(segment.c.batch_id.in_(bindparam("ids", expanding=True)))
    .group_by(segment.c.batch_id, segment.c.state)
)
_MOVED: Final = Prepared(
    select(
        segment.c.batch_id,
        segment_journal.c.before,
        segment_journal.c.after,
        func.count().label("n"),
    )
    .join(segment, segment.c.segment_id == segment_journal.c.segment_id)
    .where(
        segment_journal.c.entry_id > bindparam("since"),
        segment_journal.c.entry_id <= bindparam("until"),
    )
    .group_by(segment.c.batch_id, segment_journal.c.before, segment_journal.c.after)
)
