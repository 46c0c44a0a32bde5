"""What comes in at one bay, stored beside the sending: a pump from the mailbox to `Inbound`."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from drivers.errors import DriverError
from drivers.interface import DriverEvent, SmsDirect
from modemctl.errors import StoreError
from modemctl.fleet.inbound import Inbound
from modemctl.fleet.link import Link
from modemctl.fleet.mailbox import Mailbox
from modemctl.lifecycle import ModemEvent
from modemctl.model import Bay, Iccid
from modemctl.policy.numbers import NumberRules
from modemctl.store import Store
from modemctl.store.outcomes import LateResult, settle_late

_log = logging.getLogger(__name__)

_STORE_PAUSE: Final = 1.0
_SMS_TICK: Final = 60.0


class Receiver:
    """One bay's; `run` is its task. Works from `begin` to `end`, except while paused."""

    def __init__(
        self, store: Store, *, bay: Bay, numbers: NumberRules, mailbox: Mailbox, link: Link
    ) -> None:
        self._store = store
        self._bay = bay
        self._numbers = numbers
        self._mailbox = mailbox
        self._link = link
        self._inbound: Inbound | None = None
        self._runs = asyncio.Event()

    async def begin(self, iccid: Iccid) -> None:
        """A card is unlocked: store what lies in the modem, then take what comes.

        Raises:
            DriverError, StoreError: not begun.
        """
        inbound = Inbound(self._store, bay=self._bay, iccid=iccid, numbers=self._numbers)
        await inbound.resume()
        self._mailbox.is_listening = True
        await inbound.drain_storage(self._link.driver)
        self._inbound = inbound
        self._runs.set()

    def pause(self) -> None:
        """The link is in doubt: what comes waits."""
        self._runs.clear()

    async def end(self, cause: str) -> None:
        """The card or the modem is gone: calls under way are over."""
        self._runs.clear()
        self._mailbox.is_listening = False
        inbound, self._inbound = self._inbound, None
        if inbound is not None:
            try:
                await inbound.close(cause)
            except StoreError as error:  # closed when the bay begins again
                _log.warning("calls.not_closed", extra={"error": str(error)})

    async def settle_late(self) -> None:
        """Late answers to submits that the link dug up settle the doubt they left.

        Raises:
            StoreError: they wait for the next time.
        """
        while self._mailbox.late:
            late = LateResult(bay=self._bay, mr=self._mailbox.late[0].mr)
            settled = await self._store.write_in_set(settle_late, late)
            self._mailbox.late.popleft()
            _log.info("segment.late_answer", extra={"settled": settled is not None})

    async def run(self) -> None:
        """Pump until cancelled."""
        while True:
            await self._runs.wait()
            inbound = self._inbound
            if inbound is None:
                self._runs.clear()
                continue
            due = inbound.due_in()
            event = await self._mailbox.next_item(_SMS_TICK if due is None else due)
            try:
                await self._take(inbound, event)
            except DriverError as error:
                self._runs.clear()
                self._mailbox.interrupt(ModemEvent.OUT_OF_STEP, f"while receiving: {error}")

    async def _take(self, inbound: Inbound, event: DriverEvent | None) -> None:
        """Store one event, or do what is due; while the store fails, the event is kept."""
        while True:
            try:
                if event is None:
                    await inbound.tick(self._link.driver)
                else:
                    await inbound.handle(self._link.driver, event)
            except StoreError as error:
                _log.warning("inbound.store_failed", extra={"error": str(error)})
                await asyncio.sleep(_STORE_PAUSE)
                if event is None or isinstance(event, SmsDirect):
                    return  # kept by Inbound, or by the network
            else:
                return
