"""Time: the one that jumps, and the loop's at another pace."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from simulator.clock import LoopClock, VirtualClock

START = datetime(2026, 1, 1, tzinfo=UTC)


def passed(clock: VirtualClock) -> float:
    return (clock.now() - START).total_seconds()


def test_virtual_time_jumps_in_order_of_time_then_of_asking() -> None:
    clock = VirtualClock(START)
    seen: list[tuple[str, float]] = []

    def note(name: str) -> None:
        seen.append((name, (clock.now() - START).total_seconds()))

    def ask_meanwhile() -> None:
        clock.call_later(0, lambda: note("asked for meanwhile"))

    clock.call_later(2, lambda: note("late"))
    clock.call_later(1, lambda: note("first"))
    clock.call_later(1, lambda: note("second"))
    clock.call_later(1, ask_meanwhile)
    clock.call_later(1, lambda: note("third")).cancel()
    end = START + timedelta(seconds=1.5)
    steps = [clock.step(end) for _ in range(6)]
    assert steps == [True] * 5 + [False]
    assert [name for name, _ in seen] == ["first", "second", "asked for meanwhile"]
    moments = [passed(clock)]
    clock.advance(10)
    moments.append(passed(clock))
    assert seen[3:] == [("late", 2.0)]
    assert moments == [1, 11]


async def test_loop_time_runs_so_many_times_faster_from_the_given_moment() -> None:
    loop = asyncio.get_running_loop()
    clock = LoopClock(loop, factor=1000, start=START)
    due = asyncio.Event()
    clock.call_later(50, due.set)
    async with asyncio.timeout(10):
        await due.wait()
    passed = (clock.now() - START).total_seconds()
    assert 50 <= passed < 9000


async def test_loop_time_begins_with_the_wall_clock_s() -> None:
    clock = LoopClock(asyncio.get_running_loop())
    assert abs((datetime.now(tz=UTC) - clock.now()).total_seconds()) < 5


async def test_cancelled_timer_of_the_loop_does_nothing() -> None:
    clock = LoopClock(asyncio.get_running_loop(), factor=1000)
    seen: list[str] = []
    clock.call_later(1, lambda: seen.append("cancelled")).cancel()
    due = asyncio.Event()
    clock.call_later(20, due.set)
    async with asyncio.timeout(10):
        await due.wait()
    assert seen == []


@pytest.mark.parametrize("factor", [0.5, 60])
async def test_factor_holds_for_now_and_for_timers_alike(factor: float) -> None:
    loop = asyncio.get_running_loop()
    clock = LoopClock(loop, factor=factor, start=START)
    began = loop.time()
    due = asyncio.Event()
    clock.call_later(0.1 * factor, due.set)
    async with asyncio.timeout(10):
        await due.wait()
    assert loop.time() - began >= 0.09
    assert (clock.now() - START).total_seconds() >= 0.09 * factor
