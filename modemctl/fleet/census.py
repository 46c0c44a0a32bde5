"""The store's figures for metrics."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from modemctl.model import Bay
from modemctl.policy.balances import state_of
from modemctl.policy.duties import TURNS, is_overdue
from modemctl.policy.quotas import QuotaRules
from modemctl.store import (
    Connection,
    Store,
    balances,
    counts,
    duties,
    headroom,
    register_faults,
    self_tests,
)
from modemctl.store.counts import Counts
from modemctl.store.engine import UNREADABLE
from modemctl.telemetry import BankSnapshot

_CENSUS_EVERY: Final = 10.0  # seconds


class Census:
    """The store's figures for metrics: counted now and then, read at each scrape."""

    def __init__(self, store: Store, quota: QuotaRules) -> None:
        self._store = store
        self._quota = quota
        self._counts = Counts()
        self._limits: Mapping[tuple[str, str], float] = {}
        self._duties: Mapping[str, bool] = {}
        self._register_faults: Mapping[str, int] = {}
        self._balances: Mapping[Bay, balances.Kept] = {}
        self._self_tests: Mapping[str, int] = {}

    async def run(self) -> None:
        """Count until cancelled; a store that fails, or an odd row, leaves the last figures."""
        while True:
            with suppress(*UNREADABLE):  # no figure is worth a daemon
                self._counts = await self._store.read(counts.read)
                self._limits = await self._store.read(
                    lambda conn: headroom.pressure(self._store.view(conn), self._quota)
                )
                self._duties = await self._store.read(self._late_duties)
                self._register_faults = await self._store.read(self._late_faults)
                self._balances = await self._store.read(
                    lambda conn: balances.by_bay(conn, now=self._store.clock.now())
                )
                self._self_tests = await self._store.read(self_tests.tally)
            await asyncio.sleep(_CENSUS_EVERY)

    def _late_duties(self, conn: Connection) -> Mapping[str, bool]:
        now, zone = self._store.clock.now(), self._quota.zone
        return {
            duty.value: is_overdue(TURNS[duty], row.done_at, now, zone)
            for duty, row in duties.read_all(conn).items()
        }

    def _late_faults(self, conn: Connection) -> Mapping[str, int]:
        now, zone = self._store.clock.now(), self._quota.zone
        found = register_faults.find(conn, now=now, zone=zone)
        return Counter(one.kind.value for one in found if one.is_late)

    def snapshot(self) -> BankSnapshot:
        """What is known now; called from the exporter's thread."""
        journal, known, told = self._store.journal, self._counts, self._balances
        return BankSnapshot(
            sims=known.sims,
            sim_locks=known.locks,
            stops=known.stops,
            incidents=known.incidents,
            cases=known.cases,
            batches=known.batches,
            segments=known.segments,
            limits=self._limits,
            balances=Counter(state_of(one.amount, is_low=one.is_low) for one in told.values()),
            card_balances={
                (bay, one.currency): float(one.amount)
                for bay, one in told.items()
                if one.amount is not None
            },
            self_tests=self._self_tests,
            duties=self._duties,
            register_faults=self._register_faults,
            is_writer_up=journal.is_healthy,
            n_journal_backlog=journal.backlog,
            audit_sequence=journal.head.seq,
            vault_rows_old=known.vault_rows_old,
        )
