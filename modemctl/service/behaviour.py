"""Watches what accounts do; abnormal behaviour freezes one at once, with an alarm (SEC-06)."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from datetime import timedelta
from typing import Final
from zoneinfo import ZoneInfo

from modemctl.config import BehaviourSettings
from modemctl.errors import PolicyRefused
from modemctl.model import AccountId
from modemctl.policy.behaviour import (
    BehaviourRules,
    Oddity,
    is_working_time,
    place_of,
    too_many_exports,
    too_many_failures,
    too_many_places,
)
from modemctl.service.freezing import put_state
from modemctl.service.principal import Principal
from modemctl.store import Store, Tx
from modemctl.store.accounts import AccountState, find_account

_KEPT: Final = 10_000
"""Most moments that are kept of one account and kind; no threshold is above."""

_log = logging.getLogger(__name__)


def rules_of(settings: BehaviourSettings, timezone: str) -> BehaviourRules:
    """The thresholds as the settings give them."""
    return BehaviourRules(
        max_places=settings.max_places,
        places_within=timedelta(minutes=settings.places_minutes).total_seconds(),
        max_failures=settings.max_failed_tries,
        failures_within=timedelta(minutes=settings.failed_minutes).total_seconds(),
        max_night_exports=settings.max_night_exports,
        exports_within=timedelta(minutes=settings.exports_minutes).total_seconds(),
        work_from=settings.work_from,
        work_until=settings.work_until,
        rest_weekdays=frozenset(day - 1 for day in settings.rest_weekdays),
        zone=ZoneInfo(timezone),
    )


class Behaviour:
    """Remembers the last minutes of each account; what is odd freezes it."""

    def __init__(
        self,
        store: Store,
        rules: BehaviourRules,
        *,
        general_department: str,
        on_odd: Callable[[Oddity], None],
    ) -> None:
        """`on_odd` is told of each account that was frozen, for the metrics."""
        self._store = store
        self._rules = rules
        self._general = general_department
        self._on_odd = on_odd
        self._places: dict[AccountId, dict[str, float]] = {}
        self._failures: dict[AccountId, deque[float]] = {}
        self._exports: dict[AccountId, deque[float]] = {}

    async def seen(self, account_id: AccountId, source: str) -> bool:
        """An account asks from somewhere; False where that froze it.

        Raises:
            StoreError: the database cannot be written now.
        """
        now = self._store.clock.monotonic()
        places = self._places.setdefault(account_id, {})
        places[place_of(source)] = now
        for place in [one for one, at in places.items() if now - at > self._rules.places_within]:
            del places[place]
        if not too_many_places(places, now, self._rules):
            return True
        del self._places[account_id]
        await self._freeze(account_id, Oddity.MANY_PLACES)
        return False

    async def failed(self, account_id: AccountId) -> None:
        """Somebody gave a wrong secret for a key of the account.

        Raises:
            StoreError: the database cannot be written now.
        """
        now = self._store.clock.monotonic()
        failures = _noted(self._failures, account_id, now)
        if too_many_failures(failures, now, self._rules):
            failures.clear()
            await self._freeze(account_id, Oddity.FAILED_TRIES)

    async def exported(self, who: Principal) -> None:
        """A person takes data out in bulk; machines do that at any hour.

        Raises:
            PolicyRefused: SEC-06, too often while nobody works; the account is frozen now.
            StoreError: the database cannot be written now.
        """
        clock = self._store.clock
        now, at = clock.monotonic(), clock.now()
        if not who.is_person or is_working_time(at, self._rules):
            return
        exports = _noted(self._exports, who.account_id, now)
        if too_many_exports(exports, now, at, self._rules):
            exports.clear()
            await self._freeze(who.account_id, Oddity.NIGHT_EXPORT)
            raise PolicyRefused(
                "SEC-06",
                "too many exports outside working hours; the account is frozen",
                cure="ask two administrators: modemctl account unfreeze",
            )

    async def _freeze(self, account_id: AccountId, oddity: Oddity) -> None:
        def act(tx: Tx) -> bool:
            before = find_account(tx.conn, tx.vault, account_id)
            if before is None or before.state is not AccountState.ACTIVE:
                return False
            put_state(
                tx,
                before,
                AccountState.FROZEN,
                by=tx.node_id,
                general_department=self._general,
                details={"reason": oddity.value, "policy": "SEC-06"},
            )
            return True

        if await self._store.write(act):
            _log.error("account.frozen", extra={"account_id": account_id, "reason": oddity.value})
            self._on_odd(oddity)


def _noted(
    moments: dict[AccountId, deque[float]], account_id: AccountId, now: float
) -> deque[float]:
    kept = moments.setdefault(account_id, deque(maxlen=_KEPT))
    kept.append(now)
    return kept
