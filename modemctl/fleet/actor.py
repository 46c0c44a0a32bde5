"""One bay's actor: walks the state table of design §5 literally, sends while it is READY.

Beside the walker a `Receiver` stores what comes in; both speak through one driver, whose channel
lets one command run at a time.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from drivers.errors import CommandError, CommandTimeout, DriverError, ProtocolError
from drivers.interface import SimState
from modemctl.errors import StoreError
from modemctl.fleet.admission import refused
from modemctl.fleet.attention import Attention
from modemctl.fleet.checking import (
    CheckOutcome,
    Fit,
    Unfit,
    check_card,
    is_same_card,
    policy_of,
    told,
)
from modemctl.fleet.ground import Ground
from modemctl.fleet.judging import judge
from modemctl.fleet.link import Link
from modemctl.fleet.mailbox import Mailbox
from modemctl.fleet.moves import Interrupted, Moved
from modemctl.fleet.places import Place
from modemctl.fleet.progress import Progress
from modemctl.fleet.receiving import Receiver
from modemctl.fleet.recovering import Recovery
from modemctl.fleet.samples import identified, sample_of
from modemctl.fleet.saving import STORE_PAUSE, save
from modemctl.fleet.searching import Search
from modemctl.fleet.unlocking import Unlocked, unlock
from modemctl.fleet.waiting import SimWait
from modemctl.fleet.working import Work
from modemctl.lifecycle import ModemEvent, ModemState, advance
from modemctl.policy.cards import MOVED_CARD
from modemctl.policy.pin_guard import StopReason
from modemctl.store import modems
from modemctl.store.modems import Facts, StateChange
from modemctl.store.permits import Lists
from modemctl.store.wishes import Wish
from modemctl.telemetry import ModemSample, log_context

_log = logging.getLogger(__name__)

_M, _E = ModemState, ModemEvent
_NO_CARD: Final = frozenset({_M.ABSENT, _M.REFUSED, _M.QUARANTINED})  # that may receive
_OF_A_STOP: Final = frozenset({_E.PORT_GONE, _E.LADDER_SPENT})
_END_LIMIT: Final = 180.0  # seconds from the walk's end; what came in is saved for 30 of them


class Actor:
    """Lives from a port's appearance to its end; `run` returns when the port is gone."""

    def __init__(self, ground: Ground, place: Place) -> None:
        self._ground = ground
        self._bay = bay = place.bay
        self._settle(place)
        self._usb = place.usb
        self._state = ModemState.ABSENT
        self._reason = ""
        self._facts = Facts(bay=bay, port=next(iter(place.addresses), ""))
        self._wake = asyncio.Event()
        self._mailbox = Mailbox(on_unknown=self._count_unknown, on_wake=self._wake.set)
        self._link = Link(
            place,
            probe=ground.probe,
            budget=ground.start_budget.turn(place),
            mailbox=self._mailbox,
        )
        self._receiver = Receiver(
            ground.store, ground.telemetry, bay=bay, numbers=ground.numbers, link=self._link
        )
        self._recovery = Recovery(
            ground.store,
            ground.telemetry,
            bay=bay,
            link=self._link,
            receiver=self._receiver,
            reopen=self._open,
            tools=ground.recovery_tools,
        )
        telemetry = ground.telemetry
        self._progress = Progress(
            n_answers=lambda: self._link.n_answers,
            is_excused=lambda: self._link.waits_for_turn or not ground.store.journal.is_healthy,
            on_hang=lambda state: telemetry.count("modemctl_hangs_total", state=state.value),
            on_stuck=self._set_over,
            submit_timeout=ground.bank.submit_timeout,
        )
        self._attention = Attention(
            ground.store,
            bay=bay,
            link=self._link,
            receiver=self._receiver,
            progress=self._progress,
            wake=self._wake,
            state=lambda: self._state,
            on_reset=lambda: self._recovery.want_restart(is_in_step=True),
            on_balance=self._take_balance,
        )
        self._work = Work(
            ground,
            link=self._link,
            attention=self._attention,
            receiver=self._receiver,
            recovery=self._recovery,
            wake=self._wake.set,
            facts=lambda: self._facts,
            learn=self._learn,
        )
        self._sim_wait = SimWait(self._attention, self._link)
        self.over = asyncio.Event()
        """Set where nobody need wait for `run` any more though it goes on: it will never end."""
        self.is_deserted = False
        """Whether another actor has the bay: should `run` end after all, nothing here counts."""

    # ---------------------------------------------------------------- what others see and say

    @property
    def sample(self) -> ModemSample:
        """The bay as a scrape shows it."""
        return sample_of(
            self._facts,
            self._state,
            is_paused=self._attention.is_paused,
            breakers=self._work.breakers(),
        )

    @property
    def facts(self) -> Facts:
        """What is known of the modem."""
        return self._facts

    @property
    def state(self) -> ModemState:
        """Where the bay stands."""
        return self._state

    @property
    def reason(self) -> str:
        """Why it stands there."""
        return self._reason

    @property
    def was_kept_out(self) -> bool:
        """Whether the bay's port was there, and could not be had."""
        return self._link.is_kept_out

    def set_paused(self, *, is_paused: bool) -> None:
        """A person paused the bay or lets it run: seen before the next segment."""
        self._attention.set_paused(is_paused=is_paused)

    def call(self) -> None:
        """Somebody wants something of the bay."""
        self._attention.call()

    def follow(self, place: Place) -> None:
        """The bay's ports changed: what is gone is left at once, what is there is opened next."""
        self._link.follow(place)
        self._wake.set()  # where the link is closed, nobody else tells of another modem
        self._settle(place)
        if not place.addresses:
            self._mailbox.interrupt(_E.PORT_GONE, place.note)
        elif place.usb != self._usb:  # the news of its absence was overtaken
            self._mailbox.interrupt(_E.PORT_GONE, "another device is in its socket")

    def _settle(self, place: Place) -> None:
        usb, hubs = place.usb, self._ground.hubs
        if usb is None:
            hubs.settle(self._bay, None)
        else:
            hubs.settle(self._bay, usb.hub, usb.folder.name)

    def tell_card(self, unfit: str | None) -> None:
        """The register changed: why this bay's card may not be used now, None where it may."""
        if unfit is not None and self._state in {_M.SEARCHING, _M.READY}:
            self._mailbox.interrupt(_E.UNFIT, unfit)
        elif unfit is None and self._state is _M.QUARANTINED:
            self._mailbox.interrupt(_E.RELEASED, "the register lets the card be used")
        elif self._state is _M.QUARANTINED and unfit != self._reason:
            self._mailbox.interrupt(_E.RELEASED, "the register has another reason now")

    def tell_admission(self, refusal: str | None) -> None:
        """The admission list changed: why this bay's modem is not driven, None where it may be."""
        if refusal is not None and self._state is not _M.REFUSED:
            self._mailbox.interrupt(_E.NOT_ADMITTED, refusal)
        elif refusal is None and self._state is _M.REFUSED:
            self._mailbox.interrupt(_E.ADMITTED, "the modem is admitted")

    def stop(self) -> None:
        """End in order: the submit in flight to its end, then close the port."""
        self._attention.stop()
        self._link.abandon()

    # ---------------------------------------------------------------- the walk

    async def run(self) -> None:
        """Walk until the port is gone or `stop` was called.

        Raises: whatever was not foreseen; the bay's guard starts a new actor.
        """
        with log_context(bay=self._bay):
            try:
                async with asyncio.TaskGroup() as group:
                    pump = group.create_task(self._receiver.run(), name=f"pump {self._bay}")
                    try:
                        await self._walk()
                    finally:
                        end = asyncio.get_running_loop().call_later(_END_LIMIT, self._set_over)
                        pump.cancel()
            finally:
                await self._link.close()
                if not self.is_deserted:
                    self._ground.hubs.leave(self._bay)
                await self._receiver.end("the link was closed")
                end.cancel()

    async def desert(self) -> None:
        """Leave the modem to another actor, whatever still hangs here: its link works no more."""
        self.is_deserted = True
        self._attention.stop()
        self._link.abandon()
        await self._link.close()

    async def _walk(self) -> None:
        await self._move(Moved(event=_E.PORT_SEEN))
        while self._state is not _M.ABSENT and not self._attention.is_stopping:
            moved = await self._stay()
            if moved is not None and self._is_news(moved):
                await self._move(moved)

    def _is_news(self, moved: Moved) -> bool:
        """Whether this bay's modem brought it about, not a planned stop: that is no failure."""
        is_of_stop = self._attention.is_stopping and moved.event in _OF_A_STOP
        return not is_of_stop and not self.is_deserted

    async def _stay(self) -> Moved | None:
        """One stay in the present state; what its failure means is said here, once."""
        try:
            return await self._progress.watch(self._state, self._step)
        except Interrupted as interrupt:
            return Moved(event=interrupt.event, reason=interrupt.reason)
        except StoreError as error:
            _log.warning("actor.store_failed", extra={"error": str(error)})
            await asyncio.sleep(STORE_PAUSE)
            return None
        except DriverError as error:
            return self._judge(error)

    def _step(self) -> Awaitable[Moved | None]:
        steps: dict[ModemState, Callable[[], Awaitable[Moved | None]]] = {
            _M.PROBING: self._probing,
            _M.REFUSED: self._refused,
            _M.STARTING: self._starting,
            _M.CHECKING: self._checking,
            _M.QUARANTINED: self._quarantined,
            _M.UNLOCKING: self._unlocking,
            _M.SIM_WAIT: self._waiting_for_sim,
            _M.SEARCHING: self._searching,
            _M.READY: self._ready,
            _M.RECOVERING: self._recovering,
            _M.FAILED: self._failed,
        }
        return steps[self._state]()

    def _judge(self, error: DriverError) -> Moved | None:
        """Count a driver's error; what it means in the present state, None where nothing."""
        telemetry, family = self._ground.telemetry, self._family
        if isinstance(error, CommandTimeout):
            telemetry.count("modemctl_command_timeouts_total", family=family, phase=error.phase)
        elif isinstance(error, ProtocolError | CommandError):
            telemetry.count("modemctl_protocol_errors_total", family=family)
        moved = judge(error, self._state, has_port=self._link.has_port())
        if moved is None:
            _log.warning("actor.error_without_link", extra={"error": str(error)})
        return moved

    async def _move(self, moved: Moved) -> None:
        before = self._state
        self._state = advance(before, moved.event)
        self._reason = moved.reason
        if moved.event in {_E.SIM_REMOVED, _E.SIM_MISSING}:
            self._facts = dataclasses.replace(self._facts, iccid=None)
        if self._state in {_M.RECOVERING, _M.STARTING}:
            self._receiver.pause()
        elif moved.event is _E.SIM_REMOVED or self._state in _NO_CARD:
            await self._receiver.end(moved.reason)
        if moved.event in {_E.UNFIT, _E.NOT_ADMITTED}:
            policy = policy_of(moved.reason)
            self._ground.telemetry.count("modemctl_policy_refusals_total", policy=policy)
        facts = {"before": before.value, "state": self._state.value}
        _log.info(
            "modem.moved", extra={**facts, "event": moved.event.value, "reason": moved.reason}
        )
        self._facts = self._work.with_breakers(self._facts)
        change = StateChange(
            facts=self._facts,
            before=before,
            after=self._state,
            event=moved.event.value,
            reason=moved.reason,
        )
        await save(lambda: self._ground.store.write_in_set(modems.save_changes, change))

    # ---------------------------------------------------------------- states without a card

    async def _probing(self) -> Moved:
        """Open the port, find out who answers."""
        await self._open()
        return Moved(event=_E.IDENTIFIED)

    async def _require_admitted(self) -> None:
        """See that the modem may be driven: behind each opening, and before each start.

        Raises:
            Interrupted: it may not.
            StoreError: nobody can tell now.
        """
        ground = self._ground
        why = await refused(
            ground.store, ground.bank.modems, self._facts, telemetry=ground.telemetry
        )
        if why is not None:
            raise Interrupted(_E.NOT_ADMITTED, why)

    async def _open(self) -> None:
        await self._link.open()
        self._note_identity()
        await self._require_admitted()

    def _note_identity(self) -> None:
        self._facts = identified(self._facts, self._link.address, self._link.driver)

    async def _refused(self) -> Moved | None:
        """The modem is left alone until it is admitted or gone (CC-01)."""
        await self._link.close()
        left = self._link.left()
        if left is None:
            loop, interval = asyncio.get_running_loop(), self._ground.bank.rescan_interval
            await self._attention.look_up(loop.time() + interval)
        return left

    async def _recovering(self) -> Moved:
        """Climb the ladder; without coverage nobody comes here."""
        return await self._recovery.run(
            self._reason, family=self._family, may_go_on=self._attention.walks_on
        )

    async def _failed(self) -> Moved:
        """Rest long; a person's wish shortens it."""
        await self._link.close()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._recovery.cool_down
        left = self._link.left()
        while left is None and loop.time() < deadline and not self._attention.is_stopping:
            await self._attention.look_up(deadline)
            left = self._link.left()
        return left or Moved(event=_E.RETRY, reason="the cool-down is over")

    async def _starting(self) -> Moved:
        """Init sequence that needs no card; is one there?"""
        self._note_identity()  # whoever restarted under us may have come back as another one
        await self._require_admitted()
        await self._link.initialise()
        if await self._link.driver.sim_state() is SimState.ABSENT:
            return Moved(event=_E.SIM_MISSING, reason="no card")
        return Moved(event=_E.SIM_PRESENT)

    async def _waiting_for_sim(self) -> Moved | None:
        """The modem is well, or so it seems; the card is not usable."""
        moved = await self._sim_wait.stay(self._reason)
        if moved is not None and moved.event is _E.WATCHDOG:
            self._recovery.want_restart(is_in_step=True)
        return moved

    # ---------------------------------------------------------------- states with a card

    async def _checking(self) -> Moved:
        """Which card is it, and may it be used?"""
        outcome = await self._check_card()
        iccid = outcome.iccid if isinstance(outcome, Fit | Unfit) else None
        self._facts = dataclasses.replace(self._facts, iccid=iccid)
        match outcome:
            case Fit():
                return Moved(event=_E.FIT)
            case Unfit():
                if outcome.reason == MOVED_CARD.reason:
                    self._ground.telemetry.count("modemctl_moves_total", kind="card")
                return Moved(event=_E.UNFIT, reason=told(outcome))
            case _:
                return Moved(event=_E.UNREADABLE, reason=outcome.reason)

    async def _check_card(self) -> CheckOutcome:
        ground = self._ground
        card = await check_card(self._link.driver, ground.store, self._bay, ground.bank.cards)
        if isinstance(card, Fit) and card.has_moved:
            ground.telemetry.count("modemctl_moves_total", kind="card")
        return card

    async def _quarantined(self) -> Moved | None:
        """The card gets no PIN and sends nothing until the register or a person says otherwise."""
        interval = self._ground.bank.health_interval
        await self._attention.look_up(asyncio.get_running_loop().time() + interval)
        iccid = self._facts.iccid
        assert iccid is not None, "only a card that was read is set aside"
        is_same = await is_same_card(self._link.driver, iccid)
        if is_same is False:
            return Moved(event=_E.RELEASED, reason="another card was put in")
        if is_same is None and await self._link.driver.sim_state() is SimState.ABSENT:
            return Moved(event=_E.SIM_REMOVED, reason="the card was taken out")
        return None

    async def _unlocking(self) -> Moved:
        """PIN guard and lock; then routing and what lies in the storage."""
        iccid = self._facts.iccid
        assert iccid is not None, "CHECKING found it"
        self._attention.check()  # the card may have gone while the change was being saved
        ground, driver = self._ground, self._link.driver
        outcome = await unlock(
            driver,
            ground.store,
            iccid,
            self._bay,
            ground.sims,
            telemetry=ground.telemetry,
            may_wait=self._may_wait,
            on_lost=self._recovery.want_restart,
            quiet=lambda: ground.hubs.flight(self._bay),
            lists=self._lists(),
        )
        if not isinstance(outcome, Unlocked):
            if outcome.reason == StopReason.NOT_ADMITTED:
                await self._require_admitted()
            elif outcome.reason == StopReason.UNFIT:  # the check says why, and sets it aside
                self._mailbox.interrupt(_E.SIM_READY, "what may be used has changed")
            return Moved(event=_E.STOPPED, reason=outcome.reason)
        if outcome.is_pin_unsure and iccid not in ground.proved:
            ground.proved.add(iccid)  # once: a modem may keep its card open over a restart
            self._recovery.want_restart(is_in_step=True)
            return Moved(event=_E.OUT_OF_STEP, reason="its next start tells which PIN holds")
        await driver.configure_messaging()
        await self._receiver.begin(iccid)
        self._sim_wait.rest()
        return Moved(event=_E.DONE)

    def _lists(self) -> Lists:
        bank = self._ground.bank
        return Lists(imei=self._facts.imei, cards=bank.cards, modems=bank.modems)

    async def _may_wait(self) -> bool:
        await self._attention.look_up(0.0)
        return not self._attention.is_stopping

    async def _searching(self) -> Moved | None:
        """Wait for the network; no coverage is nobody's fault."""
        search = Search(
            self._attention,
            self._link,
            check_card=self._check_card,
            longest_poll=self._ground.bank.health_interval,
            facts=lambda: self._facts,
            learn=self._learn,
        )
        return await search.run()

    async def _ready(self) -> Moved | None:
        """Send what the dispatcher hands over; look at signal and registration now and then."""
        await self._work.run()
        return None

    def _take_balance(self, wish: Wish) -> bool:
        return self._work.take_balance(wish)

    def _learn(self, facts: Facts) -> None:
        self._facts = facts

    def _set_over(self) -> None:
        self.over.set()

    def _count_unknown(self) -> None:
        self._ground.telemetry.count("modemctl_unknown_urcs_total", family=self._family)

    @property
    def _family(self) -> str:
        return self._facts.family or "none"
