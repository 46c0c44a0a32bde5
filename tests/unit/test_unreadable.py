"""Cells that hold what modemctl never wrote: their batch or card waits, all others go on."""

import asyncio
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import pytest
from sqlalchemy import Connection

from modemctl.errors import StoreError
from modemctl.fleet.census import Census
from modemctl.fleet.dispatcher import Job
from modemctl.fleet.sweeper import Sweeper
from modemctl.lifecycle import BatchState, SegmentState
from modemctl.policy.quotas import Cap, Measure, QuotaRules, ScopeKind, Span
from modemctl.store import batches, sweeps
from modemctl.store.engine import UNREAD
from modemctl.store.seals import broken_seals
from tests.support.approved import numbers
from tests.support.benches import CARDS, MANY, Bench, bay_of, bench
from tests.support.scripted_modem import OK, ScriptedModem
from tests.support.senders import at_work, until
from tests.unit.test_dispatcher import dispatching

pytestmark = pytest.mark.sqlite_only  # elsewhere a cell holds what its column says
NO_TEXT = "CAST(x'ff' AS TEXT)"
OF_A_BATCH = [
    "UPDATE batch SET served_at = 'x' WHERE batch_id = :b",
    "UPDATE batch SET department = x'ff' WHERE batch_id = :b",
    "UPDATE batch SET state_mac = 'x' WHERE batch_id = :b",
    "UPDATE batch SET salt_nonce = 'x' WHERE batch_id = :b",
    f"UPDATE batch SET header = {NO_TEXT} WHERE batch_id = :b",
    f"UPDATE batch SET department = {NO_TEXT} WHERE batch_id = :b",
    "UPDATE batch_chunk SET leaves = 'x' WHERE batch_id = :b",
    "UPDATE approval SET jws = x'ff' WHERE batch_id = :b",
    f"UPDATE approval SET jws = {NO_TEXT} WHERE batch_id = :b",
    "UPDATE approval SET mac = 'x' WHERE batch_id = :b",
    "UPDATE confirmation SET digest = 'x' WHERE batch_id = :b",
    "UPDATE confirmation SET mac = 7 WHERE batch_id = :b",
    "UPDATE message SET line_no = 'x' || line_no WHERE batch_id = :b",
    "UPDATE message SET line_enc = 7 WHERE batch_id = :b",
    "UPDATE message SET n_segments = 'x' WHERE batch_id = :b",
    "UPDATE segment SET seq = 'x' WHERE batch_id = :b",
    "UPDATE segment SET seq = 900 WHERE batch_id = :b",
    "UPDATE segment SET message_id = -message_id WHERE batch_id = :b",
]
OF_NOTHING_THAT_AUTHORISES = [
    "UPDATE batch SET served_at = 9223372036854775807 WHERE batch_id = :b",
    f"UPDATE batch SET party = {NO_TEXT} WHERE batch_id = :b",
    "UPDATE message SET recipient_bidx = 'x' WHERE batch_id = :b",
    f"UPDATE message SET recipient_bidx = {NO_TEXT} WHERE batch_id = :b",
]
OF_A_CARD = [
    "UPDATE sim SET lease_until = 'x' WHERE iccid = :c",
    "UPDATE sim SET lease_from = x'ff' WHERE iccid = :c",
    "UPDATE sim SET mac = 'x' WHERE iccid = :c",
    "UPDATE sim SET number_bidx = 'x' WHERE iccid = :c",
    f"UPDATE sim SET holder = {NO_TEXT} WHERE iccid = :c",
    "UPDATE quota SET used = 'x' WHERE scope = 'sim:' || :c",
    f"UPDATE quota SET used = {NO_TEXT} WHERE scope = 'sim:' || :c",
]


def damage(folder: Path, statement: str, **facts: str) -> None:
    """As somebody does it who has the file and no key."""
    with closing(sqlite3.connect(folder / "modemctl.db", isolation_level=None)) as db:
        db.execute("PRAGMA ignore_check_constraints=ON")
        assert db.execute(statement, facts).rowcount


async def serve(b: Bench, wanted: int) -> list[Job]:
    """What four cards get, each as long as there is something."""
    jobs: list[Job] = []
    async with dispatching(b) as dispatcher:

        def ask(card) -> None:
            def take(job: Job) -> None:
                jobs.append(job)
                ask(card)

            dispatcher.ask(bay_of(card), card, take)

        for card in CARDS[:4]:
            ask(card)
        await until(lambda: len(jobs) >= wanted)
        await asyncio.sleep(0.05)
    return jobs


@pytest.mark.parametrize("statement", OF_A_BATCH)
async def test_a_batch_with_an_odd_cell_waits_and_others_go_on(tmp_path, statement, monkeypatch):
    monkeypatch.setattr("modemctl.fleet.dispatcher._STORE_PAUSE", 0.01)
    async with bench(tmp_path) as b:
        bad = await b.batch(2)
        good = await b.batch(4, recipients=numbers(4, start=100))
        damage(tmp_path, statement, b=bad)
        jobs = await serve(b, 4)
        assert {job.lease.batch_id for job in jobs} == {good}
        states = await b.states(bad)
        with suppress(StoreError):  # a text that is none: the first who meets it cannot read it
            await b.store.read(lambda conn: batches.find_batch(conn, bad))
        shown = await b.store.read(lambda conn: batches.find_batch(conn, bad))
        is_held = shown is not None and shown.state is BatchState.HELD
        assert is_held or states == {SegmentState.REFUSED: 2}
        await Sweeper(b.store, b.rules)._turn()


@pytest.mark.parametrize("known_by", ["x'ff00'", "x''", NO_TEXT])
async def test_a_batch_that_nobody_can_name_keeps_no_sweep_and_no_hold_from_others(
    tmp_path, known_by
):
    async with bench(tmp_path) as b:
        bad, good, other = [
            await b.batch(1, recipients=numbers(1, start=100 * n)) for n in range(1, 4)
        ]
        damage(tmp_path, f"UPDATE batch SET batch_id = {known_by} WHERE batch_id = :b", b=bad)

        def named(conn: Connection) -> list[str]:
            return [line for line in broken_seals(conn, b.store.vault) if "batch" in line]

        assert len(await b.store.read(named)) == 1
        sweeper = Sweeper(b.store, b.rules)
        with suppress(StoreError):  # a text that is none: the first who meets it cannot read it
            await sweeper._turn()
        await sweeper._turn()
        held = await b.store.write(
            lambda tx: sweeps.hold_after_tampering(tx, ["something is altered"])
        )
        assert held == 3  # the odd one was tried as well
        states = [await b.store.read(lambda conn, one=one: batches.find_batch(conn, one))
                  for one in (good, other)]  # fmt: skip
        assert [one.state for one in states if one] == [BatchState.HELD] * 2
        b.clock.advance(40 * 86_400)
        await sweeper._turn()
        states = [await b.store.read(lambda conn, one=one: batches.find_batch(conn, one))
                  for one in (good, other)]  # fmt: skip
        assert [one.state for one in states if one] == [BatchState.EXPIRED] * 2


@pytest.mark.parametrize("statement", OF_A_CARD)
async def test_a_card_with_an_odd_cell_waits_and_others_go_on(tmp_path, statement, monkeypatch):
    monkeypatch.setattr("modemctl.fleet.dispatcher._STORE_PAUSE", 0.01)
    async with bench(tmp_path) as b:
        await b.batch(1)
        [first] = await b.lease(CARDS[0])
        await b.begin(first)
        await b.batch(4, recipients=numbers(4, start=100))
        damage(tmp_path, statement, c=CARDS[0])
        jobs = await serve(b, 4)
        assert CARDS[0] not in {job.lease.iccid for job in jobs}


@pytest.mark.parametrize("statement", OF_NOTHING_THAT_AUTHORISES)
async def test_what_no_decision_rests_on_keeps_nobody_waiting(tmp_path, statement, monkeypatch):
    """Each line is sent to whom its signed words name, whatever stands beside them."""
    monkeypatch.setattr("modemctl.fleet.dispatcher._STORE_PAUSE", 0.01)
    async with bench(tmp_path) as b:
        bad = await b.batch(2)
        await b.batch(4, recipients=numbers(4, start=100))
        damage(tmp_path, statement, b=bad)
        jobs = await serve(b, 6)
        indexes = {b.store.vault.blind_index(to) for to in numbers(2)}
        assert {job.recipient_bidx for job in jobs if job.lease.batch_id == bad} == indexes


async def test_odd_words_about_a_modem_put_its_card_behind_no_other(tmp_path):
    async with bench(tmp_path) as b:
        await b.batch(4)
        odd = "UPDATE modem SET breakers = x'ff', signal_dbm = 'loud' WHERE bay = :y"
        damage(tmp_path, odd, y=bay_of(CARDS[0]))
        assert len(await serve(b, 4)) == 4


async def test_a_batch_is_held_where_its_clearance_meets_an_odd_count(tmp_path):
    """The count is spoilt while the message waits for its prompt: nothing of it leaves."""
    async with bench(tmp_path) as b, at_work(b, ScriptedModem({"AT+CLCC": OK})) as work:
        batch_id = await b.batch(2)
        await work.take_work()
        odd = "UPDATE quota SET used = 'x' WHERE scope = 'sim:' || :c"
        damage(tmp_path, odd, c=CARDS[0])
        b.clock.advance(200)  # the charge has to move to other buckets
        await work.sender.send_next()
        await work.sender.close()
        assert not any("ctrl-z" in line for line in work.modem.received)
        assert await b.states(batch_id) == {SegmentState.QUEUED: 2}
        shown = await b.store.read(lambda conn: batches.find_batch(conn, batch_id))
        assert shown is not None
        assert shown.state is BatchState.HELD
        assert UNREAD in shown.reason


async def test_the_figures_of_an_odd_row_end_no_daemon(tmp_path):
    async with bench(tmp_path) as b:
        bad = await b.batch(2)
        await b.batch(2, recipients=numbers(2, start=100))
        damage(tmp_path, "UPDATE batch SET department = x'ff' WHERE batch_id = :b", b=bad)
        limits = QuotaRules(
            caps=MANY,
            zone=b.rules.quota.zone,
            more={ScopeKind.DEPARTMENT: (Cap(measure=Measure.SEGMENTS, span=Span.DAY, most=9),)},
        )
        census = Census(b.store, limits)
        async with asyncio.TaskGroup() as group:
            running = group.create_task(census.run())
            await until(lambda: bool(census.snapshot().segments))
            await asyncio.sleep(0.1)
            assert not running.done()
            running.cancel()
