"""The sending path where a COMMIT goes through and its answer is lost: nothing is stranded."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import make_url, select

from modemctl.errors import CommitUnanswered, StoreError
from modemctl.fleet.dispatcher import Job
from modemctl.lifecycle import SegmentState
from modemctl.model import Category
from modemctl.store import Store, outcomes
from modemctl.store.outcomes import Doubtful, NotSent, Outcome, Took
from modemctl.store.tables import segment
from modemctl.vault import AuditKey, Vault
from tests.support import postgres
from tests.support.benches import CARDS, Bench, bay_of, bench
from tests.support.scripted_modem import OK, ScriptedModem, said
from tests.support.senders import at_work, until
from tests.support.stores import AUDIT_SEED, MASTER_KEY, Databases
from tests.unit.test_dispatcher import dispatching

on_postgresql = pytest.mark.parametrize("database", ["postgresql"], indirect=True)


@asynccontextmanager
async def cut(
    folder: Path, n_messages: int, **facts: str
) -> AsyncIterator[tuple[Bench, postgres.Cutter]]:
    """A bench behind a line that can lose an answer, and a batch of so many messages."""
    async with bench(folder) as before:
        await before.batch(n_messages, **facts)
    cutter = postgres.Cutter(Databases.url(folder))
    async with Store(
        cutter.url, vault=Vault(MASTER_KEY), audit_key=AuditKey(AUDIT_SEED), clock=before.clock,
        node_id="n1",
    ) as store:  # fmt: skip
        yield replace(before, store=store), cutter
    cutter.close()


@on_postgresql
async def test_who_asked_is_told_that_it_may_have_happened(tmp_path):
    async with cut(tmp_path, 1) as (b, cutter):
        cutter.is_armed = True
        with pytest.raises(CommitUnanswered):
            await b.store.write(lambda tx: tx.audit("a", "test", "unsure", {}))
        allow = f"ALTER DATABASE {make_url(cutter.url).database} ALLOW_CONNECTIONS "
        postgres.cluster().sql(f"{allow} false")
        with pytest.raises(StoreError) as refused:
            await b.store.write(lambda tx: tx.audit("a", "test", "never", {}))
        assert not isinstance(refused.value, CommitUnanswered), "no COMMIT left"
        postgres.cluster().sql(f"{allow} true")


@on_postgresql
async def test_a_lease_whose_commit_was_not_answered_goes_back_at_once(tmp_path):
    async with cut(tmp_path, 3) as (b, cutter):
        jobs: list[Job] = []
        async with dispatching(b) as dispatcher:
            cutter.is_armed = True
            for card in CARDS[:3]:
                dispatcher.ask(bay_of(card), card, jobs.append)
            await until(lambda: len(jobs) == 3)
            assert not cutter.is_armed
        assert {job.lease.line_no for job in jobs} == {1, 2, 3}


@on_postgresql
async def test_a_lease_beside_an_odd_batch_is_not_lost_with_the_answer(tmp_path):
    """Each card is served alone there: what one got stays its own, the next one's goes back."""
    async with cut(tmp_path, 3) as (b, cutter):
        odd = await b.batch(1, category=Category.PROMOTION)
        known = {str(Category.OTHER): True}  # of the other one nobody can tell
        b.rules = replace(b.rules, is_open=lambda category, at: known[category])
        jobs: list[Job] = []
        async with dispatching(b) as dispatcher:
            cutter.n_let_through, cutter.is_armed = 3, True  # the set, the odd one held, a card
            for card in CARDS[:3]:
                dispatcher.ask(bay_of(card), card, jobs.append)
            await until(lambda: len(jobs) == 3)
            assert not cutter.is_armed
        assert {job.lease.line_no for job in jobs} == {1, 2, 3}
        assert await b.states(odd) == {SegmentState.QUEUED: 1}


async def rows(b: Bench) -> list[tuple[str, int | None]]:
    """State and reference of each segment."""
    query = select(segment.c.state, segment.c.mr).order_by(segment.c.segment_id)
    return await b.store.read(lambda conn: [(row.state, row.mr) for row in conn.execute(query)])


@on_postgresql
async def test_a_clearance_whose_commit_was_not_answered_is_taken_back_and_tried_again(tmp_path):
    """Nothing was given to the modem, so it is no doubt either."""
    async with cut(tmp_path, 1, template="x" * 300) as (b, cutter):  # the second is not asked for
        modem = ScriptedModem({"AT+CLCC": OK})
        mrs = [7, 8]
        modem.payload_answer = lambda payload: said(f"+CMGS: {mrs.pop(0)}")
        async with at_work(b, modem) as work:
            await work.take_work()
            cutter.is_armed = True
            await work.sender.send_next()
            assert not cutter.is_armed
            assert mrs == [7, 8]
            while mrs:
                await until(lambda: asyncio.get_running_loop().time() > work.sender.rest_until)
                await work.take_work()
                await work.sender.send_next()
            await work.sender.close()
        assert work.n_announced == 3
        assert await rows(b) == [("sent", 7), ("sent", 8)]


@on_postgresql
async def test_an_outcome_whose_commit_was_not_answered_is_found_to_be_taken(tmp_path, caplog):
    async with cut(tmp_path, 1) as (b, cutter):
        modem = ScriptedModem({"AT+CLCC": OK})
        modem.payload_answer = None
        async with at_work(b, modem) as work, asyncio.TaskGroup() as group:
            await work.take_work()
            sending = group.create_task(work.sender.send_next())
            await modem.until(lambda: any("ctrl-z" in line for line in modem.received))
            cutter.is_armed = True
            modem.say(said("+CMGS: 7"))
            await sending
            await work.sender.close()
            assert not cutter.is_armed
        assert await rows(b) == [("sent", 7)]
        logged = {record.message for record in caplog.records}
        assert "outcome.not_saved" in logged
        assert "outcome.not_taken" not in logged


BACK = NotSent(code="cms:38", title="network out of order", action="back", blame="network")
STOP = NotSent(code="cms:1", title="unassigned number", action="stop", blame="message")
DOUBT = Doubtful(reason="no answer")


@pytest.mark.parametrize(
    ("stored", "asked", "state"),
    [
        (Took(mr=7), Took(mr=7), SegmentState.SENT),
        (DOUBT, DOUBT, SegmentState.IN_DOUBT),
        (BACK, BACK, SegmentState.QUEUED),
        (STOP, STOP, SegmentState.REFUSED),
        (Took(mr=8), Took(mr=7), None),
        (BACK, Took(mr=7), None),
        (BACK, DOUBT, None),
        (DOUBT, BACK, None),
    ],
)
async def test_a_segment_tells_whether_an_outcome_was_stored(tmp_path, stored, asked, state):
    async with bench(tmp_path) as b:
        await b.batch(1)
        [one] = await b.lease(CARDS[0])
        await b.begin(one)
        assert await b.end(one, stored) is not None
        segment_id = one.segments[0][0]
        outcome = Outcome(segment_id=segment_id, token=one.token, result=asked, rules=b.rules)
        assert await b.store.read(lambda conn: outcomes.recorded(conn, outcome)) == state
        gone = replace(outcome, segment_id=segment_id + 1)
        assert await b.store.read(lambda conn: outcomes.recorded(conn, gone)) is None
