"""One guarded actor per bay: starts actors anew, tells them what changed.

A missing or held port is a state of its bay, never the end of the daemon.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Final, TypeVar

from modemctl.errors import StoreError
from modemctl.fleet import admission
from modemctl.fleet.actor import Actor
from modemctl.fleet.bay_names import BayNames
from modemctl.fleet.checking import verdicts
from modemctl.fleet.discovery import Discovery, Places
from modemctl.fleet.ground import Ground
from modemctl.fleet.ladder import HOUR, Step
from modemctl.fleet.places import Place
from modemctl.fleet.samples import absent_sample
from modemctl.fleet.seats import Patience, Seat
from modemctl.fleet.usb import give_back
from modemctl.lifecycle import ModemState
from modemctl.model import Bay, Iccid, Topic
from modemctl.store import Connection, Store, Tx, ladder_steps, modems, sweeps, wishes
from modemctl.store.modems import ModemRow
from modemctl.telemetry import BankSnapshot, ModemSample

_log = logging.getLogger(__name__)

_SLOW_POLL: Final = 5.0  # covers a lost wake-up
_STOP_LIMIT: Final = 200.0  # a submit in flight may take 180 s
_LAST_LIMIT: Final = 10.0  # seconds for an actor that was cut off; then the end waits no more
_WISH_LIMIT: Final = 120.0
_STEPS: Final = {step.value: step for step in Step}
_UNPLUGGED: Final = "no port"

ResultT = TypeVar("ResultT")


class Supervisor:
    """The fleet of one node; `run` is its task."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._store: Store = ground.store
        self._seats: dict[Bay, Seat] = {}
        self._guards: list[asyncio.Task[None]] = []
        self._lives: set[asyncio.Task[bool]] = set()
        self._places: Places | None = None
        self._missing: Sequence[ModemSample] = ()
        self._has_looked = asyncio.Event()
        self._stop = asyncio.Event()
        for kind in ("card", "modem"):  # from 0 on: an alert sees the first one
            ground.telemetry.count("modemctl_moves_total", 0, kind=kind)

    def snapshot(self) -> BankSnapshot:
        """The bays as a scrape shows them."""
        samples = [actor.sample for actor in self._actors.values()]
        told = {one.bay for one in samples}
        samples += [one for one in self._missing if one.bay not in told]
        return BankSnapshot(modems=samples)

    @property
    def _actors(self) -> Mapping[Bay, Actor]:
        found = ((bay, seat.actor) for bay, seat in tuple(self._seats.items()))
        return {bay: actor for bay, actor in found if actor is not None}

    @property
    def has_left_behind(self) -> bool:
        """Whether an actor hangs that nothing ends: the event loop cannot be closed in order."""
        return bool(self._lives)

    def stop(self) -> None:
        """End in order: no new leases, submits in flight to their end, ports closed."""
        self._ground.dispatcher.stop()
        self._stop.set()
        for seat in self._seats.values():
            seat.hurry()
            if seat.actor is not None:
                seat.actor.stop()

    async def run(self) -> None:
        """Supervise until `stop`; returns when every port is closed."""
        await self._remember_steps()
        try:
            await self._supervise()
        finally:
            await self._end_lives()

    async def _supervise(self) -> None:
        bank = self._ground.bank
        async with asyncio.TaskGroup() as group:
            names = BayNames(self._store, lambda places: self._take_places(places, group))
            discovery = Discovery(bank.ports, interval=bank.rescan_interval, tell=names.hear)
            helpers = [
                group.create_task(discovery.run(), name="discovery"),
                group.create_task(names.run(), name="bay names"),
                group.create_task(give_back(self._ground.off_notes), name="what was left off"),
                group.create_task(self._watch_missing(), name="missing ports"),
                group.create_task(self._watch_stops(), name="stop watch"),
                group.create_task(self._watch_pauses(), name="pause watch"),
                group.create_task(self._watch_wishes(), name="wish watch"),
                group.create_task(self._watch_register(), name="register watch"),
                group.create_task(self._watch_admissions(), name="admission watch"),
            ]
            await self._stop.wait()
            helpers[0].cancel()
            helpers[1].cancel()
            await self._end_guards()
            for task in helpers:
                task.cancel()

    async def _remember_steps(self) -> None:
        """The ladder's budgets outlive a restart: a daemon that falls often resets no more."""
        now, store = self._store.clock.now(), self._store
        span, moment = timedelta(seconds=HOUR), store.clock.monotonic()
        taken = await self._read_patiently(lambda conn: ladder_steps.taken_within(conn, span, now))
        for one in taken or ():
            step = _STEPS.get(one.step)
            if step is not None:
                age = max(0.0, (now - one.at).total_seconds())
                self._ground.ladders.note(step, one.bay, one.hub, moment - age)

    def _take_places(self, places: Places, group: asyncio.TaskGroup) -> None:
        """What is plugged in now; a new bay gets its guard, a known one hears what changed."""
        self._places = places
        for bay, place in places.items():
            seat = self._seats.get(bay)
            if seat is None:
                seat = self._seats[bay] = Seat(place)
                self._guards.append(group.create_task(self._guard(seat), name=f"guard {bay}"))
            elif seat.place != place:
                seat.follow(place)
        for bay, seat in self._seats.items():
            gone = Place(bay=bay, addresses=(), note=_UNPLUGGED)
            if bay not in places and seat.place != gone:
                seat.follow(gone)
        self._has_looked.set()

    async def _end_guards(self) -> None:
        if self._guards:
            _, late = await asyncio.wait(self._guards, timeout=_STOP_LIMIT)
            for task in late:
                task.cancel()

    async def _end_lives(self) -> None:
        """Wait for actors that were cut off; what hangs even so is left to the process's end."""
        if self._lives:
            await asyncio.wait(self._lives, timeout=_LAST_LIMIT)
        for life in self._lives:
            _log.error("supervisor.actor_hangs", extra={"task": life.get_name()})

    # ---------------------------------------------------------------- one bay

    async def _guard(self, seat: Seat) -> None:
        """Keep one bay going: a port that comes and goes, an actor that fails."""
        loop, patience = asyncio.get_running_loop(), Patience()
        while not self._stop.is_set():
            if not seat.has_port:
                await seat.wait_news(self._ground.bank.rescan_interval)
                continue
            began_at = loop.time()
            seat.is_living = True
            has_crashed = not await self._live(seat)
            seat.is_living = False
            life = loop.time() - began_at
            if not self._stop.is_set():
                await self._rest(seat, patience, life, has_crashed=has_crashed)

    async def _rest(
        self, seat: Seat, patience: Patience, life: float, *, has_crashed: bool
    ) -> None:
        """The pause before a bay's next actor; a loose contact is not taken up each time."""
        had_port = seat.has_port
        heeds_plug = has_crashed or had_port
        rest = patience.after(life, has_crashed=has_crashed, has_port=had_port)
        await seat.rest(rest, heeds_plug=heeds_plug)
        if (heeds_plug or seat.was_kept_out) and not self._stop.is_set():
            await self._note_pulled(seat)

    async def _live(self, seat: Seat) -> bool:
        """One actor's life; False where it failed, or hangs for good and is left behind."""
        bay = seat.place.bay
        actor = seat.actor = Actor(self._ground, seat.place)
        # No group's child: a group waits for each, and this one may have to be left behind.
        life = asyncio.get_running_loop().create_task(self._lead(actor, seat), name=f"actor {bay}")
        self._lives.add(life)
        life.add_done_callback(self._lives.discard)
        life.add_done_callback(lambda _: actor.over.set())
        try:
            await actor.over.wait()
        finally:
            life.cancel()
        if life.done():
            return life.result()
        _log.error("actor.left_behind", extra={"bay": bay})
        await actor.desert()
        await self._note_failure(bay, "Stuck")
        return False

    async def _lead(self, actor: Actor, seat: Seat) -> bool:
        bay = seat.place.bay
        try:
            await self._prime(actor, bay)
            await actor.run()
        except Exception as error:  # noqa: BLE001 - the one guard: this bay fails, no other
            _log.exception("actor.failed", extra={"bay": bay})
            if not actor.is_deserted:  # else the bay, and what is in flight there, is another's
                await self._note_failure(bay, type(error).__name__)
            return False
        return True

    async def _note_failure(self, bay: Bay, reason: str) -> None:
        ground = self._ground
        ground.telemetry.count("modemctl_actor_restarts_total", reason=reason)
        ground.dispatcher.withdraw(bay)
        ground.breakers.leave(bay)
        await self._note_crash(bay, reason)

    async def _prime(self, actor: Actor, bay: Bay) -> None:
        """Tell a new actor what a person wants of its bay."""
        paused = await self._store.read(modems.paused_bays)
        actor.set_paused(is_paused=bay in paused)

    async def _note_crash(self, bay: Bay, reason: str) -> None:
        """The bay has no actor: nobody will tell what became of its submit in flight."""

        def act(tx: Tx) -> int:
            modems.note_absent(tx, [bay], reason=f"its actor failed ({reason})")
            return sweeps.orphan(tx, bay, self._ground.rules)

        try:
            n_orphans = await self._store.write(act)
            _log.info("supervisor.crash_noted", extra={"bay": bay, "n_in_doubt": n_orphans})
        except StoreError as error:
            _log.warning("supervisor.store_failed", extra={"error": str(error)})

    async def _note_pulled(self, seat: Seat) -> None:
        """Once a modem was pulled, what kept its bay from working is no reason any more."""
        if seat.has_port:
            return
        bay, reason = seat.place.bay, seat.place.note or _UNPLUGGED
        try:
            await self._store.write(lambda tx: modems.note_absent(tx, [bay], reason=reason))
        except StoreError as error:
            _log.warning("supervisor.store_failed", extra={"error": str(error)})

    async def _watch_missing(self) -> None:
        """Bays of earlier days, and named ones, that have no port are told of."""
        while True:
            await self._has_looked.wait()
            self._has_looked.clear()
            if not await self._note_missing():
                await asyncio.sleep(_SLOW_POLL)
                self._has_looked.set()

    async def _note_missing(self) -> bool:
        rows = await self._read_bays()
        if rows is None:
            return False
        reasons = self._reasons({row.bay: row for row in rows})
        try:
            if reasons:
                await self._store.write(lambda tx: modems.note_missing(tx, reasons))
        except StoreError as error:
            _log.warning("supervisor.store_failed", extra={"error": str(error)})
            return False
        rows = await self._read_bays() if reasons else rows
        self._missing = [absent_sample(row) for row in rows or () if row.is_absent_for_a_reason]
        return rows is not None

    async def _read_bays(self) -> Sequence[ModemRow] | None:
        node = self._store.node_id
        return await self._read_patiently(lambda conn: modems.find(conn, node_id=node))

    def _reasons(self, rows: Mapping[Bay, ModemRow]) -> Mapping[Bay, str]:
        """Why bays have no port that nobody has told of yet; what was forgotten has no sample."""
        places = self._places or {}
        empty = {bay: place.note for bay, place in places.items() if not place.addresses}
        told = {row.bay: row.reason for row in rows.values() if row.is_absent_for_a_reason}
        away = {bay: _UNPLUGGED for bay in rows if bay not in places and bay not in told}
        living = {bay for bay, seat in self._seats.items() if seat.is_living}
        for bay in self._seats.keys() - rows.keys() - places.keys() - living:
            self._seats[bay].actor = None
        wanted = {bay: why for bay, why in empty.items() if told.get(bay) != why} | away
        return {bay: why for bay, why in wanted.items() if bay not in living}

    # ---------------------------------------------------------------- what rows ask for

    async def _watch_stops(self) -> None:
        """A stop is told at once: this waits for nothing else, least of all for the database."""
        with self._store.signals.subscribe(Topic.STOP, Topic.MODEMS) as bell:
            while True:
                if await bell.wait(_SLOW_POLL):
                    self._ground.stops.ring()

    async def _watch_pauses(self) -> None:
        """Which bays are paused reaches their actors."""
        with self._store.signals.subscribe(Topic.STOP, Topic.MODEMS) as bell:
            while True:
                if await bell.wait(_SLOW_POLL) and self._places is not None:
                    self._has_looked.set()  # a bay may have been forgotten
                paused = await self._read_patiently(modems.paused_bays)
                if paused is not None:
                    for bay, actor in self._actors.items():
                        actor.set_paused(is_paused=bay in paused)

    async def _watch_wishes(self) -> None:
        with self._store.signals.subscribe(Topic.WISHES) as bell:
            while True:
                is_told = await bell.wait(_SLOW_POLL)
                waiting = await self._read_patiently(wishes.waiting_bays)
                for bay in waiting or ():
                    if (seat := self._seats.get(bay)) is not None:
                        seat.call()
                if not is_told and await self._read_patiently(wishes.has_open):
                    await self._give_up_wishes()

    async def _give_up_wishes(self) -> None:
        try:
            await self._store.write(lambda tx: wishes.give_up(tx, older_than=_WISH_LIMIT))
        except StoreError as error:
            _log.warning("supervisor.store_failed", extra={"error": str(error)})

    async def _watch_register(self) -> None:
        """What the register says of cards reaches the bays that hold them."""
        is_owed = False  # what rang and could not be read is read later
        with self._store.signals.subscribe(Topic.SIMS) as bell:
            while True:
                is_owed = await bell.wait(_SLOW_POLL) or is_owed
                iccids = {
                    bay: actor.facts.iccid
                    for bay, actor in self._actors.items()
                    if actor.facts.iccid is not None
                    and (is_owed or actor.state is ModemState.QUARANTINED)
                }
                if not iccids or await self._tell_cards(iccids):
                    is_owed = False

    async def _tell_cards(self, iccids: Mapping[Bay, Iccid]) -> bool:
        vault, mode = self._store.vault, self._ground.bank.cards
        found = await self._read_patiently(lambda conn: verdicts(conn, vault, iccids, mode))
        for bay, actor in self._actors.items():  # one may be forgotten by now
            if found is not None and bay in found:
                actor.tell_card(found[bay])
        return found is not None

    async def _watch_admissions(self) -> None:
        """Which modems may be driven reaches the bays that hold them (CC-01)."""
        vault, mode = self._store.vault, self._ground.bank.modems
        is_owed = False
        with self._store.signals.subscribe(Topic.MODEMS) as bell:
            while True:
                is_owed = await bell.wait(_SLOW_POLL) or is_owed
                imeis = {
                    bay: actor.facts.imei
                    for bay, actor in self._actors.items()
                    if actor.facts.imei is not None
                    and (is_owed or actor.state is ModemState.REFUSED)
                }
                query = partial(admission.verdicts, vault=vault, imeis=imeis, mode=mode)
                found = await self._read_patiently(query) if imeis else {}
                is_owed = is_owed and found is None
                for bay, actor in self._actors.items():  # one may be forgotten by now
                    if found is not None and bay in found:
                        actor.tell_admission(found[bay])

    async def _read_patiently(self, query: Callable[[Connection], ResultT]) -> ResultT | None:
        try:
            return await self._store.read(query)
        except StoreError as error:
            _log.warning("supervisor.store_failed", extra={"error": str(error)})
            return None
