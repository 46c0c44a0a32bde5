"""The dispatcher: what it leased is handed over or goes back, whatever the store does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from modemctl.fleet.dispatcher import Dispatcher, EncodingRules, Job
from modemctl.lifecycle import SegmentState
from modemctl.sms import Submit, decode
from modemctl.telemetry import Telemetry
from tests.support.benches import CARDS, Bench, bay_of, bench
from tests.support.senders import break_store, until


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
        damage = "UPDATE message SET line_enc = x'00' WHERE line_no = ?"
        await b.store.write(lambda tx: tx.conn.exec_driver_sql(damage, (spoilt,)) and None)
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
