"""A bay in READY: sends what the dispatcher hands over, looks at its modem now and then."""

from __future__ import annotations

import asyncio
import dataclasses
import math
from collections.abc import Callable
from typing import Final

from drivers.errors import DriverError
from modemctl.errors import StoreError
from modemctl.fleet.asking import Asker
from modemctl.fleet.attention import Attention
from modemctl.fleet.breaking import Seat
from modemctl.fleet.checking import is_same_card
from modemctl.fleet.ground import Ground
from modemctl.fleet.health import Health
from modemctl.fleet.link import Link
from modemctl.fleet.moves import Interrupted
from modemctl.fleet.receiving import Receiver
from modemctl.fleet.recovering import Recovery
from modemctl.fleet.serving import Desk, Sender
from modemctl.lifecycle import ModemEvent
from modemctl.policy.breakers import BreakerState
from modemctl.store import modems
from modemctl.store.modems import Facts
from modemctl.store.wishes import Wish

_N_LOOKS: Final = 3
_LOOK_AGAIN: Final = 1.0  # seconds; a card may be busy for a moment


class Work:
    """One bay's. `facts` asks what is known of the modem, `learn` is told what is new."""

    def __init__(
        self,
        ground: Ground,
        *,
        link: Link,
        attention: Attention,
        receiver: Receiver,
        recovery: Recovery,
        wake: Callable[[], None],
        facts: Callable[[], Facts],
        learn: Callable[[Facts], None],
    ) -> None:
        self._ground = ground
        self._link = link
        self._attention = attention
        self._receiver = receiver
        self._recovery = recovery
        self._wake = wake
        self._facts = facts
        self._learn = learn
        self._confirmed_at = -math.inf  # of the loop's time
        self._asker: Asker | None = None
        self._health = Health(
            ground.bank.health_interval, mailbox=attention.mailbox, receiver=receiver
        )

    def breakers(self) -> dict[str, str]:
        """What each of the bay's breakers stands for, and its state; none without a card."""
        facts = self._facts()
        if facts.iccid is None:
            return {}
        states = self._ground.breakers.states(seat_of(facts))
        return {target.value: state.value for target, state in states.items()}

    def with_breakers(self, facts: Facts) -> Facts:
        """The facts with those breakers named that are not closed."""
        held = [one for one, state in self.breakers().items() if state != BreakerState.CLOSED]
        return dataclasses.replace(facts, breakers=tuple(held))

    def take_balance(self, wish: Wish) -> bool:
        """Ask the card's carrier, once the modem is idle; False where nobody works here now."""
        if self._asker is None:
            return False
        self._asker.take(wish)
        self._wake()
        return True

    async def run(self) -> None:
        """Work until the daemon stops.

        Raises:
            Interrupted, DriverError, StoreError: READY is left; every outcome is saved.
        """
        self._confirmed_at = -math.inf  # SEARCHING asked, but to save the change may take long
        left: Exception | None = None
        desk, driver = self._desk(), self._link.driver  # may raise, which the group would wrap
        async with asyncio.TaskGroup() as group:
            sender = Sender(desk, driver, group)
            asker = self._asker = self._new_asker(group)
            try:
                await self._serve(sender, asker)
            except (Interrupted, DriverError, StoreError) as error:
                left = error  # raised behind the group, which would wrap it
            finally:
                self._asker = None
                asker.stop()
                await sender.close()
                await asker.close()
        if left is not None:
            raise left

    def _new_asker(self, group: asyncio.TaskGroup) -> Asker:
        ground, facts = self._ground, self._facts()
        assert facts.iccid is not None, "READY has a card"
        return Asker(
            ground.store,
            ground.telemetry,
            self._link.driver,
            group,
            mailbox=self._attention.mailbox,
            iccid=facts.iccid,
        )

    def _desk(self) -> Desk:
        ground, attention, facts = self._ground, self._attention, self._facts()
        assert facts.iccid is not None, "READY has a card"
        return Desk(
            store=ground.store,
            dispatcher=ground.dispatcher,
            telemetry=ground.telemetry,
            rules=ground.rules,
            stops=ground.stops,
            mailbox=attention.mailbox,
            hubs=ground.hubs,
            gate=ground.breakers.gate(lambda: seat_of(self._facts())),
            bay=facts.bay,
            iccid=facts.iccid,
            wake=self._wake,
            pause=attention.idle,
            confirm=self._confirm_card,
            submit_timeout=ground.bank.submit_timeout,
            may_go_on=attention.goes_on,
        )

    async def _serve(self, sender: Sender, asker: Asker) -> None:
        loop, attention = asyncio.get_running_loop(), self._attention
        self._health.plan()
        while not attention.is_stopping:
            await self._receiver.settle_late()  # before the next submit makes it nobody's
            if loop.time() >= self._health.due_at:
                await self._check_health()
            if attention.is_paused or not sender.has_work:
                if not attention.is_paused:
                    sender.ask()
                asker.begin()
                resting = sender.rest_until
                wake_at = min(self._health.due_at, resting if resting > loop.time() else 1e18)
                await attention.look_up(wake_at)
                continue
            await sender.send_next()
            if sender.n_taken:
                self._recovery.note_health()
            if attention.has_wishes:
                await attention.look_up(0.0)
            attention.check()

    async def _confirm_card(self, max_age: float) -> None:
        """Make sure that the bay still holds its card: not every modem tells that it was changed.

        Nothing is asked where it was known within `max_age` seconds.

        Raises:
            Interrupted: it does not, or nobody can tell; what is there now is checked at once.
            DriverError: the modem failed.
        """
        iccid, attention = self._facts().iccid, self._attention
        assert iccid is not None, "READY has a card"
        attention.check()
        loop = asyncio.get_running_loop()
        if loop.time() < self._confirmed_at + max_age:
            return
        is_same = await is_same_card(self._link.driver, iccid)
        for _ in range(_N_LOOKS):
            if is_same is not None:
                break
            await attention.idle(loop.time() + _LOOK_AGAIN)
            is_same = await is_same_card(self._link.driver, iccid)
        attention.check()
        if not is_same:
            reason = "iccid_unreadable" if is_same is None else "not the card that was unlocked"
            attention.mailbox.interrupt(ModemEvent.SIM_READY, reason)
            raise Interrupted(ModemEvent.SIM_REMOVED, reason)
        self._confirmed_at = loop.time()

    async def _check_health(self) -> None:
        await self._confirm_card(0.0)
        before = self._facts()
        after = await self._health.check(self._link.driver, before)
        held = self.with_breakers(after)
        after = after if held == after else held
        self._learn(after)
        if after is not before:
            await self._ground.store.write_in_set(modems.save_facts, after)


def seat_of(facts: Facts) -> Seat:
    """Whose breakers a bay's work meets."""
    assert facts.iccid is not None, "READY has a card"
    return Seat(
        bay=facts.bay,
        modem=facts.imei or facts.bay,
        iccid=facts.iccid,
        carrier=facts.operator,
    )
