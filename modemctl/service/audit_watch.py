"""The whole audit log, verified now and then without anybody asking, slowly, beside the work."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import Final

from modemctl.errors import ConfigError, StoreError
from modemctl.model import EventKind
from modemctl.service.audits import Audits
from modemctl.store import Store

__all__ = ["AuditWatch"]

_log = logging.getLogger(__name__)

_FIRST: Final = 60.0  # seconds after the start: modems come first
_BREATH: Final = 0.2  # seconds between two pages: others use the database, and the processor
_AGAIN: Final = 300.0  # seconds after a try that the database refused
_CURE: Final = "run: modemctl audit verify; restore what it names, and find out who wrote it"


class AuditWatch:
    """Verifies each `every`; never where that is zero."""

    def __init__(
        self,
        store: Store,
        audits: Audits,
        *,
        every: timedelta,
        first: float = _FIRST,
        breath: float = _BREATH,
    ) -> None:
        """`first` and `breath` in seconds: before the first time, between two pages."""
        self._store = store
        self._audits = audits
        self._every = every.total_seconds()
        self._first = first
        self._breath = breath
        self.n_faults: int | None = None
        """How many faults the last time found; None before it."""

    async def run(self) -> None:
        """Verify until cancelled; a store that fails leaves the last finding."""
        if not self._every:
            return
        await asyncio.sleep(self._first)
        while True:
            pause = self._every
            try:
                await self.look()
            except (StoreError, ConfigError, OSError) as error:
                _log.warning("audit.not_verified", extra={"error": str(error)})
                pause = min(_AGAIN, self._every)
            await asyncio.sleep(pause)

    async def look(self) -> int:
        """Verify once; a fault is an alarm that names the first bad row. Returns how many.

        Raises:
            StoreError: the database cannot be read.
            ConfigError: the head file is damaged.
        """
        reports = await self._audits.check(self._breath)
        faults = [f"{report.node_id}: {fault}" for report in reports for fault in report.faults]
        n = len(faults)
        if faults:
            first = faults[0]
            _log.error("audit.faults", extra={"first": first, "n": n, "cure": _CURE})
            await self._store.write(
                lambda tx: tx.event(
                    EventKind.ALARM, "audit", {"alarm": "audit_faults", "first": first, "n": n}
                )
            )
        self.n_faults = n
        return n
