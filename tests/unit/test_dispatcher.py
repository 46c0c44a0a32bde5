"""The dispatcher: what it leased is handed over or goes back, whatever the store does."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import update

from modemctl.fleet import dispatcher as fleet
from modemctl.fleet.dispatcher import Dispatcher, EncodingRules, Job
from modemctl.lifecycle import BatchState, SegmentState
from modemctl.policy.quotas import Caps, QuotaRules
from modemctl.sms import Submit, decode
from modemctl.store import batches
from modemctl.store.outcomes import Took
from modemctl.store.tables import message
from modemctl.telemetry import Telemetry
from tests.support.benches import CARDS, Bench, bay_of, bench
from tests.support.senders import break_store, mend_store, until


@asynccontextmanager
async def dispatching(b: Bench) -> AsyncIterator[Dispatcher]:
    encoding = EncodingRules(validity=timedelta(hours=1), wants_reports=False)
    dispatcher = Dispatcher(b.store, b.rules, encoding, Telemetry(version="test"))
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(dispatcher.run())
        try:
            yield dispatcher
        finally:
            serving.cancel()


@pytest.mark.parametrize(("left", "validity"), [(40, 40), (3, 5), (600, 60)])
async def test_the_network_is_told_not_to_deliver_behind_the_batchs_window(
    tmp_path, left, validity
):
    async with bench(tmp_path) as b:
        await b.batch(1, not_after=b.clock.at + timedelta(minutes=left))
        jobs: list[Job] = []
        async with dispatching(b) as dispatcher:
            dispatcher.ask(bay_of(CARDS[0]), CARDS[0], jobs.append)
            await until(lambda: bool(jobs))
    [segment] = jobs[0].segments
    submit = decode(segment.tpdu, from_network=False)
    assert isinstance(submit, Submit)
    assert submit.validity == timedelta(minutes=validity)


@pytest.mark.parametrize("spoilt", [1, 2, 3])
async def test_a_refusal_that_cannot_be_stored_strands_no_other_message(tmp_path, spoilt):
    async with bench(tmp_path) as b:
        batch_id = await b.batch(3)
        damage = update(message).where(message.c.line_no == spoilt).values(line_enc=b"\0")
        await b.store.write(lambda tx: tx.conn.execute(damage) and None)
        await break_store(b, "refused")
        jobs: list[Job] = []
        async with dispatching(b) as dispatcher:
            for card in CARDS[:3]:
                dispatcher.ask(bay_of(card), card, jobs.append)
            await until(lambda: len(jobs) == 2)
            [waiting] = {bay_of(card) for card in CARDS[:3]} - {job.lease.bay for job in jobs}
            dispatcher.withdraw(waiting)
            expected = {SegmentState.LEASED: 2, SegmentState.QUEUED: 1}
            async with asyncio.timeout(10):
                while await b.states(batch_id) != expected:
                    await asyncio.sleep(0.01)
        assert {job.lease.line_no for job in jobs} == {1, 2, 3} - {spoilt}


async def test_what_the_store_did_not_take_back_goes_back_as_soon_as_it_works(tmp_path):
    async with bench(tmp_path) as b:
        batch_id = await b.batch(2)
        leases = await b.lease(*CARDS[:2])
        await break_store(b, "queued")
        async with dispatching(b) as dispatcher:
            for one in leases:
                await dispatcher.give_back(one, "a test")
            assert await b.states(batch_id) == {SegmentState.LEASED: 2}
            await mend_store(b)
            async with asyncio.timeout(30):
                while await b.states(batch_id) != {SegmentState.QUEUED: 2}:
                    await asyncio.sleep(0.01)


async def test_who_withdraws_late_takes_nothing_from_who_asks_there_now(tmp_path):
    """A bay's former actor ends in its own time: the bay's new one asks only once."""
    async with bench(tmp_path) as b:
        jobs: list[Job] = []
        async with dispatching(b) as dispatcher:
            dispatcher.ask(bay_of(CARDS[0]), CARDS[0], jobs.append)
            dispatcher.withdraw(bay_of(CARDS[0]), lambda _: None)
            await b.batch(1)
            await until(lambda: len(jobs) == 1)


async def test_a_bank_at_rest_polls_as_one(tmp_path):
    """Cards that found nothing at different moments ask together, but for those limits keep."""
    async with bench(tmp_path) as b:
        encoding = EncodingRules(validity=timedelta(hours=1), wants_reports=False)
        dispatcher = Dispatcher(b.store, b.rules, encoding, Telemetry(version="test"))
        now = asyncio.get_running_loop().time()
        for card, (wait, is_limited) in zip(
            CARDS, [(0.0, False), (2.0, False), (2.0, True), (4.0, False)], strict=False
        ):
            dispatcher.ask(bay_of(card), card, lambda job: None)
            waiting = dispatcher._waiting[bay_of(card)]
            waiting.not_before, waiting.was_served = now + wait, True
            waiting.is_limited = is_limited
        assert dispatcher._due(now - 1.0) == []
        assert [one.iccid for one in dispatcher._due(now)] == [CARDS[0], CARDS[1]]


async def rest(b: Bench, dispatcher: Dispatcher, jobs: list[Job]) -> None:
    """Four cards ask and find nothing."""
    for card in CARDS[:4]:
        dispatcher.ask(bay_of(card), card, jobs.append)
    await until(lambda: all(one.was_served for one in dispatcher._waiting.values()))


@pytest.mark.parametrize("is_held", [False, True])
async def test_a_bank_at_rest_wakes_at_once_when_a_batch_starts(tmp_path, monkeypatch, is_held):
    monkeypatch.setattr(fleet, "_SLOW_POLL", 3_600.0)
    async with bench(tmp_path) as b:
        jobs: list[Job] = []
        if is_held:
            batch_id = await b.batch(4)
            await b.store.write(lambda tx: batches.move(tx, batch_id, BatchState.HELD, reason="?"))
        async with dispatching(b) as dispatcher:
            await rest(b, dispatcher, jobs)
            if is_held:
                await b.store.write(lambda tx: batches.move(tx, batch_id, BatchState.RUNNING))
            else:
                await b.batch(4)
            await until(lambda: len(jobs) == 4)


async def test_work_that_begins_in_the_commit_of_a_lease_that_found_none_is_leased(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(fleet, "_SLOW_POLL", 3_600.0)
    async with bench(tmp_path) as b:
        jobs: list[Job] = []
        batch_id = await b.batch(1)
        await b.store.write(lambda tx: batches.move(tx, batch_id, BatchState.HELD, reason="?"))
        async with dispatching(b) as dispatcher:
            is_free = threading.Event()
            busy = asyncio.ensure_future(b.store.write(lambda tx: is_free.wait()))
            await asyncio.sleep(0.05)
            dispatcher.ask(bay_of(CARDS[0]), CARDS[0], jobs.append)
            await asyncio.sleep(0.05)  # its lease waits behind the writer, then the batch's start
            start = asyncio.ensure_future(
                b.store.write(
                    lambda tx: batches.move(tx, batch_id, BatchState.RUNNING), is_urgent=False
                )
            )
            await asyncio.sleep(0.05)
            is_free.set()
            await asyncio.gather(busy, start)
            await until(lambda: len(jobs) == 1)


async def test_a_bank_at_rest_wakes_when_quiet_hours_end(tmp_path, monkeypatch):
    monkeypatch.setattr(fleet, "_SLOW_POLL", 0.05)
    is_quiet = True
    async with bench(tmp_path, is_open=lambda category, at: not is_quiet) as b:
        await b.batch(4)
        jobs: list[Job] = []
        async with dispatching(b) as dispatcher:
            await rest(b, dispatcher, jobs)
            is_quiet = False
            await until(lambda: len(jobs) == 4)


async def test_cards_kept_by_their_limits_go_on_once_those_are_free(tmp_path, monkeypatch):
    monkeypatch.setattr(fleet, "_LONGEST_WAIT", 0.05)
    caps = Caps(minute=1, hour=100, day=100, gap=0)
    async with bench(tmp_path, quota=QuotaRules(caps=caps, zone=ZoneInfo("Asia/Shanghai"))) as b:
        batch_id = await b.batch(8)
        for one in await b.lease(*CARDS[:4]):
            await b.begin(one)
            await b.end(one, Took(mr=1))
        jobs: list[Job] = []
        async with dispatching(b) as dispatcher:
            await rest(b, dispatcher, jobs)
            assert all(one.is_limited for one in dispatcher._waiting.values())
            await b.store.write(lambda tx: batches.move(tx, batch_id, BatchState.HELD, reason="?"))
            await until(lambda: not any(one.is_limited for one in dispatcher._waiting.values()))
            await b.store.write(lambda tx: batches.move(tx, batch_id, BatchState.RUNNING))
            await until(lambda: all(one.is_limited for one in dispatcher._waiting.values()))
            assert not jobs, "rest opened a limit"
            b.clock.advance(70)
            await until(lambda: len(jobs) == 4)
