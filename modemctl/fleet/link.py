"""A bay's link to its modem: opened, realigned, restarted, closed; at most one driver at a time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Final

from drivers.errors import DriverError, OutOfStep, PortBusy, PortDenied
from drivers.interface import Driver, EventSink
from modemctl.fleet.mailbox import Mailbox

_BOOT_POLL: Final = 3.0
_BOOT_TIME: Final = 60.0  # seconds that a modem may take to come back after a reset

Probe = Callable[[str, EventSink], Awaitable[Driver]]
"""Opens a port and identifies the modem behind it (`drivers.registry.probe`)."""


class Link:
    """The way to one address. Opening is limited by the fleet's start budget."""

    def __init__(
        self, address: str, *, probe: Probe, budget: asyncio.Semaphore, mailbox: Mailbox
    ) -> None:
        self.address: Final = address
        self._probe = probe
        self._budget = budget
        self.mailbox: Final = mailbox
        self._driver: Driver | None = None
        self._n_queued = 0

    @property
    def waits_for_turn(self) -> bool:
        """Whether others of the bank are being started and this one waits for its turn."""
        return self._n_queued > 0

    @property
    def n_answers(self) -> int | None:
        """Commands that the modem has answered on this link; None while it is closed."""
        return None if self._driver is None else self._driver.n_answers

    @property
    def is_open(self) -> bool:
        """Whether there is a driver; it may be out of step."""
        return self._driver is not None

    @property
    def driver(self) -> Driver:
        """The driver.

        Raises:
            OutOfStep: the link is not open.
        """
        if self._driver is None:
            raise OutOfStep("the link is not open")
        return self._driver

    def has_port(self) -> bool:
        """Whether the device node is still there; of sockets only an attempt can tell."""
        return not self.address.startswith("/") or Path(self.address).exists()

    async def open(self) -> Driver:
        """Open anew.

        Raises:
            DriverError: as the probe does; the link is closed then.
        """
        await self.close()
        self.mailbox.forget_controls()
        async with self._turn():
            self._driver = await self._probe(self.address, self.mailbox.put)
        return self._driver

    async def initialise(self) -> None:
        """The driver's init sequence, within the start budget.

        Raises:
            DriverError: as the driver does.
        """
        async with self._turn():
            await self.driver.initialise()

    async def realign(self) -> None:
        """Bring the link back into step.

        Raises:
            DriverError: it stays out of step.
        """
        await self.driver.realign()
        self.mailbox.forget_controls()

    async def restart(self) -> None:
        """Restart the modem and wait until it answers under the same address again.

        Raises:
            DriverError: it does not come back.
        """
        driver = self._driver or await self.open()
        await driver.reset()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _BOOT_TIME
        while True:
            await self.close()
            await asyncio.sleep(_BOOT_POLL)
            try:
                await self.open()
            except (PortBusy, PortDenied):
                raise
            except DriverError:
                if loop.time() > deadline:
                    raise
            else:
                return

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        self._n_queued += 1
        try:
            await self._budget.acquire()
        finally:
            self._n_queued -= 1
        try:
            yield
        finally:
            self._budget.release()

    async def close(self) -> None:
        """Close the port; bounded, never blocks the loop."""
        driver, self._driver = self._driver, None
        if driver is not None:
            await driver.close()
