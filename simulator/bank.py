"""A bank: modems, cards and network in one process, served from one folder.

With a clock of its own choice (`VirtualClock`) nobody can connect: no ports, no event loop.
"""

from __future__ import annotations

import asyncio
import csv
import fcntl
import itertools
import os
import resource
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from simulator.cards.card import Card, Subscription
from simulator.cards.keeping import Keeper
from simulator.clock import Clock, LoopClock, Timer
from simulator.commands import speech
from simulator.dice import Dice
from simulator.faults import FaultKind
from simulator.ledger import Fact, Ledger
from simulator.modem import Modem
from simulator.network.network import Network
from simulator.persona import PersonaPort, PortRole
from simulator.story import scenario as scenarios
from simulator.story.bays import port_name
from simulator.story.scenario import Bay, Scenario, ScenarioError, Transport
from simulator.wire.ports import BankPort, Listener, PtyPort, SocketKind, SocketPort, Watcher
from simulator.world import World


class NoSuchThing(LookupError):
    """No modem or card of that name."""


@dataclass(slots=True, kw_only=True)
class _Place:
    modem: Modem
    ports: dict[PortRole, BankPort] = field(default_factory=dict)
    numbers: list[int] = field(default_factory=list)
    hub: int = 1
    is_plugged: bool = True
    coming: Timer | None = None


class Bank:
    """Serves a scenario in `folder` while the context is open.

    The folder holds `ports/` (a modem's first command port under its name, the others as
    `modem01.if03-modem`), `ports.csv`, `tty/` (the same ports by number, as the kernel counts
    them), `ledger.jsonl`, `cards.csv`, and `cards/`: what cards keep from one run to the next,
    unless the run `is_fresh` or on a clock of its own.
    """

    def __init__(
        self,
        scenario: Scenario,
        folder: Path,
        *,
        clock: Clock | None = None,
        is_fresh: bool = False,
    ) -> None:
        self.scenario = scenario
        self.folder = folder
        self._given_clock = clock
        self._is_fresh = is_fresh
        self._keeper: Keeper | None = None
        self._watcher: Watcher | None = None
        self._lock: IO[bytes] | None = None
        self._places: dict[str, _Place] = {}
        self._next_number = itertools.count()
        self.cards: dict[str, Card] = {}

    async def __aenter__(self) -> Self:
        self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def open(self) -> None:
        """Put everything in its place and switch it on.

        Raises:
            ScenarioError: the system does not allow as many open files as the ports need, or
                another bank serves this folder.
        """
        bays = scenarios.bays(self.scenario)
        if self._given_clock is None:
            loop = asyncio.get_running_loop()
            self._raise_file_limit(bays)
            for name in ("ports", "tty"):
                (self.folder / name).mkdir(parents=True, exist_ok=True)
            self._lock = _locked(self.folder / "lock")
            # What an earlier run left behind when it was killed.
            for left in (*(self.folder / "ports").iterdir(), *(self.folder / "tty").iterdir()):
                left.unlink()
            self._clock: Clock = LoopClock(
                loop, factor=self.scenario.time_factor, start=self.scenario.start
            )
            self._watcher = Watcher(loop)
            # Real time: where the bank lives faster, its files need not.
            self._keeper = Keeper(self.folder / "cards", clock=LoopClock(loop))
            if self._is_fresh:
                self._keeper.forget()
        else:
            self._clock = self._given_clock
        self.dice = dice = Dice(self.scenario.seed)
        self.ledger = Ledger(self.folder / "ledger.jsonl")
        self.network = Network(
            clock=self._clock,
            ledger=self.ledger,
            times=self.scenario.times,
            dice=dice,
            carriers=self.scenario.carriers,
        )
        self.network.set_rules(self.scenario.rules)
        self.network.set_call_rules(self.scenario.call_rules)
        world = World(clock=self._clock, network=self.network, ledger=self.ledger, dice=dice)
        for bay in bays:
            self._add(bay, world)
        for spare in self.scenario.cards:
            self._add_card(spare.subscription, is_locked=spare.locked)
        self._write_lists(bays)
        for place in self._places.values():
            if place.is_plugged:
                place.modem.switch_on()
                self._show(place)

    def close(self) -> None:
        """Take everything away."""
        self.ledger.close()
        for place in self._places.values():
            self._hide(place)
            place.modem.switch_off()
        if self._watcher is not None:
            self._watcher.close()
        if self._keeper is not None:
            self._keeper.flush()
        if self._lock is not None:
            self._lock.close()

    @property
    def clock(self) -> Clock:
        """What the bank lives by."""
        return self._clock

    @property
    def modems(self) -> list[Modem]:
        """All modems, in order."""
        return [place.modem for place in self._places.values()]

    def modem(self, name: str) -> Modem:
        """The modem of that name.

        Raises:
            NoSuchThing: there is none.
        """
        return self._place(name).modem

    def port_path(self, name: str, port: PersonaPort | None = None) -> Path:
        """Where a client finds one of the modem's ports; the first command port by default."""
        return self.folder / "ports" / (name if port is None else port_name(name, port))

    def card(self, key: str) -> Card:
        """A card by ICCID, by number, or by the modem that it is in.

        Raises:
            NoSuchThing: there is none.
        """
        if key in self._places:
            found = self._places[key].modem.card
        elif key in self.cards:
            found = self.cards[key]
        else:
            by_number = (c for c in self.cards.values() if c.subscription.number == key)
            found = next(by_number, None)
        if found is None:
            raise NoSuchThing(f"no card {key!r}")
        return found

    def holder(self, card: Card) -> Modem | None:
        """The modem that a card is in."""
        return next((modem for modem in self.modems if modem.card is card), None)

    def is_plugged(self, name: str) -> bool:
        """True while the modem's ports are there, or come back when it has booted."""
        return self._place(name).is_plugged

    def unplug(self, name: str, *, keeps_power: bool = False) -> None:
        """Take a modem's ports away; without power it also forgets what it was doing."""
        place = self._place(name)
        if place.is_plugged:
            self._note("power", name, event="unplugged", keeps_power=keeps_power)
        place.is_plugged = False
        self._hide(place)
        if not keeps_power:
            place.modem.lose_power()

    def plug(self, name: str, *, is_renumbered: bool = False) -> None:
        """Bring a modem's ports back; a modem that had lost power boots.

        `is_renumbered`: under other `tty/` numbers, as where somebody held the old ones open.
        """
        place = self._place(name)
        if place.is_plugged:
            return
        place.is_plugged = True
        self._note("power", name, event="plugged")
        if is_renumbered:
            place.numbers.clear()
        if place.modem.is_on:
            self._show(place)
            return
        place.modem.boot()
        self._come_back(place, place.modem.persona.boot_seconds)

    def hub(self, number: int) -> list[str]:
        """The modems of a hub.

        Raises:
            NoSuchThing: there is no such hub.
        """
        found = [name for name, place in self._places.items() if place.hub == number]
        if not found:
            last = max(place.hub for place in self._places.values())
            raise NoSuchThing(f"no hub {number}: there are 1 to {last}")
        return found

    def move_card(self, card: Card | None, modem: Modem) -> None:
        """Put a card into a modem (None = take out what is in it), out of wherever it was."""
        if card is not None:
            holder = self.holder(card)
            if holder is not None:
                self._insert(holder, None)
        self._insert(modem, card)

    def swap(self, one: Modem, other: Modem) -> None:
        """Exchange two modems' cards."""
        first, second = one.card, other.card
        self._insert(one, None)
        self._insert(other, None)
        self._insert(one, second)
        self._insert(other, first)

    def state(self, name: str) -> dict[str, Fact]:
        """What is true of a modem now; holds its card's secrets, for tests need them."""
        place = self._place(name)
        modem = place.modem
        card = modem.card
        return {
            "modem": name,
            "persona": modem.persona.name,
            "model": modem.persona.model,
            "imei": modem.imei,
            "hub": place.hub,
            "is_plugged": place.is_plugged,
            "is_on": modem.is_on,
            "registration": modem.registration,
            "cnmi": ",".join(map(str, modem.mailbox.cnmi)),
            "call": modem.phone.call.plan.number if modem.phone.call else None,
            "faults": ",".join(modem.faults.names()),
            "me_used": modem.mailbox.own.used,
            "card": _card_state(card, self.network) if card is not None else None,
        }

    def _add(self, bay: Bay, world: World) -> None:
        modem = Modem(name=bay.name, persona=bay.persona, imei=bay.imei, world=world, speech=speech)
        if bay.has_card:
            modem.insert(self._add_card(bay.subscription, is_locked=bay.is_locked))
        modem.has_power = bay.is_present
        place = _Place(modem=modem, hub=bay.hub, is_plugged=bay.is_present)
        if self._watcher is not None:
            for spec in self.scenario.served(bay.persona):
                listener = Listener(
                    received=partial(modem.receive, role=spec.role),
                    came=partial(modem.client_came, spec.role),
                    went=partial(modem.client_went, spec.role),
                )
                port = self._port(self.port_path(bay.name, spec), self._watcher, listener)
                place.ports[spec.role] = modem.ports[spec.role] = port
        modem.on_reenumerate = partial(self._reenumerate, place)
        modem.on_shut_down = partial(self._hide, place)
        modem.on_port_lost = partial(self._lose_port, place)
        self._places[bay.name] = place

    def _add_card(self, subscription: Subscription, *, is_locked: bool) -> Card:
        card = Card(subscription, is_locked=is_locked, slots=self.scenario.card_slots)
        if self._keeper is not None:
            self._keeper.adopt(card)
        self.cards[card.iccid] = card
        self.network.subscribe(card)
        return card

    def _port(self, path: Path, watcher: Watcher, listener: Listener) -> BankPort:
        if self.scenario.transport is Transport.PTY:
            return PtyPort(path, watcher=watcher, listener=listener)
        kind = SocketKind(self.scenario.transport)
        return SocketPort(path, kind=kind, listener=listener)

    def _insert(self, modem: Modem, card: Card | None) -> None:
        for moved, event in ((modem.card, "pulled"), (card, "inserted")):
            if moved is not None:
                self._note("card", modem.name, iccid=moved.iccid, event=event)
        modem.insert(card)

    def _note(self, kind: str, modem: str, **facts: Fact) -> None:
        now = self._clock.now().isoformat(timespec="milliseconds")
        self.ledger.add(kind, time=now, modem=modem, **facts)

    def _show(self, place: _Place) -> None:
        for port in place.ports.values():
            port.plug()
        if self.scenario.transport is Transport.PTY:
            while len(place.numbers) < len(place.ports):
                place.numbers.append(next(self._next_number))
            for number, port in zip(place.numbers, place.ports.values(), strict=True):
                link = self.folder / "tty" / f"ttyUSB{number}"
                link.unlink(missing_ok=True)
                link.symlink_to(port.node)

    def _hide(self, place: _Place) -> None:
        if place.coming is not None:
            place.coming.cancel()
            place.coming = None
        for port in place.ports.values():
            port.unplug()
        for number in place.numbers:
            (self.folder / "tty" / f"ttyUSB{number}").unlink(missing_ok=True)

    def _reenumerate(self, place: _Place, seconds: float) -> None:
        self._hide(place)
        self._come_back(place, seconds)

    def _lose_port(self, place: _Place, seconds: float, kind: FaultKind) -> None:
        self._hide(place)
        if kind is FaultKind.PORT_RENUMBERED:
            place.numbers.clear()
        self._come_back(place, seconds)

    def _come_back(self, place: _Place, seconds: float) -> None:
        def appear() -> None:
            place.coming = None
            # It may have been switched off meanwhile.
            if place.is_plugged and place.modem.has_power:
                self._show(place)

        place.coming = self._clock.call_later(seconds, appear)

    def _place(self, name: str) -> _Place:
        place = self._places.get(name)
        if place is None:
            raise NoSuchThing(f"no modem {name!r}")
        return place

    def _write_lists(self, bays: list[Bay]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        cards = self.folder / "cards.csv"
        with open(cards, "w", newline="", encoding="ascii", opener=_private) as file:
            rows = csv.writer(file)
            rows.writerow(["iccid", "number", "pin", "imsi", "modem"])
            placed = [(bay.subscription, bay.name) for bay in bays if bay.has_card]
            spare = [(one.subscription, "") for one in self.scenario.cards]
            for card, modem in [*placed, *spare]:
                # The PIN that it has now: an earlier run may have changed it.
                pin = self.cards[card.iccid].pin
                rows.writerow([card.iccid, card.number, pin, card.imsi, modem])
        with (self.folder / "ports.csv").open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(["modem", "role", "interface", "usb_id", "path"])
            for bay in bays:
                for port in self.scenario.served(bay.persona):
                    path = self.port_path(bay.name, port)
                    usb_id = bay.persona.usb_id
                    rows.writerow([bay.name, port.role, f"{port.interface:02x}", usb_id, path])

    def _raise_file_limit(self, bays: list[Bay]) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        needed = 3 * sum(len(self.scenario.served(bay.persona)) for bay in bays) + 64
        if hard != resource.RLIM_INFINITY and needed > hard:
            cure = f"raise it (`ulimit -Hn {needed}`), or take fewer modems or `port_sets = 'one'`"
            raise ScenarioError(f"the ports need {needed} open files, {hard} are allowed: {cure}")
        if soft < needed:
            resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _locked(path: Path) -> IO[bytes]:
    """The file, locked for as long as it is open."""
    file = path.open("wb")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        place = path.parent
        raise ScenarioError(f"{place}: another bank serves this folder; stop it first") from error
    return file


def _private(path: str, flags: int) -> int:
    """Open a file that, if it is new, only its owner may read: it holds PINs."""
    return os.open(path, flags, 0o600)


def _card_state(card: Card, network: Network) -> dict[str, Fact]:
    data = card.subscription
    return {
        "iccid": card.iccid,
        "imsi": data.imsi,
        "number": data.number,
        "state": card.state.value,
        "is_locked": card.is_locked,
        "pin": card.pin,
        "puk": data.puk,
        "pin_tries": card.pin_tries,
        "puk_tries": card.puk_tries,
        "stored": card.storage.used,
        "waiting": network.waiting(card),
    }
