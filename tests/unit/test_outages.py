"""A daemon that was away for long: what ran waits for a person."""

from datetime import timedelta

import pytest

from modemctl.lifecycle import BatchState
from modemctl.store import batches, sweeps
from modemctl.store.leases import Leased, Nothing
from tests.support.approved import add_batch, add_cards, add_staff, numbers
from tests.support.benches import CARDS, bench
from tests.support.stores import TestClock, open_store

HOUR = timedelta(hours=1)


async def batch_after(
    folder, *, minutes: float, step_days: int = 0, boot: str = "boot-1", n_failed_starts: int = 0
):
    """A running batch, the daemon gone for a while and back; the batch as it is then."""
    clock = TestClock()
    async with open_store(folder, clock) as store:

        def prepare(tx):
            add_cards(tx, CARDS)
            return add_batch(tx, add_staff(tx), numbers(3))

        batch_id = await store.write(prepare)
        await store.write(store.journal.steady.beat)
    clock.advance(minutes * 60)
    clock.step(step_days * 86_400)
    if boot != clock.boot_id:
        clock.reboot(boot)
    for _ in range(n_failed_starts):
        async with open_store(folder, clock):
            clock.advance(2)
    async with open_store(folder, clock) as store:
        away = store.journal.steady.absence
        n = await store.write(lambda tx: sweeps.hold_after_outage(tx, away, HOUR))
        found = await store.read(lambda conn: batches.find_batch(conn, batch_id))
        assert n == (found.state is BatchState.HELD)
        return found


@pytest.mark.parametrize("boot", ["boot-1", "boot-2"])
async def test_a_long_outage_holds_what_ran(tmp_path, boot):
    found = await batch_after(tmp_path, minutes=61, boot=boot)
    assert found.state is BatchState.HELD
    assert found.reason.startswith("an outage of 61 min")


@pytest.mark.parametrize("step_days", [0, 1, -1])
async def test_a_short_outage_holds_nothing_whatever_the_wall_clock_says(tmp_path, step_days):
    found = await batch_after(tmp_path, minutes=59, step_days=step_days)
    assert found.state is BatchState.RUNNING


async def test_a_long_outage_shows_though_the_wall_clock_was_set_back(tmp_path):
    assert (await batch_after(tmp_path, minutes=90, step_days=-1)).state is BatchState.HELD


@pytest.mark.parametrize("boot", ["boot-1", "boot-2"])
async def test_a_start_that_fails_ends_no_outage(tmp_path, boot):
    found = await batch_after(tmp_path, minutes=61, boot=boot, n_failed_starts=2)
    assert found.state is BatchState.HELD


async def test_a_first_start_and_a_zero_hold_nothing(tmp_path):
    async with bench(tmp_path) as b:
        await b.batch(3)
        for absence, longest in ((None, HOUR), (timedelta(days=9), timedelta(0))):
            n = await b.store.write(
                lambda tx, a=absence, m=longest: sweeps.hold_after_outage(tx, a, m)
            )
            assert n == 0
        assert isinstance((await b.lease(CARDS[0]))[0], Leased)
        day = timedelta(days=1)
        assert await b.store.write(lambda tx: sweeps.hold_after_outage(tx, day, HOUR)) == 1
        assert await b.lease(CARDS[1]) == [Nothing()]
        batch_id = (await b.store.read(_only)).batch_id
        await b.store.write(lambda tx: batches.move(tx, batch_id, BatchState.RUNNING))
        assert isinstance((await b.lease(CARDS[1]))[0], Leased)


def _only(conn):
    [found] = batches.list_batches(conn, batches.Query(), before=None, limit=9)
    return found
