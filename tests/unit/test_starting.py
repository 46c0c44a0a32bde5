"""The polite start: so many modems at once on the whole, so many on one hub."""

import asyncio
from pathlib import Path

from modemctl.fleet.places import Place, UsbDevice
from modemctl.fleet.starting import StartBudget
from modemctl.model import Bay


def place(name: str, hub: str | None) -> Place:
    usb = None
    if hub is not None:
        usb = UsbDevice(
            folder=Path("/sys/none"), hub=hub, hub_port=1, vendor_id="2c7c", product_id="0125"
        )
    return Place(bay=Bay(name), addresses=("/dev/none",), usb=usb)


class Starters:
    """Bays that start, and stay in it until told."""

    def __init__(self, budget: StartBudget, group: asyncio.TaskGroup) -> None:
        self.inside: list[str] = []
        self.go_on = asyncio.Event()
        self._budget, self._group = budget, group

    def begin(self, *places: Place) -> list[asyncio.Task[None]]:
        return [self._group.create_task(self._start(one)) for one in places]

    async def _start(self, one: Place) -> None:
        async with self._budget.turn(one):
            self.inside.append(one.bay)
            await self.go_on.wait()

    async def settle(self) -> list[str]:
        for _ in range(20):
            await asyncio.sleep(0)
        return self.inside


async def test_a_hub_has_its_own_limit_and_holds_no_other_hub_up():
    async with asyncio.TaskGroup() as group:
        starters = Starters(StartBudget(3, per_hub=2), group)
        starters.begin(*(place(f"a{n}", "1-1") for n in range(5)), place("b0", "1-2"))
        assert await starters.settle() == ["a0", "a1", "b0"]
        starters.go_on.set()
    assert sorted(starters.inside) == ["a0", "a1", "a2", "a3", "a4", "b0"]


async def test_ports_without_a_hub_have_the_whole_limit():
    async with asyncio.TaskGroup() as group:
        starters = Starters(StartBudget(3, per_hub=1), group)
        starters.begin(*(place(f"p{n}", None) for n in range(4)))
        assert await starters.settle() == ["p0", "p1", "p2"]
        starters.go_on.set()


async def test_who_gives_up_waiting_leaves_no_place_taken():
    async with asyncio.TaskGroup() as group:
        starters = Starters(StartBudget(1, per_hub=1), group)
        _, waiting, hub_waiting = starters.begin(
            place("one", "1-1"), place("two", "1-2"), place("three", "1-2")
        )
        await starters.settle()
        waiting.cancel()
        hub_waiting.cancel()
        starters.begin(place("four", "1-2"))
        assert await starters.settle() == ["one"]
        starters.go_on.set()
    assert starters.inside == ["one", "four"]


async def test_a_turn_is_taken_again_for_each_start():
    budget = StartBudget(1, per_hub=1)
    turn = budget.turn(place("one", "1-1"))
    async with asyncio.timeout(5):
        for _ in range(3):
            async with turn:
                pass
