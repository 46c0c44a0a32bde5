"""Nothing is sent after a start until the machine's clock may be believed."""

import asyncio

import pytest

from modemctl.fleet.clock_watch import ClockWatch, read_sync
from modemctl.policy.gates import ClockTrust
from tests.support.stores import TestClock, open_store


def telling(*answers: bool | None):
    """A machine that tells this, one look after the other, and then the last again."""
    left = list(answers)

    async def read() -> bool | None:
        return left.pop(0) if len(left) > 1 else left[0]

    return read


@pytest.mark.parametrize(("answer", "is_good"), [(True, True), (False, False), (None, True)])
async def test_the_machine_says_whether_its_clock_was_set(tmp_path, answer, is_good):
    async with open_store(tmp_path) as store:
        trust = ClockTrust()
        watch = ClockWatch(store, trust, read=telling(answer))
        assert await watch.look() is is_good
        assert bool(trust.fault) is not is_good
        assert await watch.fault() == trust.fault


async def test_a_clock_that_is_set_at_last_opens_the_way(tmp_path):
    async with open_store(tmp_path) as store:
        trust = ClockTrust()
        watch = ClockWatch(store, trust, read=telling(False, False, True), every=0.001)
        assert not await watch.look()
        assert "evidence.clock" in trust.fault
        async with asyncio.timeout(10):
            await watch.run()
        assert trust.fault == ""


async def test_a_clock_that_ran_back_while_the_machine_was_off_is_not_believed(tmp_path):
    clock = TestClock()
    async with open_store(tmp_path, clock):
        clock.advance(86_400)
    async with open_store(tmp_path, clock) as store:  # its last beat is a day later
        await store.write(store.journal.steady.beat)
    clock.step(-86_400)
    clock.reboot("boot-2")
    async with open_store(tmp_path, clock) as store:
        trust = ClockTrust()
        assert not await ClockWatch(store, trust, read=telling(None)).look()
        assert "behind what it showed last" in trust.fault
        # A time server's word outweighs what was seen last.
        assert await ClockWatch(store, trust, read=telling(True)).look()
        # So does the time that has passed since.
        clock.step(86_400)
        assert await ClockWatch(store, trust, read=telling(None)).look()


async def test_a_site_without_a_time_server_may_believe_every_clock(tmp_path):
    async with open_store(tmp_path) as store:
        watch = ClockWatch(store, ClockTrust(), is_minded=False, read=telling(False))
        assert await watch.look()


async def test_a_machine_that_is_asked_gives_an_answer_or_none():
    assert await read_sync() in {True, False, None}
