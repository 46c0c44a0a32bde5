"""Which reports are overdue: the quarter's summary, the log's audits, stock-take, exports."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta, tzinfo
from typing import Final, TypeAlias

from modemctl.errors import PolicyRefused, StoreError, TamperedError
from modemctl.model import EventKind
from modemctl.policy.paper_periods import (
    Period,
    month_before,
    quarter_before,
    quarter_of,
    week_before,
    year_before,
)
from modemctl.service.duty_views import DutyView
from modemctl.service.paper_orders import PaperRules
from modemctl.service.principal import Principal, Scope
from modemctl.store import Connection, Store, Tx, duties, exports, figures
from modemctl.store.papers import PaperKind, last_filed

DUTY_WORDS: Final[Mapping[PaperKind, str]] = {
    PaperKind.QUARTER: "duty_quarter",
    PaperKind.SCREENING: "duty_screening",
    PaperKind.SPOT_CHECK: "duty_spot_check",
    PaperKind.MONTH_AUDIT: "duty_month_audit",
    PaperKind.YEAR_AUDIT: "duty_year_audit",
    PaperKind.STOCKTAKE: "duty_stocktake",
    PaperKind.EXPORT: "duty_export",
}
"""Each duty's word in reports."""
POLICIES: Final[Mapping[PaperKind, str]] = {
    PaperKind.QUARTER: "SMS-05",
    PaperKind.SCREENING: "SEC-05",
    PaperKind.SPOT_CHECK: "SEC-05",
    PaperKind.MONTH_AUDIT: "SEC-05",
    PaperKind.YEAR_AUDIT: "SEC-05",
    PaperKind.STOCKTAKE: "SIM-11",
    PaperKind.EXPORT: "SEC-09",
}
"""The rule that each duty serves."""

_NAMES: Final[Mapping[PaperKind, str]] = {
    PaperKind.QUARTER: "report_quarter",
    PaperKind.SCREENING: "report_screening",
    PaperKind.SPOT_CHECK: "report_spot_check",
    PaperKind.MONTH_AUDIT: "report_month_audit",
    PaperKind.YEAR_AUDIT: "report_year_audit",
    PaperKind.STOCKTAKE: "report_stocktake",
    PaperKind.EXPORT: "export_review",
}

_PeriodBefore: TypeAlias = Callable[[datetime, tzinfo], Period]
_TURNS: Final[Mapping[PaperKind, tuple[_PeriodBefore, int]]] = {
    PaperKind.SCREENING: (week_before, 13),
    PaperKind.SPOT_CHECK: (week_before, 13),
    PaperKind.MONTH_AUDIT: (month_before, 12),
    PaperKind.YEAR_AUDIT: (year_before, 2),
}
"""Audits' papers: the period that ended last, and how many are asked for back from there."""
_EVERY: Final = 3_600.0  # seconds between two looks
_QUARTERS_BACK: Final = 4
_AT_ONCE: Final = timedelta(seconds=-1)


class DutyWatch:
    """Looks now and then for reports that are overdue, and tells of each once."""

    def __init__(self, store: Store, rules: PaperRules) -> None:
        self._store = store
        self._rules = rules
        self.late: Mapping[PaperKind, int] = {}

    async def run(self) -> None:
        """Look until cancelled; a store that fails leaves what was known."""
        while True:
            with suppress(StoreError, TamperedError):
                await self._store.write(duties.begin)  # before the first look at what is late
                await self.look()
            await asyncio.sleep(_EVERY)

    async def look(self) -> None:
        """Count what is overdue; what was not before is an alarm.

        Raises:
            StoreError: the database cannot be used.
            TamperedError: a report's row was altered.
        """
        now, before = self._store.clock.now(), self.late
        late = await self._store.read(lambda conn: overdue(conn, self._store, self._rules, now))
        new = [kind for kind, n in late.items() if n > before.get(kind, 0)]
        if new and self._store.is_caretaker:  # the others keep count, in case they follow it
            await self._store.write(lambda tx: _tell(tx, new))
        self.late = late

    async def list_duties(self, who: Principal) -> Sequence[DutyView]:
        """The reports that are filed regularly, and the exports that are looked at again.

        Raises:
            NotPermitted: without `modems:read`, as other duties.
            PolicyRefused: SEC-05, a report's row was altered.
        """
        who.require(Scope.MODEMS_READ)
        store, now = self._store, self._store.clock.now()
        try:
            return await store.read(lambda conn: _duties(conn, store, self._rules, now))
        except TamperedError as error:
            cure = "modemctl audit verify"
            raise PolicyRefused("SEC-05", str(error), cure=cure) from None

    def counts(self) -> Mapping[str, int]:
        """How many of each kind are overdue, for metrics; from any thread."""
        return {kind.value: n for kind, n in self.late.items()}


def _tell(tx: Tx, kinds: Sequence[PaperKind]) -> None:
    for kind in kinds:
        facts = {"alarm": "report_overdue", "report": kind.value, "policy": POLICIES[kind]}
        tx.event(EventKind.ALARM, "reports", {**facts})


def overdue(
    conn: Connection, store: Store, rules: PaperRules, now: datetime
) -> Mapping[PaperKind, int]:
    """How many reports of each kind are overdue; filed ones count, merely made ones do not.

    Raises:
        TamperedError: a report's row was altered.
    """
    has_cards = bool(figures.cards_by_state(conn))
    is_late = has_cards and _is_late(conn, store, PaperKind.STOCKTAKE, now - rules.stocktake_every)
    found = {kind: len(_unaudited(conn, store, rules, kind, now)) for kind in _TURNS}
    found[PaperKind.STOCKTAKE] = int(is_late)
    found[PaperKind.QUARTER] = _unfiled_quarters(conn, store, rules, now)
    return {**found, PaperKind.EXPORT: exports.count_due(conn, now)}


def _duties(conn: Connection, store: Store, rules: PaperRules, now: datetime) -> Sequence[DutyView]:
    """Each duty, by whom its report was filed last, and whether one is overdue.

    Raises:
        TamperedError: a report's row was altered.
    """
    late = overdue(conn, store, rules, now)
    found = []
    for kind, policy in POLICIES.items():
        filed = last_filed(conn, store.vault, kind, None)
        waiting = _waiting(conn, store, rules, kind, now) if kind in _TURNS else None
        found.append(
            DutyView(
                duty=_NAMES[kind],
                policy=policy,
                done_at=None if filed is None else filed.filed_at,
                done_by=None if filed is None else filed.filed_by,
                turn_from=None if waiting is None else waiting.end,
                is_due=bool(late[kind]) or waiting is not None,
                is_overdue=bool(late[kind]),
            )
        )
    return found


def _unaudited(
    conn: Connection, store: Store, rules: PaperRules, kind: PaperKind, now: datetime
) -> Sequence[Period]:
    """Periods whose paper of this node's log should be acknowledged and is not, newest first."""
    due = {
        PaperKind.MONTH_AUDIT: rules.month_audit_due,
        PaperKind.YEAR_AUDIT: rules.year_audit_due,
    }.get(kind, rules.screening_due)
    before, n_back = _TURNS[kind]
    began, at, found = _audits_began(conn, store), now, list[Period]()
    for _ in range(n_back):
        period = before(at, rules.zone)
        at = period.first
        if began is None or period.end <= began:
            break
        if now - period.end <= due:
            continue
        if last_filed(conn, store.vault, kind, period.name, node_id=store.node_id) is None:
            found.append(period)
    return found


def _audits_began(conn: Connection, store: Store) -> datetime | None:
    """Since when the log's papers are due: never before its first entry.

    An older site begins with the version that asks for them, not with all the weeks it has logged.
    """
    began, asked = figures.first_entry_at(conn, store.node_id), duties.log_audits_began(conn)
    return began if began is None or asked is None else max(began, asked)


def _waiting(
    conn: Connection, store: Store, rules: PaperRules, kind: PaperKind, now: datetime
) -> Period | None:
    """The oldest period whose paper waits, whether it is late or not."""
    hurried = replace(
        rules, screening_due=_AT_ONCE, month_audit_due=_AT_ONCE, year_audit_due=_AT_ONCE
    )
    return next(reversed(_unaudited(conn, store, hurried, kind, now)), None)


def _unfiled_quarters(conn: Connection, store: Store, rules: PaperRules, now: datetime) -> int:
    """Quarters of the last year with batches, whose time is over and whose summary is not filed."""
    period, n_unfiled = quarter_of(now, rules.zone), 0
    for _ in range(_QUARTERS_BACK):
        period = quarter_before(period, rules.zone)
        if (
            now - period.end > rules.quarter_due
            and figures.count_batches(conn, period.first, period.end, department=None)
            and last_filed(conn, store.vault, PaperKind.QUARTER, period.name) is None
        ):
            n_unfiled += 1
    return n_unfiled


def _is_late(conn: Connection, store: Store, kind: PaperKind, since: datetime) -> bool:
    filed = last_filed(conn, store.vault, kind, None)
    began = figures.first_entry_at(conn, store.node_id)
    last = began if filed is None else filed.filed_at
    return last is not None and last < since
