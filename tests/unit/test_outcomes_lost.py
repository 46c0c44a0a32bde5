"""Outcomes that were not saved, came late or never came: nothing leaves twice, nothing is lost."""

import pytest

from modemctl.lifecycle import BatchState, SegmentState
from modemctl.store import batches, outcomes, reports, sweeps
from modemctl.store.outcomes import Doubtful, LateResult, NotSent, Took
from modemctl.store.reports import Matching, NewReport
from tests.support.approved import numbers
from tests.support.benches import CARDS, bench

LONG = "x" * 300
BACK = NotSent(code="cms:38", title="network out of order", action="back", blame="network")
STOP = NotSent(code="cms:1", title="unassigned number", action="stop", blame="message")
AGAIN = NotSent(code="withheld", title="stopped at the prompt", action="again", blame="host")


# ---------------------------------------------------------------- an outcome is saved late


@pytest.mark.parametrize(
    ("refusal", "state"),
    [
        (BACK, SegmentState.QUEUED),
        (AGAIN, SegmentState.QUEUED),
        (STOP, SegmentState.REFUSED),
    ],
    ids=["later", "withheld", "never"],
)
async def test_a_refusal_leaves_an_unsaved_segment_of_its_message_alone(tmp_path, refusal, state):
    async with bench(tmp_path) as b:
        await b.batch(1, template=LONG)
        [one] = await b.lease(CARDS[0])
        first, second = (segment_id for segment_id, _ in one.segments)
        await b.begin(one, 0)  # the network took it as 7, the store did not
        await b.begin(one, 1)
        assert await b.end(one, refusal, 1) is state
        assert (await b.row(first)).state == "submitting"
        assert await b.used(CARDS[0]) == 1, "what may have left stays charged"
        assert await b.end(one, Took(mr=7), 0) is SegmentState.SENT
        sent = await b.row(first)
        assert (sent.state, sent.mr) == ("sent", 7)
        rest = await b.row(second)
        assert rest.state == state
        if state is SegmentState.QUEUED:
            assert rest.iccid == CARDS[0], "the rest of a message keeps its card"


# ---------------------------------------------------------------- a late answer


async def test_a_late_answer_settles_the_doubt_once(tmp_path):
    async with bench(tmp_path) as b:
        await b.batch(1)
        [one] = await b.lease(CARDS[0])
        segment_id = one.segments[0][0]
        await b.begin(one)
        await b.end(one, Doubtful(reason="no answer"))
        late = LateResult(segment_id=segment_id, token=one.token, mr=9)
        assert await b.store.write_in_set(outcomes.settle_late, late) == segment_id
        assert await b.store.write_in_set(outcomes.settle_late, late) is None
        row = await b.row(segment_id)
        assert (row.state, row.mr, row.sent_at) == ("sent", 9, row.submitting_at)


async def test_a_late_answer_of_an_earlier_try_settles_nothing(tmp_path):
    async with bench(tmp_path) as b:
        await b.batch(1)
        [one] = await b.lease(CARDS[0])
        segment_id = one.segments[0][0]
        await b.begin(one)
        await b.end(one, AGAIN)
        [again] = await b.lease(CARDS[0])
        await b.begin(again)
        await b.end(again, Doubtful(reason="no answer"))
        late = LateResult(segment_id=segment_id, token=one.token, mr=9)
        assert await b.store.write_in_set(outcomes.settle_late, late) is None
        assert (await b.row(segment_id)).state == "in_doubt"


# ---------------------------------------------------------------- a report comes before an outcome


def delivered(b, mr):
    """A report for the only recipient, of a segment that left now."""
    return NewReport(
        iccid=CARDS[0], bay="1", recipient=numbers(1)[0], mr=mr, st=0, scts=b.clock.now(),
        discharged_at=None, tpdu=bytes([6, mr]),
    )  # fmt: skip


@pytest.mark.parametrize("refusal", [BACK, AGAIN, STOP], ids=["later", "withheld", "never"])
async def test_a_report_that_waited_for_a_refused_submit_finds_its_own(tmp_path, refusal):
    async with bench(tmp_path) as b:
        await b.batch(1)
        await b.batch(1)
        [one] = await b.lease(CARDS[0])
        await b.begin(one)
        await b.end(one, Took(mr=7))
        [other] = await b.lease(CARDS[0])
        await b.begin(other)
        early = await b.store.write_in_set(reports.add, delivered(b, 7))
        assert early.matching is Matching.UNMATCHED
        await b.end(other, refusal)
        assert (await b.row(one.segments[0][0])).state == "delivered"


async def test_a_report_that_waited_when_the_daemon_fell_settles_the_doubt(tmp_path):
    async with bench(tmp_path) as b:
        await b.batch(1)
        [one] = await b.lease(CARDS[0])
        await b.begin(one)
        early = await b.store.write_in_set(reports.add, delivered(b, 7))
        assert early.matching is Matching.UNMATCHED
        await b.store.write(lambda tx: sweeps.recover(tx, b.rules))
        assert (await b.row(one.segments[0][0])).state == "delivered"


# ---------------------------------------------------------------- an outcome never comes


async def test_a_submit_that_nobody_answers_for_is_in_doubt(tmp_path):
    async with bench(tmp_path) as b:
        batch_id = await b.batch(2)
        one, _ = await b.lease(*CARDS[:2])
        await b.begin(one)
        b.clock.advance(b.rules.lease_seconds - 1)
        swept = await b.store.write(lambda tx: sweeps.sweep(tx, b.rules))
        assert swept.n_orphans == 0
        b.clock.advance(1)
        swept = await b.store.write(lambda tx: sweeps.sweep(tx, b.rules))
        assert swept.n_orphans == 1
        assert await b.states(batch_id) == {SegmentState.IN_DOUBT: 1, SegmentState.QUEUED: 1}
        assert await b.used(CARDS[0]) == 1, "what may have left stays charged"


async def test_a_bay_without_an_actor_leaves_its_own_submit_in_doubt(tmp_path):
    async with bench(tmp_path) as b:
        await b.batch(2)
        one, other = await b.lease(*CARDS[:2])
        await b.begin(one)
        await b.begin(other)
        assert await b.store.write(lambda tx: sweeps.orphan(tx, one.bay, b.rules)) == 1
        assert (await b.row(one.segments[0][0])).state == "in_doubt"
        assert (await b.row(other.segments[0][0])).state == "submitting"
        assert await b.store.write(lambda tx: sweeps.orphan(tx, one.bay, b.rules)) == 0


async def test_an_outcome_that_comes_after_all_ends_the_doubt(tmp_path):
    async with bench(tmp_path) as b:
        batch_id = await b.batch(1)
        [one] = await b.lease(CARDS[0])
        await b.begin(one)
        await b.store.write(lambda tx: sweeps.orphan(tx, one.bay, b.rules))
        assert await b.end(one, Doubtful(reason="no answer")) is None
        assert await b.end(one, BACK) is None, "a person may have decided on it meanwhile"
        assert await b.states(batch_id) == {SegmentState.IN_DOUBT: 1}
        assert await b.end(one, Took(mr=7)) is SegmentState.SENT
        row = await b.row(one.segments[0][0])
        assert (row.state, row.mr) == ("sent", 7)


@pytest.mark.parametrize("loss", ["restart", "crash", "sweep"])
async def test_every_doubt_holds_the_batch_where_the_site_says_so(tmp_path, loss):
    async with bench(tmp_path, on_doubt_hold=True) as b:
        batch_id = await b.batch(2)
        [one] = await b.lease(CARDS[0])
        await b.begin(one)
        b.clock.advance(b.rules.lease_seconds)
        acts = {
            "restart": lambda tx: sweeps.recover(tx, b.rules),
            "crash": lambda tx: sweeps.orphan(tx, one.bay, b.rules),
            "sweep": lambda tx: sweeps.sweep(tx, b.rules),
        }
        await b.store.write(acts[loss])
        found = await b.store.read(lambda conn: batches.find_batch(conn, batch_id))
        assert found.state is BatchState.HELD
