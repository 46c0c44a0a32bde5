"""Acts that follow others' news in one transaction: new work is leased where it is committed."""

import asyncio
from contextlib import asynccontextmanager
from itertools import zip_longest

import pytest
from sqlalchemy import insert, select, update

from modemctl.errors import StoreError
from modemctl.fleet.dispatcher import Job
from modemctl.lifecycle import BatchState, SegmentState
from modemctl.model import Topic
from modemctl.store import Tx, batches, nodes
from modemctl.store.signals import Subscription
from modemctl.store.tables import message, meta
from tests.support.approved import numbers
from tests.support.benches import CARDS, bay_of, bench
from tests.support.senders import break_store, mend_store, until
from tests.support.stores import open_store
from tests.unit.test_dispatcher import dispatching


def put(key: str, *topics: Topic):
    def act(tx: Tx) -> str:
        tx.conn.execute(insert(meta).values(key=key, value="x"))
        tx.wake(*topics)
        return key

    return act


def keys(tx: Tx) -> set[str]:
    return set(tx.conn.scalars(select(meta.c.key).where(meta.c.value == "x")))


@pytest.mark.both_databases
async def test_a_follower_runs_in_the_transaction_that_rings_and_hears_no_ring(tmp_path):
    reports = []
    async with open_store(tmp_path) as store:
        store.journal._on_commit = reports.append
        with (
            store.signals.subscribe(Topic.WORK) as follows,
            store.signals.subscribe(Topic.WORK) as listens,
        ):
            one = store.journal.follow(Topic.WORK, keys, told=follows)
            await store.write(put("other", Topic.MODEMS))
            assert not one.future.done()
            await store.write(put("work", Topic.WORK))
            assert {"other", "work"} <= await one.future
            assert await listens.wait(30)
            assert not await follows.wait(0)
            assert not one.withdraw()
            await store.write(put("more", Topic.WORK))
            assert await follows.wait(30)
    assert [report.n_requests for report in reports] == [1, 2, 1]


async def test_a_follower_that_fails_undoes_itself_alone_and_is_rung_for(tmp_path):
    def fail(tx: Tx) -> None:
        put("never")(tx)
        raise LookupError("mine")

    async with open_store(tmp_path) as store:
        with store.signals.subscribe(Topic.WORK) as follows:
            one = store.journal.follow(Topic.WORK, fail, told=follows)
            await store.write(put("work", Topic.WORK))
            with pytest.raises(LookupError):
                await one.future
            assert await follows.wait(30)
        found = await store.write(keys)
    assert "work" in found
    assert "never" not in found


async def test_a_follower_follows_no_stop_and_may_withdraw(tmp_path):
    async with open_store(tmp_path) as store:
        with store.signals.subscribe(Topic.WORK) as follows:
            one = store.journal.follow(Topic.WORK, put("never"), told=follows)
            await store.write(put("stop", Topic.STOP, Topic.WORK))
            assert await follows.wait(30)
            assert one.withdraw()
            assert not one.withdraw()
            await store.write(put("work", Topic.WORK))
        assert "never" not in await store.write(keys)


async def test_a_follower_that_the_database_refuses_takes_nobody_with_it(tmp_path):
    def spoil(tx: Tx) -> None:
        put("never")(tx)
        tx.conn.exec_driver_sql("SELECT nothing FROM nowhere")

    async with open_store(tmp_path) as store:
        one = store.journal.follow(Topic.WORK, spoil, told=Subscription())
        await store.write(put("work", Topic.WORK))
        with pytest.raises(StoreError):
            await one.future
        found = await store.write(keys)
    assert "work" in found
    assert "never" not in found


async def test_a_follower_of_what_fails_never_runs(tmp_path):
    def break_off(tx: Tx) -> None:
        tx.wake(Topic.WORK)
        tx.conn.exec_driver_sql("SELECT nothing FROM nowhere")

    async with open_store(tmp_path) as store:
        one = store.journal.follow(Topic.WORK, keys, told=Subscription())
        with pytest.raises(StoreError):
            await store.write(break_off)
        assert one.withdraw()


async def held(b, batch_id) -> None:
    await b.store.write(lambda tx: batches.move(tx, batch_id, BatchState.HELD))


async def begin(b, batch_id) -> bool:
    return await b.store.write(lambda tx: batches.move(tx, batch_id, BatchState.RUNNING))


@asynccontextmanager
async def at_rest(b, cards, *, gates=()):
    """Its dispatcher, which follows new work for these cards, and the jobs that come."""
    jobs: list[Job] = []
    async with dispatching(b) as dispatcher:
        for card, gate in zip_longest(cards, gates):
            dispatcher.ask(bay_of(card), card, jobs.append, gate=gate)
        await until(lambda: Topic.WORK in b.store.journal._followers)
        yield dispatcher, jobs


async def test_new_work_of_a_bank_at_rest_is_leased_where_it_is_committed(tmp_path):
    """And its cards ask no second time for it."""
    async with bench(tmp_path) as b:
        batch_id = await b.batch(1)
        await held(b, batch_id)
        async with at_rest(b, CARDS[:3]) as (dispatcher, jobs):
            await begin(b, batch_id)
            assert await b.states(batch_id) == {SegmentState.LEASED: 1}
            await until(lambda: len(jobs) == 1)
            n_turns = b.store.journal.turns
            await until(lambda: Topic.WORK in b.store.journal._followers)
            assert b.store.journal.turns == n_turns
            assert len(dispatcher._waiting) == 2


async def test_work_whose_lease_fails_begins_nevertheless_and_is_leased_later(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("modemctl.fleet.dispatcher._STORE_PAUSE", 0.01)
    async with bench(tmp_path) as b:
        batch_id = await b.batch(1)
        await held(b, batch_id)
        async with at_rest(b, CARDS[:1]) as (_, jobs):
            await break_store(b, "leased")
            assert await begin(b, batch_id)
            assert await b.states(batch_id) == {SegmentState.QUEUED: 1}
            await mend_store(b)
            await until(lambda: len(jobs) == 1)


async def test_what_was_leased_for_a_bay_that_withdrew_meanwhile_goes_back(tmp_path):
    async with bench(tmp_path) as b:
        batch_id = await b.batch(1)
        await held(b, batch_id)
        async with at_rest(b, CARDS[:1]) as (dispatcher, jobs):
            moving = asyncio.create_task(begin(b, batch_id))
            while b.store.journal.turns == 0 or not moving.done():
                dispatcher.withdraw(bay_of(CARDS[0]))
                await asyncio.sleep(0)
            async with asyncio.timeout(30):
                while await b.states(batch_id) != {SegmentState.QUEUED: 1}:
                    await asyncio.sleep(0.01)
        assert not jobs


async def test_followed_work_whose_refusal_is_not_stored_ends_no_dispatcher(
    tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr("modemctl.fleet.dispatcher._STORE_PAUSE", 0.01)
    async with bench(tmp_path) as b:
        batch_id = await b.batch(1)
        good = await b.batch(1, recipients=numbers(1, start=100))
        for one in (batch_id, good):
            await held(b, one)
        damage = update(message).where(message.c.batch_id == batch_id).values(line_enc=b"\0")
        await b.store.write(lambda tx: tx.conn.execute(damage) and None)
        await break_store(b, "refused")
        async with at_rest(b, CARDS[:1]) as (_, jobs):
            await begin(b, batch_id)
            await until(lambda: "dispatcher.store_failed" in caplog.text)
            await mend_store(b)
            await begin(b, good)
            await until(lambda: len(jobs) == 1)


async def test_who_left_meanwhile_is_not_asked_whether_it_may(tmp_path):
    """A bay without a card has no seat: its gate cannot be asked."""

    class Gone:
        is_here = True

        def opens_in(self) -> float:
            return 0.0

        def enter(self) -> bool:
            assert self.is_here
            return True

        def leave(self) -> None:
            return

    async with bench(tmp_path) as b:
        batch_id = await b.batch(2)
        await held(b, batch_id)
        gates = [Gone(), Gone()]
        async with at_rest(b, CARDS[:2], gates=gates) as (dispatcher, jobs):
            real = dispatcher._known

            async def known(leased, requests):
                found = await real(leased, requests)
                dispatcher.withdraw(bay_of(CARDS[0]))
                gates[0].is_here = False
                return found

            dispatcher._known = known
            await begin(b, batch_id)
            await until(lambda: len(jobs) == 1)
            assert await b.states(batch_id) == {SegmentState.LEASED: 1, SegmentState.QUEUED: 1}


async def test_a_card_whose_breaker_was_open_asks_for_new_work_without_a_poll(
    tmp_path, monkeypatch
):
    class Breaker:
        left = 0.0

        def opens_in(self) -> float:
            return self.left

        def enter(self) -> bool:
            return not self.left

        def leave(self) -> None:
            return

    monkeypatch.setattr("modemctl.fleet.dispatcher._SLOW_POLL", 1000.0)
    async with bench(tmp_path) as b:
        batch_id = await b.batch(3)
        await held(b, batch_id)
        breaker = Breaker()
        async with at_rest(b, CARDS[:2], gates=[None, breaker]) as (dispatcher, jobs):
            followed = b.store.journal._followers[Topic.WORK]
            breaker.left = 0.2
            dispatcher.ask(bay_of(CARDS[2]), CARDS[2], jobs.append)
            await until(lambda: b.store.journal._followers.get(Topic.WORK) not in (None, followed))
            breaker.left = 0.0
            await begin(b, batch_id)
            await until(lambda: len(jobs) == 3)


@pytest.mark.both_databases
async def test_a_follower_that_meets_a_deadlock_each_time_takes_nobody_with_it(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("modemctl.store.postgresql.is_passing", lambda _: True)

    def spoil(tx: Tx) -> None:
        tx.conn.exec_driver_sql("SELECT nothing FROM nowhere")

    async with open_store(tmp_path) as store:
        one = store.journal.follow(Topic.WORK, spoil, told=Subscription())
        await store.write(put("work", Topic.WORK))
        with pytest.raises(StoreError):
            await one.future
        assert "work" in await store.write(keys)


async def test_a_node_that_may_lease_again_does_so_at_once(tmp_path):
    """What follows the news of it stands before it: it still sees a node that drains."""
    async with open_store(tmp_path) as store:
        with store.signals.subscribe(Topic.WORK) as follows:
            one = store.journal.follow(Topic.WORK, put("never"), told=follows)
            await store.write(lambda tx: nodes.set_draining(tx, "n1", is_draining=False))
            assert await follows.wait(30)
            assert one.withdraw()
