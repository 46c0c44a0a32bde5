"""A driver on a simulated modem, over a real pty, and what it told."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from drivers.interface import (
    Driver,
    DriverEvent,
    PinOutcome,
    RegistrationChanged,
    SimState,
)
from drivers.registry import probe
from simulator.faults import Fault, FaultKind
from tests.support.simulated import BankProcess

# SUBMIT to +8613912345678, status report asked, GSM-7 "hello".
TPDU: Final = bytes.fromhex("21000D91683119325476F8000005E8329BFD06")


@dataclass
class Rig:
    """A driver on a simulated modem, and what it told."""

    bank: BankProcess
    name: str
    card: dict[str, str]
    driver: Driver = field(init=False)
    events: list[DriverEvent] = field(default_factory=list)
    told: asyncio.Event = field(default_factory=asyncio.Event)

    def sink(self, event: DriverEvent) -> None:
        self.events.append(event)
        self.told.set()

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not holds():
                self.told.clear()
                await self.told.wait()

    def count(self, kind: type) -> int:
        return sum(isinstance(event, kind) for event in self.events)

    async def unlock(self) -> None:
        await self.driver.initialise()
        assert await self.driver.sim_state() is SimState.PIN
        assert await self.driver.enter_pin(self.card["pin"]) is PinOutcome.OK
        await self.driver.wait_sim_usable()
        await self.driver.configure_messaging()
        while not (await self.driver.registration()).is_registered:
            await self.until(
                lambda: any(
                    isinstance(event, RegistrationChanged) and event.registration.is_registered
                    for event in self.events
                )
            )

    async def submit(self, clearance: bytes | None = TPDU) -> object:
        async def payload() -> bytes | None:
            return clearance

        return await self.driver.submit(len(clearance or TPDU), payload())

    def shorten(self, seconds: float) -> None:
        """Give up on a result after `seconds` instead of three minutes."""
        capabilities = self.driver.capabilities
        self.driver._capabilities = replace(capabilities, submit_timeout=seconds)

    def fault(self, kind: str, **facts: object) -> None:
        self.bank.control.set_fault(self.name, Fault(kind=FaultKind(kind), **facts))

    def taken(self) -> int:
        return len(self.bank.ledger(kind="submit", modem=self.name))


class RigBank:
    """One bank for a whole file: each test takes a fresh modem of each persona.

    `families`: the family that each persona's driver must be of.
    """

    def __init__(self, process: BankProcess, families: Mapping[str, str]) -> None:
        self._process = process
        self._families = families
        with (process.folder / "cards.csv").open(encoding="ascii") as file:
            cards = {row["modem"]: row for row in csv.DictReader(file)}
        states = process.control.state()
        self._fresh = {
            persona: iter([cards[str(s["modem"])] for s in states if s["persona"] == persona])
            for persona in families
        }

    async def for_each(self, body: Callable[[Rig], Awaitable[None]], *personas: str) -> None:
        """Run a test's body on a modem of every persona, all at once."""
        async with asyncio.TaskGroup() as group:
            for persona in personas or self._families:
                group.create_task(self.run(persona, body))

    async def run(self, persona: str, body: Callable[[Rig], Awaitable[None]]) -> None:
        """Run a test's body on a modem of one persona."""
        card = next(self._fresh[persona])
        name = card["modem"]
        events: list[DriverEvent] = []
        rig = Rig(bank=self._process, name=name, card=card, events=events)
        rig.driver = await probe(self._process.port(name), rig.sink)
        try:
            assert rig.driver.capabilities.family == self._families[persona]
            await body(rig)
        except BaseException as error:
            error.add_note(f"persona {persona}, told {events}")
            raise
        finally:
            await rig.driver.close()
