"""Does a modem still answer, is it registered, does it still tell us what comes in: now and then.

`+CREG?` is the cheap command that shows life. What costs more is asked at each nth check only.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import random
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final, assert_never

from drivers.errors import CommandError, ProtocolError
from drivers.interface import Driver
from modemctl.fleet.judging import tells_card
from modemctl.fleet.mailbox import Mailbox
from modemctl.fleet.moves import Interrupted
from modemctl.fleet.receiving import Receiver
from modemctl.lifecycle import ModemEvent
from modemctl.store.modems import Facts

_log = logging.getLogger(__name__)


class Chore(StrEnum):
    """What is looked at more rarely than at each check."""

    ROUTING = "routing"  # does `+CNMI` still hold
    STORAGE = "storage"  # lies there something that nothing announced
    NETWORK = "network"  # whose network is it
    TEMPERATURE = "temperature"


EVERY: Final[Mapping[Chore, int]] = MappingProxyType(
    {Chore.ROUTING: 10, Chore.STORAGE: 20, Chore.NETWORK: 10, Chore.TEMPERATURE: 4}
)
"""Chore → at each nth check; with a check each 30 s that is two to ten minutes."""

_SIGNAL_STEP: Final = 4  # dB that are worth a row
_WARMTH_STEP: Final = 3  # °C that are
_N_FAILURES: Final = 3


class Health:
    """One bay's checks; `due_at` is a point of the loop's time."""

    def __init__(self, interval: float, *, mailbox: Mailbox, receiver: Receiver) -> None:
        self._interval = interval
        self._mailbox = mailbox
        self._receiver = receiver
        self._n_failures = 0
        # Each bay begins elsewhere in the round: the bank does not list all storages at once.
        self._n_checks = random.randrange(max(EVERY.values()))  # noqa: S311 - no secret
        self.due_at = 0.0

    def plan(self) -> None:
        """Set the next check, spread so that the bank does not ask all at once."""
        spread = random.uniform(0.8, 1.2)  # noqa: S311 - no secret
        self.due_at = asyncio.get_running_loop().time() + self._interval * spread

    async def check(self, driver: Driver, before: Facts) -> Facts:
        """What is known now; `before` itself where nothing changed that is worth a row.

        Raises:
            Interrupted: not registered any more, settings lost, or nonsense again and again.
            DriverError: as the driver does.
            StoreError: what lay in the storage could not be stored.
        """
        self.plan()
        self._n_checks += 1
        try:
            now = await self._ask(driver, before)
        except (CommandError, ProtocolError) as error:
            if tells_card(error):
                raise
            self._n_failures += 1
            if self._n_failures < _N_FAILURES:
                return before
            self._n_failures = 0
            raise Interrupted(ModemEvent.WATCHDOG, f"health check: {error}") from error
        self._n_failures = 0
        return now if _is_news(before, now) else before

    async def _ask(self, driver: Driver, before: Facts) -> Facts:
        registration = await driver.registration()
        if not registration.is_registered:
            raise Interrupted(ModemEvent.REGISTRATION_LOST, registration.words)
        dbm = self._mailbox.take_signal()
        if dbm is None:  # the modem did not tell by itself since the last check
            dbm = await driver.signal_dbm()
        now = dataclasses.replace(before, registration_stat=registration.stat, signal_dbm=dbm)
        for chore, nth in EVERY.items():
            if self._n_checks % nth == 0:
                try:
                    now = await self._do(chore, driver, now)
                except CommandError as error:  # it does not serve this: nothing else waits for it
                    if tells_card(error):
                        raise
                    facts = {"chore": chore.value, "error": str(error)}
                    _log.debug("health.refused", extra=facts)
        return now

    async def _do(self, chore: Chore, driver: Driver, facts: Facts) -> Facts:
        match chore:
            case Chore.ROUTING:
                if not await driver.messaging_is_set():
                    reason = "its settings of messages are lost"
                    raise Interrupted(ModemEvent.REBOOTED, reason)
            case Chore.STORAGE:
                await self._receiver.look_into_storage()
            case Chore.NETWORK:
                operator = await driver.operator()
                return dataclasses.replace(facts, operator=operator or facts.operator)
            case Chore.TEMPERATURE:
                return dataclasses.replace(facts, temperature_c=await driver.temperature_c())
            case _:
                assert_never(chore)
        return facts


async def read_network(driver: Driver, facts: Facts) -> Facts:
    """Signal and operator, as far as the modem tells them."""
    dbm, operator = facts.signal_dbm, facts.operator
    with contextlib.suppress(CommandError, ProtocolError):
        dbm = await driver.signal_dbm()
        operator = await driver.operator()
    return dataclasses.replace(facts, signal_dbm=dbm, operator=operator)


def _is_news(before: Facts, after: Facts) -> bool:
    return (
        (before.registration_stat, before.operator) != (after.registration_stat, after.operator)
        or _differs(before.signal_dbm, after.signal_dbm, _SIGNAL_STEP)
        or _differs(before.temperature_c, after.temperature_c, _WARMTH_STEP)
    )


def _differs(before: int | None, after: int | None, step: int) -> bool:
    if before is None or after is None:
        return before != after
    return abs(before - after) >= step
