"""A bank: modems, cards and network in one process, served from one folder."""

from __future__ import annotations

import asyncio
import csv
import resource
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from simulator import scenario as scenarios
from simulator.card import Card
from simulator.clock import LoopClock
from simulator.ledger import Fact, Ledger
from simulator.modem import Modem, World
from simulator.network import Network
from simulator.ports import BankPort, Listener, PtyPort, SocketPort, Watcher
from simulator.scenario import Bay, Scenario, Transport


class NoSuchThing(LookupError):
    """No modem or card of that name."""


@dataclass(slots=True, kw_only=True)
class _Place:
    modem: Modem
    port: BankPort
    is_plugged: bool = True


class Bank:
    """Serves a scenario in `folder` while the context is open.

    The folder holds `ports/`, `ledger.jsonl`, `cards.csv`.
    """

    def __init__(self, scenario: Scenario, folder: Path) -> None:
        self.scenario = scenario
        self.folder = folder
        self._places: dict[str, _Place] = {}
        self.cards: dict[str, Card] = {}

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._raise_file_limit()
        (self.folder / "ports").mkdir(parents=True, exist_ok=True)
        self._clock = LoopClock(loop)
        self.ledger = Ledger(self.folder / "ledger.jsonl")
        self.network = Network(clock=self._clock, ledger=self.ledger, times=self.scenario.times)
        self.network.set_rules(self.scenario.rules)
        self._watcher = Watcher(loop)
        world = World(clock=self._clock, network=self.network, ledger=self.ledger)
        bays = scenarios.bays(self.scenario)
        for bay in bays:
            self._add(bay, world)
        self._write_cards(bays)
        for place in self._places.values():
            place.modem.switch_on()
            place.port.plug()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for place in self._places.values():
            place.port.unplug()
            place.modem.switch_off()
        self._watcher.close()
        self.ledger.close()

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

    def port_path(self, name: str) -> Path:
        """Where a client finds the modem's port."""
        return self.folder / "ports" / name

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

    def unplug(self, name: str, *, keeps_power: bool = False) -> None:
        """Take a modem's port away; without power it also forgets what it was doing."""
        place = self._place(name)
        place.is_plugged = False
        place.port.unplug()
        if not keeps_power:
            place.modem.switch_off()

    def plug(self, name: str) -> None:
        """Bring a modem's port back; a modem that had lost power boots."""
        place = self._place(name)
        if place.is_plugged:
            return
        place.is_plugged = True
        if place.modem.is_on:
            place.port.plug()
            return
        place.modem.boot()
        self._clock.call_later(place.modem.persona.boot_seconds, lambda: self._appear(place))

    def move_card(self, card: Card | None, modem: Modem) -> None:
        """Put a card into a modem (None = take out what is in it), out of wherever it was."""
        if card is not None:
            holder = self.holder(card)
            if holder is not None:
                holder.insert(None)
        modem.insert(card)

    def swap(self, one: Modem, other: Modem) -> None:
        """Exchange two modems' cards."""
        first, second = one.card, other.card
        one.insert(None)
        other.insert(None)
        one.insert(second)
        other.insert(first)

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
        modem = Modem(name=bay.name, persona=bay.persona, imei=bay.imei, world=world)
        card = Card(bay.subscription, is_locked=bay.is_locked, slots=self.scenario.card_slots)
        self.cards[card.iccid] = card
        self.network.subscribe(card)
        modem.insert(card)
        listener = Listener(received=modem.receive, came=modem.client_came, went=modem.client_went)
        place = _Place(modem=modem, port=self._port(bay.name, listener))
        modem.port = place.port
        modem.on_reenumerate = self._reenumerator(place)
        self._places[bay.name] = place

    def _port(self, name: str, listener: Listener) -> BankPort:
        path = self.port_path(name)
        if self.scenario.transport is Transport.PTY:
            return PtyPort(path, watcher=self._watcher, listener=listener)
        is_tcp = self.scenario.transport is Transport.TCP
        return SocketPort(path, is_tcp=is_tcp, listener=listener)

    def _reenumerator(self, place: _Place) -> Callable[[float], None]:
        def reenumerate(seconds: float) -> None:
            place.port.unplug()
            self._clock.call_later(seconds, lambda: self._appear(place))

        return reenumerate

    @staticmethod
    def _appear(place: _Place) -> None:
        # It may have been pulled while it was booting.
        if place.is_plugged:
            place.port.plug()

    def _place(self, name: str) -> _Place:
        place = self._places.get(name)
        if place is None:
            raise NoSuchThing(f"no modem {name!r}")
        return place

    def _write_cards(self, bays: list[Bay]) -> None:
        with (self.folder / "cards.csv").open("w", newline="", encoding="ascii") as file:
            rows = csv.writer(file)
            rows.writerow(["iccid", "number", "pin", "imsi", "modem"])
            for bay in bays:
                card = bay.subscription
                rows.writerow([card.iccid, card.number, card.pin, card.imsi, bay.name])

    def _raise_file_limit(self) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        needed = 3 * self.scenario.modems + 64
        if soft < needed:
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(needed, hard), hard))


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
