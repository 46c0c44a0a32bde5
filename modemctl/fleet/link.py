"""A bay's link to its modem: opened, realigned, restarted, closed; at most one driver at a time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from drivers.errors import DriverError, LinkError, OutOfStep, PortBusy, PortDenied, PortGone
from drivers.interface import Driver, EventSink
from modemctl.fleet.mailbox import Mailbox
from modemctl.fleet.moves import Moved
from modemctl.fleet.places import Place, UsbDevice, is_there
from modemctl.lifecycle import ModemEvent

_BOOT_POLL: Final = 3.0
_BOOT_TIME: Final = 60.0  # seconds that a modem may take to come back after a reset

Probe = Callable[[str, EventSink], Awaitable[Driver]]
"""Opens a port and identifies the modem behind it (`drivers.registry.probe`)."""


class Link:
    """The way into one bay. Opening is limited by the fleet's start budget.

    `address`: the port that was taken last; of several the first at which a modem answers.
    """

    def __init__(
        self,
        place: Place,
        *,
        probe: Probe,
        budget: contextlib.AbstractAsyncContextManager[None],
        mailbox: Mailbox,
    ) -> None:
        self.address = next(iter(place.addresses), "")
        self._place = place
        self._tried_arrival = place.arrival
        self._probe = probe
        self._budget = budget
        self.mailbox: Final = mailbox
        self._driver: Driver | None = None
        self._n_queued = 0
        self._opening: asyncio.Timeout | None = None
        self._queueing: asyncio.Timeout | None = None
        self._is_abandoned = False
        self.is_kept_out = False
        """Whether the last try to open met another program, or a lack of rights."""

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

    @property
    def usb(self) -> UsbDevice | None:
        """The modem's USB device, where it is one and on the bus."""
        return self._place.usb

    @property
    def arrival(self) -> int:
        """Another number after each plugging in, 0 while nothing is."""
        return self._place.arrival

    def follow(self, place: Place) -> None:
        """The bay's ports are these now; an open one stays open.

        Where none is left, no turn is waited for any more: behind a hub's failure that takes long.
        """
        self._place = place
        if not place.addresses:
            _end_now(self._queueing)

    def left(self) -> Moved | None:
        """Whether the modem that was opened last is no longer the one at the port, and how."""
        if not self.has_port():
            return Moved(event=ModemEvent.PORT_GONE, reason="the port is gone")
        if self._place.arrival != self._tried_arrival:
            return Moved(event=ModemEvent.PORT_GONE, reason="it was plugged in anew")
        return None

    def has_port(self) -> bool:
        """Whether the bay has a port; of sockets only an attempt can tell."""
        return any(is_there(address) for address in self._place.addresses)

    async def open(self) -> Driver:
        """Open anew.

        Raises:
            DriverError: as the probe does; the link is closed then.
        """
        await self.close()
        self.mailbox.forget_controls()
        try:
            async with asyncio.timeout(0.0 if self._is_abandoned else None) as self._opening:
                async with self._turn():
                    self._driver = await self._find()
        except TimeoutError:
            raise PortGone(self.address, "nobody wants it open any more") from None
        finally:
            self._opening = None
        return self._driver

    def abandon(self) -> None:
        """Open no more, and give up an opening that is under way; what is open stays so.

        A frozen device takes 15 s to refuse, a mute modem as long: the end waits for neither.
        """
        self._is_abandoned = True
        _end_now(self._opening)

    async def _find(self) -> Driver:
        """The driver at the first port that answers; where the order is a guess, the last one's.

        A port that is held or refused ends the search: the modem's next port is no way around.
        """
        self._tried_arrival = self._place.arrival
        addresses = [one for one in self._place.addresses if is_there(one)]
        if not self._place.is_sure:
            addresses.sort(key=lambda one: one != self.address)
        failure: DriverError = PortGone(self.address, self._place.note or "no port")
        for n_failed, address in enumerate(addresses):
            try:
                driver = await self._probe(address, self.mailbox.put)
            except LinkError as error:
                self.is_kept_out = isinstance(error, PortBusy | PortDenied)
                raise
            except DriverError as error:
                failure = failure if n_failed else error  # the best port's words count
            else:
                self.address = address
                return driver
        raise failure

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

    async def restart(self, reopen: Callable[[], Awaitable[None]]) -> None:
        """Restart the modem and wait until it answers under the same address again.

        `reopen` opens a link that is closed or out of step, for a modem that may be driven.

        Raises:
            DriverError: it does not come back.
            Exception: what `reopen` raised; nothing was restarted then.
        """
        if self._driver is None:
            await reopen()
        try:
            await self.driver.reset()
        except OutOfStep:  # the reset is a command too: it wants a link that is in step
            await reopen()
            await self.driver.reset()
        await self.come_back()

    async def come_back(self) -> None:
        """Wait until the modem, which restarts, answers again.

        Raises:
            DriverError: it does not come back.
        """
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
                if self._is_abandoned or loop.time() > deadline:
                    raise
            else:
                return

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            self._n_queued += 1
            try:
                async with asyncio.timeout(None) as self._queueing:
                    await stack.enter_async_context(self._budget)
            except TimeoutError:
                raise PortGone(self.address, self._place.note or "no port") from None
            finally:
                self._n_queued -= 1
                self._queueing = None
            yield

    async def close(self) -> None:
        """Close the port; bounded, never blocks the loop."""
        driver, self._driver = self._driver, None
        if driver is not None:
            await driver.close()


def _end_now(wait: asyncio.Timeout | None) -> None:
    """Cut a wait off; one that was cut off before, and hangs, cannot be once more."""
    if wait is not None and not wait.expired():
        wait.reschedule(asyncio.get_running_loop().time())
