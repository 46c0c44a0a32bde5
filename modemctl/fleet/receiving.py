"""What comes in at one bay, stored beside the sending: a pump from the mailbox to `Inbound`.

An event belongs to the card that was in the bay when it came. The pump and whoever begins or ends
a card's stay take turns, so that no event of one card is handled as another's.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from drivers.errors import CommandError, DriverError
from drivers.interface import CallEvent, DriverEvent, SmsDirect, SmsStored, StorageFull
from modemctl.errors import StoreError
from modemctl.fleet.inbound import Inbound
from modemctl.fleet.judging import tells_card
from modemctl.fleet.link import Link
from modemctl.lifecycle import ModemEvent
from modemctl.model import Bay, Iccid
from modemctl.policy.numbers import NumberRules
from modemctl.store import Store
from modemctl.store.outcomes import LateResult, settle_late
from modemctl.telemetry import Telemetry

_log = logging.getLogger(__name__)

_STORE_PAUSE: Final = 1.0
_CARD_PAUSE: Final = 1.0
_N_REFUSALS: Final = 3  # of one slot, then the link is looked at
_SMS_TICK: Final = 60.0
_LONGEST_EVENT: Final = 900.0
"""Seconds that one event may take: a full storage is listed and deleted, slot by slot."""
_LAST_CHANCE: Final = 30.0
"""Seconds that an actor's end waits for a store that refuses what nobody else has."""


class Receiver:
    """One bay's; `run` is its task. Works from `begin` to `end`, except while paused."""

    def __init__(
        self,
        store: Store,
        telemetry: Telemetry,
        *,
        bay: Bay,
        numbers: NumberRules,
        link: Link,
    ) -> None:
        self._store = store
        self._telemetry = telemetry
        self._bay = bay
        self._numbers = numbers
        self._mailbox = link.mailbox
        self._link = link
        self._inbound: Inbound | None = None
        self._former: list[Inbound] = []  # of which the store has not taken all yet
        self._popped: DriverEvent | None = None
        self._turn = asyncio.Lock()
        self._is_running = False
        self._is_pumping = False
        self._roused = asyncio.Event()  # something to run, or to save

    async def begin(self, iccid: Iccid) -> None:
        """A card is unlocked: store what lies in the modem, then take what comes.

        Raises:
            DriverError, StoreError: not begun.
        """
        self._is_running = False
        async with self._turn:
            self._part("its modem began again")
            await self._save_former()
            inbound = Inbound(
                self._store, self._telemetry, bay=self._bay, iccid=iccid, numbers=self._numbers
            )
            await inbound.resume()
            self._mailbox.is_listening = True
            self._inbound = inbound
            await inbound.drain_storage(self._link.driver)
            self._is_running = True
            self._roused.set()

    def pause(self) -> None:
        """The link is in doubt: what comes waits."""
        self._is_running = False

    async def end(self, cause: str) -> None:
        """The card or the modem is gone: calls under way are over.

        What the store refuses is saved later by the pump; without one, this waits a while for it.
        """
        self._is_running = False
        self._mailbox.is_listening = False
        async with self._turn:
            self._part(cause)
            deadline = asyncio.get_running_loop().time() + _LAST_CHANCE
            while not await self._has_saved() and not self._is_pumping:
                if asyncio.get_running_loop().time() >= deadline:
                    _log.error("inbound.lost", extra={"reason": "the store was away at the end"})
                    return
                await asyncio.sleep(_STORE_PAUSE)
        self._roused.set()

    async def look_into_storage(self) -> None:
        """Take what lies in the modem though nothing announced it (the line may be lost).

        Raises:
            DriverError: the modem failed.
            StoreError: it stays where it is.
        """
        if self._turn.locked():
            return  # the pump is at it, or waits for the store: the next time
        async with self._turn:
            if self._inbound is not None and self._is_running:
                n_found = await self._inbound.drain_storage(self._link.driver)
                if n_found:
                    _log.info("inbox.found", extra={"bay": self._bay, "n_found": n_found})

    async def settle_late(self) -> None:
        """A late answer that the link dug up settles the doubt that its submit left.

        Raises:
            StoreError: it waits for the next time.
        """
        while (late := self._mailbox.late) is not None:
            result = LateResult(
                segment_id=late.asked.segment_id, token=late.asked.token, mr=late.mr
            )
            settled = await self._store.write_in_set(settle_late, result)
            if self._mailbox.late is late:
                self._mailbox.settle(late.mr)
            _log.info("segment.late_answer", extra={"settled": settled is not None})

    async def run(self) -> None:
        """Pump until cancelled."""
        self._is_pumping = True
        try:
            while True:
                await self._roused.wait()
                if self._is_running:
                    await self._pump()
                elif self._former:
                    async with self._turn:
                        await self._has_saved()
                    await asyncio.sleep(_STORE_PAUSE)
                else:
                    self._roused.clear()
        finally:
            self._is_pumping = False

    async def _pump(self) -> None:
        """Handle one event, or what is due by time."""
        if self._popped is None:
            due = None if self._inbound is None else self._inbound.due_in()
            self._popped = await self._mailbox.next_item(_SMS_TICK if due is None else due)
        async with self._turn:
            inbound = self._inbound
            if not self._is_running or inbound is None:
                return  # the card may have changed: who begins or ends its stay takes the event
            event, self._popped = self._popped, None
            try:
                await self._take(inbound, event)
            except DriverError as error:
                self._is_running = False
                move = ModemEvent.SIM_REMOVED if tells_card(error) else ModemEvent.OUT_OF_STEP
                self._mailbox.interrupt(move, f"while receiving: {error}")

    async def _take(self, inbound: Inbound, event: DriverEvent | None) -> None:
        """Store one event, or do what is due; while the store fails, the event is kept."""
        n_refused = 0
        while self._is_running:
            try:
                async with asyncio.timeout(_LONGEST_EVENT) as limit:
                    if event is None:
                        await inbound.tick(self._link.driver)
                    else:
                        await inbound.handle(self._link.driver, event)
            except TimeoutError:
                if not limit.expired():
                    raise
                self._is_running = False
                self._mailbox.interrupt(ModemEvent.WATCHDOG, "receiving stood still")
            except CommandError as error:
                # A card that is busy for a moment is no reason to leave READY.
                n_refused += 1
                if (
                    n_refused == _N_REFUSALS
                    or tells_card(error)
                    or not isinstance(event, SmsStored | StorageFull)
                ):
                    raise
                await asyncio.sleep(_CARD_PAUSE)
            except StoreError as error:
                _log.warning("inbound.store_failed", extra={"error": str(error)})
                await asyncio.sleep(_STORE_PAUSE)
                if event is None or isinstance(event, SmsDirect | CallEvent):
                    return  # kept by Inbound, or by the network
            else:
                return

    def _part(self, cause: str) -> None:
        """What came until now is the former card's; its calls are over."""
        former, self._inbound = self._inbound, None
        waiting = self._mailbox.take_items()
        if self._popped is not None:
            waiting = [self._popped, *waiting]
            self._popped = None
        if former is None:
            return
        for event in waiting:
            former.keep(event)
        former.end_calls(cause)
        self._former.append(former)

    async def _has_saved(self) -> bool:
        try:
            await self._save_former()
        except StoreError as error:
            _log.warning("inbound.store_failed", extra={"error": str(error)})
            return False
        return True

    async def _save_former(self) -> None:
        """Store what former cards left in memory.

        Raises:
            StoreError: the rest is kept.
        """
        while self._former:
            await self._former[0].save()
            self._former.pop(0)
