"""When a bay's next actor starts: at once after a pulled plug, later where it is of no use."""

import asyncio

import pytest

from modemctl.fleet.places import Place
from modemctl.fleet.seats import Patience, Seat
from modemctl.model import Bay


def rests(n: int, *, life: float = 1.0, has_crashed: bool = False, has_port: bool = False):
    patience = Patience()
    return [patience.after(life, has_crashed=has_crashed, has_port=has_port) for _ in range(n)]


def test_a_port_that_returns_is_taken_at_once_and_a_loose_contact_waits():
    assert rests(9) == [0, 0, 4, 8, 16, 32, 60, 60, 60]


def test_a_modem_that_is_pulled_now_and_then_never_waits():
    assert rests(9, life=60.0) == [0] * 9


def test_a_held_port_is_asked_ever_more_rarely():
    assert rests(8, has_port=True) == [1, 2, 4, 8, 16, 32, 60, 60]


def test_an_actor_that_fails_again_and_again_rests_up_to_five_minutes():
    assert rests(11, has_crashed=True, has_port=True)[-3:] == [256, 300, 300]


def test_a_long_life_is_forgiven():
    patience = Patience()
    for _ in range(6):
        patience.after(1.0, has_crashed=True, has_port=True)
    assert patience.after(3_600.0, has_crashed=True, has_port=True) == 1.0


def place(arrival: int) -> Place:
    return Place(bay=Bay("bay-01"), addresses=("/dev/null",) if arrival else (), arrival=arrival)


@pytest.mark.parametrize("arrival", [0, 8])
async def test_a_modem_pulled_or_changed_in_a_pause_ends_it(arrival):
    seat = Seat(place(7))
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        group.create_task(seat.rest(300.0, heeds_plug=True))
        await asyncio.sleep(0)
        seat.follow(place(7))  # no news
        seat.follow(place(arrival))


async def test_a_loose_contact_is_waited_for_though_it_comes_and_goes():
    seat, loop = Seat(place(0)), asyncio.get_running_loop()
    began_at = loop.time()
    async with asyncio.TaskGroup() as group:
        group.create_task(seat.rest(0.3, heeds_plug=False))
        await asyncio.sleep(0)
        for arrival in (8, 0, 9):
            seat.follow(place(arrival))
    assert loop.time() - began_at >= 0.3
