"""What time alone asks for: lapsed leases, windows, finished batches."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Final

from modemctl.errors import StoreError
from modemctl.model import BatchId, Topic
from modemctl.store import Store, Tx, count_purge, sweeps
from modemctl.store.engine import UNREADABLE
from modemctl.store.segments import SendingRules
from modemctl.store.tallies import Tally

_log = logging.getLogger(__name__)

_INTERVAL: Final = 1.0
_IDLE_INTERVAL: Final = 5.0
_AFTER_YOU: Final = 0.1  # what rang is for the dispatcher first: a segment leaves within this time
_TIDY: Final = 600.0


class Sweeper:
    """One a node; `run` is its task."""

    def __init__(self, store: Store, rules: SendingRules) -> None:
        self._store = store
        self._rules = rules
        self._progress: Mapping[BatchId, Mapping[str, int]] = {}
        self._tally = Tally()
        self._tidy_at = 0.0

    async def run(self) -> None:
        """Sweep until cancelled: every second while batches run, else every five."""
        with self._store.signals.subscribe(Topic.WORK, Topic.STOP) as bell:
            while True:
                try:
                    await self._turn()
                except StoreError as error:
                    _log.warning("sweeper.store_failed", extra={"error": str(error)})
                except UNREADABLE as error:
                    facts = {"error": str(error), "cure": "modemctl audit verify names the row"}
                    _log.error("sweeper.failed", extra=facts)
                if self._progress:
                    await asyncio.sleep(_INTERVAL)
                elif await bell.wait(_IDLE_INTERVAL):
                    await asyncio.sleep(_AFTER_YOU)

    async def _turn(self) -> None:
        swept = await self._store.write(lambda tx: sweeps.sweep(tx, self._rules))
        while swept.has_more:
            swept = await self._store.write(lambda tx: sweeps.sweep(tx, self._rules))
        await self._tell_progress()
        now = self._store.clock.monotonic()
        if now >= self._tidy_at:
            self._tidy_at = now + _TIDY
            while await self._store.write(self._purge) >= count_purge.PURGED:
                continue  # others write between

    def _purge(self, tx: Tx) -> int:
        return count_purge.purge(tx, self._rules.quota.zone)

    async def _tell_progress(self) -> None:
        """An event for each running batch that moved since the last look."""
        counts = await self._store.read(self._tally.look)
        moved = {one: states for one, states in counts.items() if self._progress.get(one) != states}
        self._progress = counts
        if moved:
            await self._store.write(lambda tx: sweeps.note_progress(tx, moved))
