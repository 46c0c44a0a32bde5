"""A bay out of step: up the ladder, until its modem answers again or no step is left."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, assert_never

from drivers.errors import DriverError, LinkError, OutOfStep
from modemctl.config.settings import HubPower
from modemctl.errors import StoreError
from modemctl.fleet import strangers, usb
from modemctl.fleet.hubs import HubBusy, Hubs
from modemctl.fleet.ladder import TABLE, USB_STEPS, Ladders, Step
from modemctl.fleet.link import Link
from modemctl.fleet.moves import Moved
from modemctl.fleet.places import UsbDevice
from modemctl.fleet.receiving import Receiver
from modemctl.fleet.saving import save
from modemctl.fleet.usb import UsbRefused
from modemctl.fleet.usb_notes import OffNotes
from modemctl.lifecycle import ModemEvent
from modemctl.model import Bay
from modemctl.store import Store, ladder_steps
from modemctl.telemetry import Telemetry

_log = logging.getLogger(__name__)

_SIBLING_PATIENCE: Final = 60.0
"""Seconds that a USB step waits for siblings' segments in flight; most take a few."""

_GLANCE: Final = 0.5  # seconds between two looks whether the walk goes on
_KEEPS_PLUGGED: Final = frozenset({Step.REALIGN, Step.REOPEN})
_ANEW: Final = Moved(event=ModemEvent.PORT_GONE, reason="it was plugged in anew")
_DRIVES_OFF: Final = frozenset({Step.RESET, Step.REBIND})  # after which a modem may stay away


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What the recoveries of a node share: ladders and budgets, hubs, how ports are powered."""

    ladders: Ladders
    hubs: Hubs
    hub_power: HubPower
    off_notes: OffNotes


class Recovery:
    """One bay's. What the store fails to take is no reason to climb: only the modem is judged."""

    def __init__(
        self,
        store: Store,
        telemetry: Telemetry,
        *,
        bay: Bay,
        link: Link,
        receiver: Receiver,
        reopen: Callable[[], Awaitable[None]],
        tools: Tools,
    ) -> None:
        self._store = store
        self._telemetry = telemetry
        self._bay = bay
        self._link = link
        self._receiver = receiver
        self._reopen = reopen
        self._tools = tools
        self._ladder = tools.ladders.of(bay)
        self._wants_restart = False
        self._is_in_step = False

    @property
    def cool_down(self) -> float:
        """Seconds to rest once the ladder is spent."""
        return self._ladder.cool_down

    def note_health(self) -> None:
        """The modem works: next time from the lowest step."""
        self._ladder.rest()

    def want_restart(self, *, is_in_step: bool = False) -> None:
        """The next recovery begins with a restart: gentler steps do not help.

        `is_in_step`: the modem answers well and is restarted for its card's sake. That is charged
        to the budget, but the ladder is not climbed for it.
        """
        self._wants_restart, self._is_in_step = True, is_in_step

    async def run(self, reason: str, *, family: str, may_go_on: Callable[[], bool]) -> Moved:
        """Climb step by step; how it ended. `may_go_on` is asked before each further step."""
        wants_restart, self._wants_restart = self._wants_restart, False
        if wants_restart and self._is_in_step:
            moved = await self._restart(reason, family=family, may_go_on=may_go_on)
            if moved is not None:
                return moved
        elif wants_restart:
            self._ladder.skip_to(Step.RESET, self._now())
        return await self._run(reason, family=family, may_go_on=may_go_on)

    async def _restart(
        self, reason: str, *, family: str, may_go_on: Callable[[], bool]
    ) -> Moved | None:
        """Restart a modem that is in step; None where it answers no more."""
        step = Step.RESET
        refusal = self._tools.ladders.refusal(step, self._bay, None, self._now())
        if refusal is not None or not await self._prepare(step, None, may_go_on):
            await self._note_skip(step, reason, "budget", refusal or "the walk ends")
            return Moved(event=ModemEvent.RECOVERED, reason="not restarted")
        outcome = await self._climb(step, self._link.usb, None, reason)
        assert outcome is not None, "only USB steps are skipped"
        await self._note(step, outcome.error, reason, family, None)
        is_back = outcome.error is None
        return Moved(event=ModemEvent.RECOVERED, reason=step.value) if is_back else None

    async def _run(self, reason: str, *, family: str, may_go_on: Callable[[], bool]) -> Moved:
        device = self._link.usb  # while it is off the bus, its place tells nothing of it
        arrival = self._link.arrival
        while (step := self._ladder.climb(self._now(), offered=self._offered(device))) is not None:
            hub = None if device is None or step not in USB_STEPS else device.hub
            refusal = self._tools.ladders.refusal(step, self._bay, hub, self._now())
            if refusal is not None:
                await self._note_skip(step, reason, "budget", refusal)
                continue
            if not await self._prepare(step, hub, may_go_on):
                break
            if self._link.has_port() and self._link.arrival != arrival:
                return _ANEW  # another modem, to which nothing of this was due
            outcome = await self._climb(step, device, hub, reason)
            if outcome is None:
                continue
            if step not in _KEEPS_PLUGGED:
                arrival = self._link.arrival
            error = outcome.error
            await self._note(step, error, reason, family, hub)
            if error is None:
                return Moved(event=ModemEvent.RECOVERED, reason=step.value)
            is_gone = isinstance(error, LinkError) and not self._link.has_port()
            reason = error.reason if isinstance(error, LinkError) and is_gone else str(error)
            if is_gone and not self._may_wake_up(step, device):
                break
        event = ModemEvent.LADDER_SPENT if self._link.has_port() else ModemEvent.PORT_GONE
        return Moved(event=event, reason=reason)

    def _may_wake_up(self, step: Step, device: UsbDevice | None) -> bool:
        """Whether a modem that our own step drove off the bus may come back by its port's power."""
        return step in _DRIVES_OFF and Step.POWER in self._offered(device)

    async def _prepare(self, step: Step, hub: str | None, may_go_on: Callable[[], bool]) -> bool:
        """Charge the budgets, keep the pause before a step; False where the walk ends meanwhile."""
        ladders, loop = self._tools.ladders, asyncio.get_running_loop()
        until = loop.time() + ladders.pause(step, self._bay, self._now())
        ladders.note(step, self._bay, hub, self._now())
        while may_go_on():
            left = until - loop.time()
            if left <= 0:
                return True
            await asyncio.sleep(min(left, _GLANCE))
        return False

    def _offered(self, device: UsbDevice | None) -> set[Step]:
        offered = {Step.REOPEN, Step.RESET}
        if self._link.is_open:
            offered.add(Step.REALIGN)
        if device is not None:
            offered.add(Step.REBIND)
            if self._tools.hub_power is not HubPower.OFF:
                offered.add(Step.POWER)
        return offered

    async def _climb(
        self, step: Step, device: UsbDevice | None, hub: str | None, reason: str
    ) -> _Outcome | None:
        """Take one step, within its limit; None where it had to be skipped."""
        limit = TABLE[step].limit
        try:
            async with asyncio.timeout(limit) as cut:
                await self._take(step, device, reason)
        except TimeoutError:
            if not cut.expired():
                raise
            return _Outcome(error=OutOfStep(f"{step.value} took longer than {limit:g} s"))
        except DriverError as error:
            return _Outcome(error=error)
        except HubBusy as busy:
            self._tools.ladders.take_back(step, self._bay, hub)
            await self._note_skip(step, reason, "sibling", str(busy))
            return None
        except UsbRefused as refused:
            if refused.has_no_rights:
                self._tools.ladders.take_back(step, self._bay, hub)
            await self._note_refused(step, reason, refused, hub)
            return None
        try:
            await self._receiver.settle_late()
        except StoreError as error:  # it is kept, and saved before the next submit
            _log.warning("actor.store_failed", extra={"error": str(error)})
        return _Outcome(error=None)

    async def _take(self, step: Step, device: UsbDevice | None, reason: str) -> None:
        match step:
            case Step.REALIGN:
                await self._link.realign()
            case Step.REOPEN:
                await self._reopen()
            case Step.RESET:
                await self._link.restart(self._reopen)
            case Step.REBIND | Step.POWER:
                assert device is not None, "such a step was not offered"
                await self._shake(step, device, reason)
            case _:
                assert_never(step)

    async def _shake(self, step: Step, device: UsbDevice, reason: str) -> None:
        """A USB step: the port is closed first, so that it comes back under its old number."""
        tools = self._tools
        async with tools.hubs.shaking(self._bay, device.hub, patience=_SIBLING_PATIENCE):
            if step is Step.POWER:
                await strangers.require_none(device, tools.hubs.devices())
            await self._store_step(step, ladder_steps.BEGUN, reason, "", hub=device.hub)
            await self._link.close()
            if step is Step.REBIND:
                await usb.rebind(device, tools.off_notes)
            else:
                await usb.cycle_power(device, tools.hub_power, tools.off_notes)
        await self._link.come_back()

    async def _note(
        self, step: Step, error: DriverError | None, reason: str, family: str, hub: str | None
    ) -> None:
        outcome = "recovered" if error is None else "failed"
        after = outcome if error is None else str(error)
        self._telemetry.count("modemctl_recoveries_total", family=family, step=step.value)
        if step is Step.REALIGN:
            self._telemetry.count("modemctl_realignments_total", family=family, outcome=outcome)
        _log.warning("modem.ladder", extra={"step": step.value, "before": reason, "after": after})
        await self._store_step(step, outcome, reason, after, hub=hub)

    async def _note_skip(
        self, step: Step, reason: str, why: str, after: str, hub: str | None = None
    ) -> None:
        self._telemetry.count("modemctl_recovery_skips_total", step=step.value, reason=why)
        _log.info("modem.ladder_skip", extra={"step": step.value, "before": reason, "why": after})
        await self._store_step(step, ladder_steps.SKIPPED, reason, after, hub=hub)

    async def _note_refused(
        self, step: Step, reason: str, refused: UsbRefused, hub: str | None
    ) -> None:
        """A USB step that could not be done; the lack of rights is said once, for it stays."""
        if refused.has_no_rights and self._tools.ladders.is_first_lack(step):
            facts = {"step": step.value, "reason": refused.reason, "cure": "docs/install.md"}
            _log.warning("modem.ladder_rights", extra=facts)
        why = "rights" if refused.has_no_rights else "usb"
        not_taken = hub if refused.has_no_rights else None
        await self._note_skip(step, reason, why, refused.reason, not_taken)

    async def _store_step(
        self, step: Step, outcome: str, before: str, after: str, *, hub: str | None = None
    ) -> None:
        taken = ladder_steps.LadderStep(
            bay=self._bay, step=step.value, outcome=outcome, before=before, after=after, hub=hub
        )
        await save(lambda: self._store.write_in_set(ladder_steps.note, taken))

    def _now(self) -> float:
        return self._store.clock.monotonic()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    """A step that was taken; `error` is None where the modem answers again."""

    error: DriverError | None
