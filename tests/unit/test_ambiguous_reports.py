"""A report with several candidates is nobody's, until only one of them is left by what is known."""

import pytest
from sqlalchemy import select, update

from modemctl.lifecycle import SegmentState
from modemctl.store import Store, Tx, reports
from modemctl.store.outcomes import LateResult, settle_late
from modemctl.store.report_choice import Matching
from modemctl.store.tables import report, segment
from tests.support.statements import statements
from tests.support.stores import TestClock, open_store
from tests.unit.test_reports import HER, HIM, OTHER_CARD, reported, sent, state_of
from tests.unit.test_sending_plans import faults, pretend_large

S = SegmentState
DOUBT = S.IN_DOUBT


@pytest.fixture
def clock():
    return TestClock()


async def answered_late(store: Store, segment_id: int, mr: int) -> None:
    """The modem's answer for a segment in doubt is dug up."""

    def act(tx: Tx) -> None:
        tx.conn.execute(
            update(segment).where(segment.c.segment_id == segment_id).values(lease_token="t")
        )
        late = LateResult(segment_id=segment_id, token="t", mr=mr)
        assert settle_late(tx, [late]) == [segment_id]

    await store.write(act)


async def whose(store: Store) -> list[tuple[int, str, int | None]]:
    """Each report's reference, and what became of it."""
    columns = (report.c.mr, report.c.matching, report.c.segment_id)
    rows = await store.read(
        lambda conn: conn.execute(select(*columns).order_by(report.c.report_id)).all()
    )
    return [tuple(row) for row in rows]


async def two_doubts(store: Store, **more) -> list[int]:
    """Two messages to her by one card, neither of them answered for."""
    first = (await store.write(lambda tx: sent(tx, state=DOUBT, ago=60)))[0]
    return [first, (await store.write(lambda tx: sent(tx, state=DOUBT, ago=30, **more)))[0]]


@pytest.mark.both_databases
async def test_a_late_answer_settles_the_report_of_its_reference_and_the_other(tmp_path, clock):
    async with open_store(tmp_path, clock) as store:
        one, two = await two_doubts(store)
        for mr in (201, 200):
            found = await store.write_in_set(reports.add, reported(clock, mr=mr, left_ago=45))
            assert found.matching is Matching.AMBIGUOUS
        await answered_late(store, one, 200)
        states = [(await state_of(store, each)).state for each in (one, two)]
        found = await whose(store)
    assert found == [(201, "matched", two), (200, "matched", one)]
    assert states == [S.DELIVERED, S.DELIVERED]


async def test_what_a_late_answer_leaves_open_stays_ambiguous(tmp_path, clock):
    async with open_store(tmp_path, clock) as store:
        one, two = await two_doubts(store)
        three = (await store.write(lambda tx: sent(tx, state=DOUBT, ago=20)))[0]
        await store.write_in_set(reports.add, reported(clock, mr=201))
        await answered_late(store, one, 200)
        assert await whose(store) == [(201, "ambiguous", None)]
        await answered_late(store, three, 202)
        assert await whose(store) == [(201, "matched", two)]


async def test_the_same_reference_twice_stays_ambiguous(tmp_path, clock):
    """A modem that began again at 0: the late answer makes it two of them, not one."""
    async with open_store(tmp_path, clock) as store:
        (known,) = await store.write(lambda tx: sent(tx, mr=0, ago=90))
        await store.write(lambda tx: sent(tx, mr=200, to=HIM, ago=80))
        doubt = (await store.write(lambda tx: sent(tx, state=DOUBT, ago=60)))[0]
        await store.write_in_set(reports.add, reported(clock, mr=0, left_ago=60))
        await answered_late(store, doubt, 0)
        states = [(await state_of(store, one)).state for one in (known, doubt)]
        assert await whose(store) == [(0, "ambiguous", None)]
    assert states == [S.SENT, S.SENT]


async def test_a_rival_that_had_another_reference_leaves_one(tmp_path, clock):
    async with open_store(tmp_path, clock) as store:
        (known,) = await store.write(lambda tx: sent(tx, mr=0, ago=90))
        await store.write(lambda tx: sent(tx, mr=200, to=HIM, ago=80))
        doubt = (await store.write(lambda tx: sent(tx, state=DOUBT, ago=60)))[0]
        await store.write_in_set(reports.add, reported(clock, mr=0, left_ago=60))
        await answered_late(store, doubt, 201)
        assert await whose(store) == [(0, "matched", known)]


@pytest.mark.both_databases
async def test_a_report_that_fits_one_doubt_alone_leaves_the_other_for_an_older_report(
    tmp_path, clock
):
    async with open_store(tmp_path, clock) as store:
        one = (await store.write(lambda tx: sent(tx, state=DOUBT, ago=900)))[0]
        two = (await store.write(lambda tx: sent(tx, state=DOUBT, ago=30)))[0]
        between = await store.write_in_set(reports.add, reported(clock, mr=201, left_ago=400))
        assert between.matching is Matching.AMBIGUOUS
        own = await store.write_in_set(reports.add, reported(clock, mr=200, left_ago=890))
        assert (own.matching, own.segment_id) == (Matching.MATCHED, one)
        assert await whose(store) == [(201, "matched", two), (200, "matched", one)]
        states = [(await state_of(store, each)).state for each in (one, two)]
    assert states == [S.DELIVERED, S.DELIVERED]


async def test_one_set_tells_what_its_own_reports_settled(tmp_path, clock):
    async with open_store(tmp_path, clock) as store:
        one = (await store.write(lambda tx: sent(tx, state=DOUBT, ago=900)))[0]
        two = (await store.write(lambda tx: sent(tx, state=DOUBT, ago=30)))[0]
        both = [reported(clock, mr=201, left_ago=400), reported(clock, mr=200, left_ago=890)]
        told = await store.write(lambda tx: reports.add(tx, both))
    assert [each.segment_id for each in told] == [two, one]


@pytest.mark.parametrize("other", [{"to": HIM}, {"card": OTHER_CARD}])
async def test_reports_of_others_are_left_alone(tmp_path, clock, other):
    async with open_store(tmp_path, clock) as store:
        await store.write(lambda tx: sent(tx, state=DOUBT, n=2))
        await store.write_in_set(reports.add, reported(clock, mr=201))
        (elsewhere,) = await store.write(lambda tx: sent(tx, state=DOUBT, **other))
        await answered_late(store, elsewhere, 200)
        assert await whose(store) == [(201, "ambiguous", None)]


async def test_a_doubt_that_was_closed_may_have_left_all_the_same(tmp_path, clock):
    """Nobody knows what it was; giving it up does not make the other one the report's."""
    async with open_store(tmp_path, clock) as store:
        await store.write(lambda tx: sent(tx, state=S.ABANDONED, mr=None, ago=60))
        (other,) = await store.write(lambda tx: sent(tx, state=DOUBT))
        found = await store.write_in_set(reports.add, reported(clock, mr=200))
        row = await state_of(store, other)
    assert found.matching is Matching.AMBIGUOUS
    assert row.state == DOUBT


async def test_a_report_of_what_was_closed_alone_is_nobodys(tmp_path, clock):
    async with open_store(tmp_path, clock) as store:
        await store.write(lambda tx: sent(tx, state=S.ABANDONED, mr=None, ago=60))
        found = await store.write_in_set(reports.add, reported(clock, mr=200))
    assert found.matching is Matching.UNMATCHED


@pytest.mark.sqlite_only
@pytest.mark.parametrize("is_large", [False, True])
async def test_looking_again_reads_through_no_large_store(tmp_path, clock, is_large):
    async with open_store(tmp_path, clock) as store:
        one, _ = await two_doubts(store, to=HER)
        await store.write_in_set(reports.add, reported(clock, mr=201))
        if is_large:
            await store.write(lambda tx: pretend_large(tx.conn))
        with statements(store) as run:
            await answered_late(store, one, 200)
        asked = [each for each in run if "ambiguous" in each and each.startswith("SELECT")]
        plans = await store.write(
            lambda tx: [
                row[3]
                for each in asked
                for row in tx.conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {each}").all()
            ]
        )
        selects = [each for each in run if each.startswith("SELECT")]
        found = await store.write(
            lambda tx: [fault for each in selects for fault in faults(tx.conn, each)]
        )
    assert any("INDEX ix_report_ambiguous (recipient_bidx=?)" in step for step in plans), plans
    assert [fault for fault in found if "report_id" not in fault] == []
