"""Retention and purge (SEC-08): by the schedule, or by two persons; small steps, on record."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from modemctl.config import RetentionSettings
from modemctl.errors import Conflict, PolicyRefused, StoreError, TamperedError
from modemctl.policy.dual import DualKind
from modemctl.policy.records import RecordClass, Retention
from modemctl.service import dual
from modemctl.service.principal import Principal, Scope
from modemctl.store import Connection, Store, Tx, holds
from modemctl.store import purges as rows
from modemctl.store.purges import Due, Run

__all__ = ["Due", "PurgePreview", "PurgeView", "Purges", "require_holds", "retention"]

_EVERY: Final = 3_600.0  # seconds between two looks
_PAUSE: Final = 0.02  # seconds between two steps: others write too
_SCRUBS: Final = 20

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgePreview:
    """What a purge would take now. `subject` is what two persons name in their request.

    `missing_holds` are holds that the log knows and the table lost: nothing is purged then.
    """

    subject: str
    is_automatic: bool
    classes: Sequence[Due]
    missing_holds: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgeView:
    """A purge, and how far it is; `request_id` None: by the schedule."""

    run_id: str
    by: str
    request_id: str | None
    started_at: datetime
    finished_at: datetime | None
    n_batches: int
    n_rows: int


class Purges:
    """Looks what is over, and removes it."""

    def __init__(self, store: Store, *, retention: Retention, is_automatic: bool) -> None:
        self._store = store
        self._retention = retention
        self._is_automatic = is_automatic
        self._asked = asyncio.Event()

    async def preview(self, who: Principal) -> PurgePreview:
        """What is over now, and what holds keep of it.

        Raises:
            NotPermitted: without `audit:read` or `records:write`, or of one department only.
        """
        _require_sight(who)
        cutoffs = self._retention.cutoffs(self._store.clock.now())
        vault = self._store.vault

        def query(conn: Connection) -> PurgePreview:
            return PurgePreview(
                subject=_SUBJECT,
                is_automatic=self._is_automatic,
                classes=rows.preview(conn, vault, cutoffs),
                missing_holds=holds.missing(conn),
            )

        return await self._store.read(query)

    async def list_purges(self, who: Principal) -> Sequence[PurgeView]:
        """The latest 100 purges, newest first.

        Raises:
            NotPermitted: as `preview`.
        """
        _require_sight(who)
        vault = self._store.vault
        return [_view(one) for one in await self._store.read(lambda conn: rows.find(conn, vault))]

    async def start(self, who: Principal, *, request_id: str | None) -> PurgeView:
        """Purge by hand what is over now, by the permit of a witness (kind `purge`).

        Raises:
            NotPermitted, PolicyRefused: scope, SEC-04 without permit; SEC-12, a hold is missing.
            Conflict: one is under way.
        """
        who.require(Scope.RECORDS_WRITE)
        who.require_all_departments()

        await require_holds(self._store)

        def act(tx: Tx) -> Run:
            if rows.unfinished(tx.conn, tx.vault) is not None:
                raise Conflict("a purge is under way", policy="SEC-08", cure="modemctl purge runs")
            dual.take(tx, who, request_id, kind=DualKind.PURGE, subject=_SUBJECT)
            cutoffs = self._retention.cutoffs(tx.now)
            return rows.begin(tx, by=who.name, request_id=request_id, cutoffs=cutoffs)

        run = await self._store.write(act)
        self._asked.set()
        return _view(run)

    async def run(self) -> None:
        """Purge what is due, at start and each hour, and at once what two persons ask for."""
        while True:
            is_asked = self._asked.is_set()
            self._asked.clear()
            try:
                if is_asked or self._store.is_caretaker:
                    await self.purge_due()
            except (StoreError, PolicyRefused, TamperedError) as error:
                _log.error("purge.refused", extra={"error": str(error)})
            try:
                async with asyncio.timeout(_EVERY):
                    await self._asked.wait()
            except TimeoutError:
                continue

    async def purge_due(self) -> int:
        """Go on with a purge that is under way, or begin the schedule's; how many rows went.

        Raises:
            StoreError: the database cannot be written.
            PolicyRefused: SEC-12, a hold is missing.
            TamperedError: the run's row was altered.
        """
        await require_holds(self._store)
        run = await self._store.write(self._take_up)
        if run is None:
            return 0
        n_rows = 0
        while True:
            done = await self._store.write(lambda tx: rows.step(tx, run))
            n_rows += done.n_rows
            if done.is_over:
                break
            await asyncio.sleep(_PAUSE)
        for _ in range(_SCRUBS):
            if await self._store.scrub():
                break
            await asyncio.sleep(_PAUSE)
        _log.info("purge.done", extra={"run": run.run_id, "n_rows": n_rows})
        return n_rows

    def _take_up(self, tx: Tx) -> Run | None:
        run = rows.unfinished(tx.conn, tx.vault)
        if run is None and self._is_automatic:
            cutoffs = self._retention.cutoffs(tx.now)
            if any(one.n_due for one in rows.preview(tx.conn, tx.vault, cutoffs)):
                return rows.begin(tx, by=rows.SCHEDULE, request_id=None, cutoffs=cutoffs)
        return run


_SUBJECT: Final = "due"


def retention(settings: RetentionSettings) -> Retention:
    """How long each class is kept."""
    return Retention(
        days={
            RecordClass.BATCH: settings.batches_days,
            RecordClass.INBOX: settings.inbox_days,
            RecordClass.CALL: settings.calls_days,
            RecordClass.REPORT: settings.reports_days,
            RecordClass.CONSOLE: settings.console_days,
            RecordClass.BALANCE: settings.balances_days,
            RecordClass.SELF_TEST: settings.self_tests_days,
        }
    )


async def require_holds(store: Store) -> None:
    """Refuse to remove anything while a hold is missed.

    Raises:
        PolicyRefused: SEC-12, the log knows a hold that the table lost.
    """
    gone = await store.read(holds.missing)
    if gone:
        raise PolicyRefused(
            "SEC-12",
            f"legal hold {gone[0]} is gone from the database; nothing is purged or erased",
            cure="modemctl audit verify; restore the row from a copy",
        )


def _require_sight(who: Principal) -> None:
    if Scope.RECORDS_WRITE not in who.scopes:
        who.require(Scope.AUDIT_READ)
    who.require_all_departments()


def _view(one: Run) -> PurgeView:
    return PurgeView(
        run_id=one.run_id,
        by=one.by,
        request_id=one.request_id,
        started_at=one.started_at,
        finished_at=one.finished_at,
        n_batches=one.n_batches,
        n_rows=one.n_rows,
    )
