"""Emergencies are followed up: a chain that does not sign afterwards is told of (SMS-01)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from modemctl.errors import StoreError, TamperedError
from modemctl.service.duty_views import DutyView
from modemctl.service.principal import Principal, Scope
from modemctl.store import Connection, Store, emergencies
from modemctl.store.batches import Batch
from modemctl.store.emergencies import LetGo

_EVERY: Final = 300.0  # seconds between two looks

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenEmergency:
    """A batch that one approver let go; its chain signs until `due_at`.

    `entry` is the audit entry (node and number) that names who let it go.
    """

    batch: Batch
    let_go_by: str
    let_go_at: datetime
    due_at: datetime
    is_overdue: bool
    entry: str


def open_emergency(
    batch: Batch, let_go: LetGo, followup: timedelta, now: datetime
) -> OpenEmergency:
    """How one that waits for its chain is shown."""
    due_at = let_go.at + followup
    return OpenEmergency(
        batch=batch,
        let_go_by=let_go.by,
        let_go_at=let_go.at,
        due_at=due_at,
        is_overdue=due_at <= now,
        entry=f"{let_go.node_id}:{let_go.seq}",
    )


class EmergencyWatch:
    """Tells of each emergency whose chain is late, once; counts them for metrics and duties."""

    def __init__(self, store: Store, followup: timedelta) -> None:
        """`followup`: how long after it was let go its chain has to sign."""
        self._store = store
        self._followup = followup
        self._counts: Mapping[str, int] = {}

    async def run(self) -> None:
        """Look until cancelled; a store that fails leaves what was known."""
        while True:
            try:
                await self.look()
            except (StoreError, TamperedError) as error:
                _log.warning("emergencies.not_watched", extra={"error": type(error).__name__})
            await asyncio.sleep(_EVERY)

    async def look(self) -> None:
        """Count what is open and overdue; what was not told yet goes on record, with an alarm.

        Raises:
            StoreError: the database cannot be used.
        """
        n_open, n_late = await self._store.read(self._count)
        self._counts = {"open": n_open, "overdue": n_late}
        if n_late:
            await self._store.write(lambda tx: emergencies.tell_overdue(tx, self._followup))

    def counts(self) -> Mapping[str, int]:
        """How many are open, how many of them late; from any thread."""
        return self._counts

    async def list_duties(self, who: Principal) -> Sequence[DutyView]:
        """That the chains of emergencies sign: when one did last, whether one waits, or is late.

        Raises:
            NotPermitted: without `modems:read`, as other duties.
        """
        who.require(Scope.MODEMS_READ)
        n_open, n_late = await self._store.read(self._count)
        last = await self._store.read(emergencies.last_review)
        return [
            DutyView(
                duty="emergency_review",
                policy="SMS-01",
                done_at=None if last is None else last[0],
                done_by=None if last is None else last[1],
                turn_from=None,
                is_due=n_open > 0,
                is_overdue=n_late > 0,
            )
        ]

    def _count(self, conn: Connection) -> tuple[int, int]:
        return emergencies.counts(conn, before=self._store.clock.now() - self._followup)
