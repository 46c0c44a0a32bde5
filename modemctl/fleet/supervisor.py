"""One guarded actor per bay: finds ports, starts actors anew, tells them what changed.

A missing or held port is a state of its bay, never the end of the daemon.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from modemctl.errors import StoreError
from modemctl.fleet import admission
from modemctl.fleet.actor import Actor
from modemctl.fleet.checking import verdicts
from modemctl.fleet.ground import Ground
from modemctl.fleet.places import Place
from modemctl.lifecycle import ModemState
from modemctl.model import Bay, Iccid, Topic
from modemctl.store import Connection, Store, Tx, modems, sweeps, wishes
from modemctl.telemetry import BankSnapshot

_log = logging.getLogger(__name__)

_SLOW_POLL: Final = 5.0  # covers a lost wake-up
_FIRST_BACK_OFF: Final = 1.0
_LONGEST_BACK_OFF: Final = 300.0
_STOP_LIMIT: Final = 200.0  # a submit in flight may take 180 s
_WISH_LIMIT: Final = 120.0
_GLOB_SIGNS: Final = frozenset("*?[")

ResultT = TypeVar("ResultT")


class Supervisor:
    """The fleet of one node; `run` is its task."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._store: Store = ground.store
        self._actors: dict[Bay, Actor] = {}
        self._guards: dict[Bay, asyncio.Task[None]] = {}
        self._stop = asyncio.Event()

    def snapshot(self) -> BankSnapshot:
        """The bays as a scrape shows them."""
        return BankSnapshot(modems=[actor.sample for actor in self._actors.values()])

    def stop(self) -> None:
        """End in order: no new leases, submits in flight to their end, ports closed."""
        self._ground.dispatcher.stop()
        self._stop.set()
        for actor in self._actors.values():
            actor.stop()

    async def run(self) -> None:
        """Supervise until `stop`; returns when every port is closed."""
        async with asyncio.TaskGroup() as group:
            helpers = [
                group.create_task(self._watch_stops(), name="stop watch"),
                group.create_task(self._watch_pauses(), name="pause watch"),
                group.create_task(self._watch_wishes(), name="wish watch"),
                group.create_task(self._watch_register(), name="register watch"),
                group.create_task(self._watch_admissions(), name="admission watch"),
            ]
            while not self._stop.is_set():
                found = find_ports(self._ground.bank.ports)
                await self._note_missing(found)
                for bay, address in found.items():
                    if bay not in self._guards:
                        guard = self._guard(bay, address)
                        self._guards[bay] = group.create_task(guard, name=f"guard {bay}")
                await _happens(self._stop, self._ground.bank.rescan_interval)
            await self._end_guards()
            for task in helpers:
                task.cancel()

    async def _end_guards(self) -> None:
        guards = list(self._guards.values())
        if guards:
            _, late = await asyncio.wait(guards, timeout=_STOP_LIMIT)
            for task in late:
                task.cancel()

    # ---------------------------------------------------------------- one bay

    async def _guard(self, bay: Bay, address: str) -> None:
        """Keep one bay going: a port that comes and goes, an actor that fails."""
        back_off = _FIRST_BACK_OFF
        while not self._stop.is_set():
            if not has_port(address):
                await self._pause(self._ground.bank.rescan_interval)
                continue
            actor = Actor(self._ground, Place(bay=bay, addresses=(address,)))
            self._actors[bay] = actor
            try:
                await self._prime(actor, bay)
                await actor.run()
            except Exception as error:  # noqa: BLE001 - the one guard: this bay fails, no other
                _log.exception("actor.failed", extra={"bay": bay})
                reason = type(error).__name__
                self._ground.telemetry.count("modemctl_actor_restarts_total", reason=reason)
                await self._note_crash(bay, reason)
                back_off = min(back_off * 2, _LONGEST_BACK_OFF)
            else:  # the port is gone or held: look again soon
                back_off = _FIRST_BACK_OFF
            await self._pause(max(back_off, self._ground.bank.rescan_interval))

    async def _pause(self, seconds: float) -> None:
        await _happens(self._stop, seconds)

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

    async def _note_missing(self, found: Mapping[Bay, str]) -> None:
        """Bays of earlier days, and named ones, that have no port now."""
        try:
            rows = await self._store.read(
                lambda conn: modems.find(conn, node_id=self._store.node_id)
            )
            gone = [
                row.bay
                for row in rows
                if row.state is not ModemState.ABSENT
                and row.bay not in self._guards
                and (row.bay not in found or not has_port(found[row.bay]))
            ]
            known = {row.bay for row in rows}
            fresh = {
                bay: port for bay, port in found.items() if bay not in known and not has_port(port)
            }
            if gone or fresh:
                await self._store.write(
                    lambda tx: modems.note_missing(tx, gone, fresh, reason="no port")
                )
        except StoreError as error:
            _log.warning("supervisor.store_failed", extra={"error": str(error)})

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
                await bell.wait(_SLOW_POLL)
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
                    if bay in self._actors:
                        self._actors[bay].call()
                if waiting and not is_told:
                    await self._give_up_wishes()

    async def _give_up_wishes(self) -> None:
        try:
            await self._store.write(lambda tx: wishes.give_up(tx, older_than=_WISH_LIMIT))
        except StoreError as error:
            _log.warning("supervisor.store_failed", extra={"error": str(error)})

    async def _watch_register(self) -> None:
        """What the register says of cards reaches the bays that hold them."""
        with self._store.signals.subscribe(Topic.SIMS) as bell:
            while True:
                is_told = await bell.wait(_SLOW_POLL)
                iccids = {
                    bay: actor.facts.iccid
                    for bay, actor in self._actors.items()
                    if actor.facts.iccid is not None
                    and (is_told or actor.state is ModemState.QUARANTINED)
                }
                if iccids:
                    await self._tell_cards(iccids)

    async def _tell_cards(self, iccids: Mapping[Bay, Iccid]) -> None:
        vault, mode = self._store.vault, self._ground.bank.cards
        found = await self._read_patiently(lambda conn: verdicts(conn, vault, iccids, mode))
        for bay, unfit in (found or {}).items():
            self._actors[bay].tell_card(unfit)

    async def _watch_admissions(self) -> None:
        """Which modems may be driven reaches the bays that hold them (CC-01)."""
        vault, mode = self._store.vault, self._ground.bank.modems
        with self._store.signals.subscribe(Topic.MODEMS) as bell:
            while True:
                is_told = await bell.wait(_SLOW_POLL)
                imeis = {
                    bay: actor.facts.imei
                    for bay, actor in self._actors.items()
                    if actor.facts.imei is not None
                    and (is_told or actor.state is ModemState.REFUSED)
                }
                if not imeis:
                    continue
                query = partial(admission.verdicts, vault=vault, imeis=imeis, mode=mode)
                found = await self._read_patiently(query)
                for bay, refusal in (found or {}).items():
                    self._actors[bay].tell_admission(refusal)

    async def _read_patiently(self, query: Callable[[Connection], ResultT]) -> ResultT | None:
        try:
            return await self._store.read(query)
        except StoreError as error:
            _log.warning("supervisor.store_failed", extra={"error": str(error)})
            return None


def find_ports(patterns: Iterable[str]) -> dict[Bay, str]:
    """Bay → address of everything that the patterns name now; named paths count even if missing.

    A bay is named after its path's last part, so that a `by-path` link keeps its name.
    """
    found: dict[Bay, str] = {}
    for pattern in patterns:
        for address in _expand(pattern):
            bay = bay_of(address)
            if found.get(bay, address) != address:
                bay = Bay(address)
            found[bay] = address
    return found


def bay_of(address: str) -> Bay:
    """The bay's name behind an address."""
    if address.startswith("tcp://"):
        return Bay(address.removeprefix("tcp://"))
    return Bay(Path(address.removeprefix("unix:")).name)


def has_port(address: str) -> bool:
    """Whether a device node is there; of sockets only an attempt can tell."""
    return not address.startswith("/") or Path(address).exists()


def _expand(pattern: str) -> Sequence[str]:
    prefix = "unix:" if pattern.startswith("unix:") else ""
    path = Path(pattern.removeprefix(prefix))
    if pattern.startswith("tcp://") or not _GLOB_SIGNS & set(str(path)):
        return [pattern]
    below = path.relative_to("/")
    return [f"{prefix}{one}" for one in sorted(Path("/").glob(str(below)))]


async def _happens(event: asyncio.Event, limit: float) -> bool:
    try:
        async with asyncio.timeout(limit):
            await event.wait()
    except TimeoutError:
        return False
    return True
