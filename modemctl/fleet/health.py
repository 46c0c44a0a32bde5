"""Does a modem still answer, is it registered, how is its signal: asked now and then."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import random
from typing import Final

from drivers.errors import CommandError, ProtocolError
from drivers.interface import Driver
from modemctl.fleet.moves import Interrupted
from modemctl.lifecycle import ModemEvent
from modemctl.store.modems import Facts

_SIGNAL_STEP: Final = 4  # dB that are worth a row
_N_FAILURES: Final = 3


class Health:
    """One bay's checks; `due_at` is a point of the loop's time."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._n_failures = 0
        self.due_at = 0.0

    def plan(self) -> None:
        """Set the next check, spread so that the bank does not ask all at once."""
        spread = random.uniform(0.8, 1.2)  # noqa: S311 - no secret
        self.due_at = asyncio.get_running_loop().time() + self._interval * spread

    async def check(self, driver: Driver, before: Facts) -> Facts:
        """What is known now; `before` itself where nothing changed that is worth a row.

        Raises:
            Interrupted: not registered any more, or answers nonsense again and again.
            DriverError: as the driver does.
        """
        self.plan()
        try:
            registration = await driver.registration()
            dbm = await driver.signal_dbm()
        except (CommandError, ProtocolError) as error:
            self._n_failures += 1
            if self._n_failures < _N_FAILURES:
                return before
            self._n_failures = 0
            raise Interrupted(ModemEvent.WATCHDOG, f"health check: {error}") from error
        self._n_failures = 0
        if not registration.is_registered:
            reason = f"network status {registration.stat}"
            raise Interrupted(ModemEvent.REGISTRATION_LOST, reason)
        now = dataclasses.replace(before, registration_stat=registration.stat, signal_dbm=dbm)
        return now if _is_news(before, now) else before


async def read_network(driver: Driver, facts: Facts) -> Facts:
    """Signal and operator, as far as the modem tells them."""
    dbm, operator = facts.signal_dbm, facts.operator
    with contextlib.suppress(CommandError, ProtocolError):
        dbm = await driver.signal_dbm()
        operator = await driver.operator()
    return dataclasses.replace(facts, signal_dbm=dbm, operator=operator)


def _is_news(before: Facts, after: Facts) -> bool:
    if before.registration_stat != after.registration_stat:
        return True
    if before.signal_dbm is None or after.signal_dbm is None:
        return before.signal_dbm != after.signal_dbm
    return abs(before.signal_dbm - after.signal_dbm) >= _SIGNAL_STEP
