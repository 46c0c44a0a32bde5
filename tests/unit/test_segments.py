"""The sending path in the store: leases as one set, the gate before the modem, outcomes, sweeps."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import select, text, update

from modemctl.lifecycle import BatchState, CardState, SegmentState
from modemctl.model import Category, DesiredState, SegmentId
from modemctl.policy.digest import header_digest
from modemctl.policy.quotas import Caps
from modemctl.store import batches, leases, modems, segments, sims, sweeps
from modemctl.store.authorities import find_approver_key, revoke_approver_key
from modemctl.store.leases import Leased, Nothing
from modemctl.store.outcomes import Doubtful, NotSent, Took
from modemctl.store.segments import Release
from modemctl.store.submits import Cleared, NotYet, Withdrawn
from modemctl.store.tables import event, message, opt_out, segment, segment_journal
from tests.support.approved import SALES, numbers
from tests.support.benches import CARDS, bay_of, bench
from tests.support.statements import statements

NO = NotSent(code="cms:38", title="network out of order", action="back", blame="network")
OTHER = NotSent(code="cms:8", title="barred", action="other", blame="sim")
STOP = NotSent(code="cms:1", title="unassigned number", action="stop", blame="message")


# ---------------------------------------------------------------- leases


async def test_each_waiting_card_gets_its_own_message(tmp_path):
    async with bench(tmp_path) as b:
        batch_id = await b.batch(10)
        found = await b.lease(*CARDS[:4])
        assert len({one.message_id for one in found}) == 4
        assert await b.states(batch_id) == {SegmentState.LEASED: 4, SegmentState.QUEUED: 6}


async def test_a_message_is_leased_whole_and_in_order(tmp_path):
    async with bench(tmp_path) as b:
        await b.batch(1, template="a" * 400)
        [one] = await b.lease(CARDS[0])
        assert [seq for _, seq in one.segments] == [1, 2, 3]
        assert one.n_segments == 3
        assert await b.used(CARDS[0]) == 3


@pytest.mark.both_databases
async def test_two_leases_at_once_never_give_the_same_message(tmp_path):
    async with bench(tmp_path) as b:
        await b.batch(5)
        found = await asyncio.gather(*(b.lease(card) for card in CARDS[:6]))
        ids = [one.message_id for [one] in found if isinstance(one, Leased)]
        assert len(ids) == len(set(ids)) == 5


async def test_notices_go_before_promotions(tmp_path):
    async with bench(tmp_path) as b:
        late = await b.batch(4, category=Category.PROMOTION, priority=1)
        first = await b.batch(
            2, category=Category.OTHER, priority=0, recipients=numbers(2, start=9)
        )
        found = await b.lease(*CARDS[:4])
        assert [one.batch_id for one in found] == [first, first, late, late]


async def test_batches_of_one_priority_take_turns(tmp_path):
    async with bench(tmp_path) as b:
        one, other = await b.batch(9), await b.batch(9)
        seen = [(await b.lease(card))[0].batch_id for card in CARDS[:4]]
        assert seen in ([one, other, one, other], [other, one, other, one])


async def test_a_card_of_another_department_never_serves_a_batch(tmp_path):
    async with bench(tmp_path) as b:
        await b.batch(3)  # operated by the general department
        assert await b.lease(*CARDS[6:]) == [Nothing(), Nothing()]
        own = await b.batch(3, category=Category.NOTICE, department=SALES, priority=0)
        found = await b.lease(CARDS[0], CARDS[6])
        assert found[0].batch_id != own
        assert found[1].batch_id == own


@pytest.mark.parametrize(
    "spoil",
    [
        lambda tx: sims.set_paused(tx, CARDS[0], is_paused=True),
        lambda tx: sims.change_state(tx, CARDS[0], CardState.LOST),
        lambda tx: tx.conn.execute(text("UPDATE sim SET is_reserved = true")),
        lambda tx: tx.conn.execute(text("UPDATE sim SET verified_at = 7")),
        lambda tx: tx.conn.execute(text("UPDATE sim SET department = 'sales'")),
    ],
    ids=["paused", "lost", "reserved, forged", "verified, forged", "department, forged"],
)
async def test_a_card_that_the_register_forbids_gets_nothing(tmp_path, spoil):
    async with bench(tmp_path) as b:
        await b.batch(3)
        await b.store.write(lambda tx: spoil(tx) and None)
        assert await b.lease(CARDS[0]) == [Nothing()]


async def test_a_card_group_keeps_other_cards_out(tmp_path):
    async with bench(tmp_path) as b:
        await b.batch(3, card_group="vip")
        assert await b.lease(CARDS[0]) == [Nothing()]


async def test_quiet_hours_and_windows_lease_nothing(tmp_path):
    async with bench(tmp_path, is_open=lambda category, at: category != "other") as b:
        await b.batch(2)
        await b.batch(2, category=Category.PROMOTION, not_before=b.clock.at + timedelta(hours=1))
        assert await b.lease(CARDS[0]) == [Nothing()]
        b.clock.advance(3_700)
        [one] = await b.lease(CARDS[0])
        assert isinstance(one, Leased)


@pytest.mark.parametrize("state", [BatchState.APPROVED, BatchState.CHECKED])
async def test_a_batch_that_does_not_run_leases_nothing(tmp_path, state):
    async with bench(tmp_path) as b:
        await b.batch(2, state=state)
        assert await b.lease(CARDS[0]) == [Nothing()]


@pytest.mark.both_databases
async def test_a_used_up_limit_tells_when_to_ask_again(tmp_path):
    async with bench(tmp_path, caps=Caps(minute=2, hour=9, day=9, gap=0)) as b:
        await b.batch(5)
        assert isinstance((await b.lease(CARDS[0]))[0], Leased)
        assert isinstance((await b.lease(CARDS[0]))[0], Leased)
        [nothing] = await b.lease(CARDS[0])
        assert isinstance(nothing, Nothing)
        assert 0 < (nothing.until - b.clock.at).total_seconds() <= 65
        b.clock.at = nothing.until
        assert isinstance((await b.lease(CARDS[0]))[0], Leased)


async def test_a_message_longer_than_the_limit_goes_on_as_room_comes(tmp_path):
    async with bench(tmp_path, caps=Caps(minute=2, hour=90, day=90, gap=0)) as b:
        await b.batch(1, template="a" * 400)
        [one] = await b.lease(CARDS[0])
        for place in (0, 1):
            assert isinstance(await b.begin(one, place), Cleared)
            assert await b.end(one, Took(mr=place), place) is SegmentState.SENT
        third = await b.begin(one, 2)
        assert isinstance(third, NotYet)
        b.clock.at = third.until
        assert isinstance(await b.begin(one, 2), Cleared)


async def test_a_released_lease_gives_message_and_limits_back(tmp_path):
    async with bench(tmp_path) as b:
        batch_id = await b.batch(1, template="a" * 400)
        [one] = await b.lease(CARDS[0])
        release = Release(token=one.token, reason="the modem failed", rules=b.rules)
        assert await b.store.write_in_set(segments.release, release) == 3
        assert await b.states(batch_id) == {SegmentState.QUEUED: 3}
        assert await b.used(CARDS[0]) == 0
        assert isinstance((await b.lease(CARDS[1]))[0], Leased)


# ---------------------------------------------------------------- the gate


async def test_a_clearance_carries_the_tpdu_and_the_row_is_submitting(tmp_path):
    async with bench(tmp_path) as b:
        await b.batch(1)
        [one] = await b.lease(CARDS[0])
        cleared = await b.begin(one)
        assert isinstance(cleared, Cleared)
        assert cleared.tpdu == b"\x01tpdu"
        row = await b.row(one.segments[0][0])
        assert (row.state, row.tries, row.submitting_at) == ("submitting", 1, b.clock.at)


def test_nobody_else_can_make_a_clearance():
    with pytest.raises(TypeError):
        Cleared(segment_id=SegmentId(1), tpdu=b"", seal=object())


async def test_a_lease_serves_once(tmp_path):
    async with bench(tmp_path) as b:
        await b.batch(1)
        [one] = await b.lease(CARDS[0])
        assert isinstance(await b.begin(one), Cleared)
        assert isinstance(await b.begin(one), Withdrawn)


async def test_a_lapsed_or_foreign_lease_is_no_clearance(tmp_path):
    async with bench(tmp_path) as b:
        await b.batch(2)
        one, other = await b.lease(*CARDS[:2])
        assert isinstance(await b.begin(one, token=other.token), Withdrawn)
        b.clock.advance(b.rules.lease_seconds)
        assert isinstance(await b.begin(one), Withdrawn)


async def test_the_gap_is_kept_between_two_submits_of_a_card(tmp_path):
    async with bench(tmp_path, caps=Caps(minute=9, hour=9, day=9, gap=3)) as b:
        await b.batch(2)
        [one] = await b.lease(CARDS[0])
        [two] = await b.lease(CARDS[0])
        assert isinstance(await b.begin(one), Cleared)
        b.clock.advance(1)
        waits = await b.begin(two)
        assert waits == NotYet(until=b.clock.at + timedelta(seconds=2))
        b.clock.advance(2)
        assert isinstance(await b.begin(two), Cleared)


def _opt_out(b, tx, batch_id):
    bidx = tx.conn.scalar(select(message.c.recipient_bidx).where(message.c.batch_id == batch_id))
    tx.conn.execute(
        opt_out.insert().values(
            number_bidx=bidx, number_enc=b"", at=tx.now, source="api", by="tester"
        )
    )


def _revoke(b, tx, batch_id):
    person = b.staff.approvers["manager"]
    key = find_approver_key(tx.conn, tx.vault, person.kid)
    revoke_approver_key(tx, key, reason="stolen")


REFUSALS = {
    "held": (lambda b, tx, id_: batches.move(tx, id_, BatchState.HELD), None, BatchState.HELD),
    "cancelled": (
        lambda b, tx, id_: batches.move(tx, id_, BatchState.CANCELLED), None, BatchState.CANCELLED
    ),
    "opted out": (_opt_out, "SIM-08", BatchState.RUNNING),
    "key revoked": (_revoke, "SMS-01", BatchState.HELD),
    "text changed": (
        lambda b, tx, id_: tx.conn.execute(text("UPDATE batch SET template = 'Hallo'")),
        "SMS-01", BatchState.HELD,
    ),
    "approval deleted": (
        lambda b, tx, id_: tx.conn.execute(text("DELETE FROM approval")), "SMS-01", BatchState.HELD
    ),
    "approval forged": (
        lambda b, tx, id_: tx.conn.execute(text("UPDATE approval SET jws = jws || 'A'")),
        "SMS-01", BatchState.HELD,
    ),
    "confirmation deleted": (
        lambda b, tx, id_: tx.conn.execute(text("DELETE FROM confirmation")),
        "SEC-04", BatchState.HELD,
    ),
    "card lost": (
        lambda b, tx, id_: sims.change_state(tx, CARDS[0], CardState.LOST), None, BatchState.RUNNING
    ),
    "card forged": (
        lambda b, tx, id_: tx.conn.execute(text("UPDATE sim SET verified_at = 1")),
        None, BatchState.RUNNING,
    ),
    "bay paused": (
        lambda b, tx, id_: modems.set_desired(tx, bay_of(CARDS[0]), DesiredState.PAUSED),
        None, BatchState.RUNNING,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
async def test_what_changed_after_the_lease_withdraws_it(tmp_path, name):
    change, policy, batch_state = REFUSALS[name]
    async with bench(tmp_path) as b:
        batch_id = await b.batch(1, template="a" * 400)
        [one] = await b.lease(CARDS[0])
        await b.store.write(lambda tx: change(b, tx, batch_id) and None)
        withdrawn = await b.begin(one)
        assert isinstance(withdrawn, Withdrawn)
        assert withdrawn.policy == policy
        assert await b.used(CARDS[0]) == 0, "nothing left: the limits are given back"
        found = await b.store.read(lambda conn: batches.find_batch(conn, batch_id))
        assert found.state is batch_state
        expected = SegmentState.REFUSED if name == "opted out" else SegmentState.QUEUED
        assert await b.states(batch_id) == {expected: 3}


async def test_one_withdrawn_request_of_a_set_does_not_hinder_the_others(tmp_path):
    async with bench(tmp_path) as b:
        await b.batch(3)
        found = await b.lease(*CARDS[:3])
        await b.store.write(lambda tx: sims.set_paused(tx, CARDS[1], is_paused=True) and None)
        results = await asyncio.gather(*(b.begin(one) for one in found))
        assert [type(one) for one in results] == [Cleared, Withdrawn, Cleared]


async def test_another_digest_than_the_approved_one_is_withdrawn(tmp_path):
    async with bench(tmp_path) as b:
        await b.batch(1)
        [one] = await b.lease(CARDS[0])
        withdrawn = await b.begin(one, digest=header_digest(b"another"))
        assert isinstance(withdrawn, Withdrawn)
        assert withdrawn.policy == "SMS-01"


async def test_limits_count_from_the_submit_not_from_the_lease(tmp_path):
    async with bench(tmp_path, caps=Caps(minute=1, hour=9, day=9, gap=0)) as b:
        await b.batch(3)
        [one] = await b.lease(CARDS[0])
        b.clock.advance(66)
        [two] = await b.lease(CARDS[0])
        assert isinstance(await b.begin(two), Cleared)
        assert isinstance(await b.begin(one), NotYet)


# ---------------------------------------------------------------- outcomes


async def test_an_accepted_segment_is_sent_with_its_reference(tmp_path):
    async with bench(tmp_path) as b:
        await b.batch(1)
        [one] = await b.lease(CARDS[0])
        await b.begin(one)
        assert await b.end(one, Took(mr=41)) is SegmentState.SENT
        row = await b.row(one.segments[0][0])
        assert (row.state, row.mr, row.iccid, row.sent_at) == ("sent", 41, CARDS[0], b.clock.at)
        assert await b.used(CARDS[0]) == 1


async def test_a_network_refusal_comes_back_later_with_its_charge_returned(tmp_path):
    async with bench(tmp_path) as b:
        await b.batch(1)
        [one] = await b.lease(CARDS[0])
        await b.begin(one)
        assert await b.end(one, NO) is SegmentState.QUEUED
        assert await b.used(CARDS[0]) == 0
        assert await b.lease(CARDS[0]) == [Nothing()]
        b.clock.advance(37)
        [again] = await b.lease(CARDS[0])
        assert again.message_id == one.message_id
        row = await b.row(one.segments[0][0])
        assert (row.tries, row.cause) == (1, "cms:38")


async def test_a_card_that_is_barred_is_not_tried_again_for_the_message(tmp_path):
    async with bench(tmp_path) as b:
        await b.batch(1)
        [one] = await b.lease(CARDS[0])
        await b.begin(one)
        assert await b.end(one, OTHER) is SegmentState.QUEUED
        assert await b.lease(CARDS[0]) == [Nothing()]
        [other] = await b.lease(CARDS[1])
        assert other.message_id == one.message_id


async def test_a_message_to_blame_fails_whole_and_at_once(tmp_path):
    async with bench(tmp_path) as b:
        batch_id = await b.batch(1, template="a" * 400)
        [one] = await b.lease(CARDS[0])
        await b.begin(one)
        assert await b.end(one, STOP) is SegmentState.REFUSED
        assert await b.states(batch_id) == {SegmentState.REFUSED: 3}
        assert await b.used(CARDS[0]) == 0
        told = await b.store.read(
            lambda conn: conn.scalars(select(event.c.data).where(event.c.kind == "message")).all()
        )
        assert any('"failed"' in data for data in told)


async def test_once_a_segment_left_the_rest_keeps_its_card(tmp_path):
    async with bench(tmp_path) as b:
        await b.batch(1, template="a" * 400)
        [one] = await b.lease(CARDS[0])
        await b.begin(one)
        await b.end(one, Took(mr=1))
        await b.begin(one, 1)
        assert await b.end(one, OTHER, 1) is SegmentState.QUEUED
        b.clock.advance(8_000)
        assert await b.lease(CARDS[1]) == [Nothing()], "another card never"
        [rest] = await b.lease(CARDS[0])
        assert [seq for _, seq in rest.segments] == [2, 3]


async def test_what_is_in_doubt_stays_charged_and_is_never_leased_again(tmp_path):
    async with bench(tmp_path) as b:
        batch_id = await b.batch(1)
        [one] = await b.lease(CARDS[0])
        await b.begin(one)
        assert await b.end(one, Doubtful(reason="no answer")) is SegmentState.IN_DOUBT
        assert await b.used(CARDS[0]) == 1
        b.clock.advance(90_000)
        assert await b.lease(*CARDS) == [Nothing()] * len(CARDS)
        assert await b.states(batch_id) == {SegmentState.IN_DOUBT: 1}


async def test_doubt_holds_the_batch_where_the_site_says_so(tmp_path):
    async with bench(tmp_path, on_doubt_hold=True) as b:
        batch_id = await b.batch(2)
        [one] = await b.lease(CARDS[0])
        await b.begin(one)
        await b.end(one, Doubtful(reason="no answer"))
        found = await b.store.read(lambda conn: batches.find_batch(conn, batch_id))
        assert found.state is BatchState.HELD


async def test_an_outcome_without_its_submit_changes_nothing(tmp_path):
    async with bench(tmp_path) as b:
        batch_id = await b.batch(1)
        [one] = await b.lease(CARDS[0])
        assert await b.end(one, Took(mr=1)) is None
        assert await b.states(batch_id) == {SegmentState.LEASED: 1}


async def test_outcomes_and_submits_of_one_instant_are_each_one_set(tmp_path):
    async with bench(tmp_path) as b:
        batch_id = await b.batch(6)
        found = await b.lease(*CARDS[:6])
        await asyncio.gather(*(b.begin(one) for one in found))
        results = [Took(mr=1), NO, STOP, OTHER, Doubtful(reason="x"), Took(mr=2)]
        states = await asyncio.gather(
            *(b.end(one, result) for one, result in zip(found, results, strict=True))
        )
        s = SegmentState
        assert states == [s.SENT, s.QUEUED, s.REFUSED, s.QUEUED, s.IN_DOUBT, s.SENT]
        assert await b.states(batch_id) == {s.SENT: 2, s.QUEUED: 2, s.REFUSED: 1, s.IN_DOUBT: 1}


# ---------------------------------------------------------------- sweeps


async def test_a_restart_puts_submitting_in_doubt_and_leases_back(tmp_path):
    async with bench(tmp_path) as b:
        batch_id = await b.batch(3)
        one, two, _ = await b.lease(*CARDS[:3])
        await b.begin(one)
        await b.begin(two)
        await b.end(two, Took(mr=1))
        assert await b.store.write(lambda tx: sweeps.recover(tx, b.rules)) == (1, 1)
        s = SegmentState
        assert await b.states(batch_id) == {s.IN_DOUBT: 1, s.SENT: 1, s.QUEUED: 1}
        assert await b.used(CARDS[2]) == 0
        assert await b.used(CARDS[0]) == 1


async def test_another_nodes_submits_are_not_ours_to_judge(tmp_path):
    async with bench(tmp_path) as b:
        await b.batch(1)
        [one] = await b.lease(CARDS[0])
        await b.begin(one)
        await b.store.write(
            lambda tx: tx.conn.execute(update(segment).values(node_id="n2")) and None
        )
        assert await b.store.write(lambda tx: sweeps.recover(tx, b.rules)) == (0, 0)


async def test_a_lapsed_lease_goes_back_to_the_queue(tmp_path):
    async with bench(tmp_path) as b:
        batch_id = await b.batch(1)
        await b.lease(CARDS[0])
        b.clock.advance(b.rules.lease_seconds)
        swept = await b.store.write(lambda tx: sweeps.sweep(tx, b.rules))
        assert swept.n_lapsed == 1
        assert await b.states(batch_id) == {SegmentState.QUEUED: 1}


async def test_segments_of_a_window_that_ended_expire(tmp_path):
    async with bench(tmp_path) as b:
        batch_id = await b.batch(4, not_after=b.clock.at + timedelta(hours=1))
        await b.lease(CARDS[0])
        b.clock.advance(3_601)
        for _ in range(2):
            await b.store.write(lambda tx: sweeps.sweep(tx, b.rules))
        assert await b.states(batch_id) == {SegmentState.EXPIRED: 4}


async def test_a_batch_is_done_when_nothing_of_it_is_open(tmp_path):
    async with bench(tmp_path) as b:
        batch_id = await b.batch(1)
        [one] = await b.lease(CARDS[0])
        await b.begin(one)
        await b.store.write(lambda tx: sweeps.sweep(tx, b.rules))
        running = await b.store.read(lambda conn: batches.find_batch(conn, batch_id))
        assert running.state is BatchState.RUNNING
        await b.end(one, Took(mr=1))
        await b.store.write(lambda tx: sweeps.sweep(tx, b.rules))
        done = await b.store.read(lambda conn: batches.find_batch(conn, batch_id))
        assert done.state is BatchState.DONE


async def test_every_change_of_a_segment_is_in_the_journal(tmp_path):
    async with bench(tmp_path) as b:
        await b.batch(1)
        [one] = await b.lease(CARDS[0])
        await b.begin(one)
        await b.end(one, Took(mr=1))
        rows = await b.store.read(
            lambda conn: conn.execute(
                select(segment_journal.c.before, segment_journal.c.after).order_by(
                    segment_journal.c.entry_id
                )
            ).all()
        )
        assert [tuple(row) for row in rows] == [
            ("queued", "leased"), ("leased", "submitting"), ("submitting", "sent"),
        ]  # fmt: skip


@pytest.mark.sqlite_only  # SQLite's own plan
async def test_the_queue_is_read_through_its_indexes(tmp_path):
    async with bench(tmp_path) as b:
        await b.batch(1)
        facts = {"batch": "x", "cards": ["c"], "alone": "", "n": 5, "tokens": ["t"]}

        def plan(conn, statement):
            text, values = statement.spelled(conn.dialect, facts)
            rows = conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", tuple(values)).all()
            return " / ".join(row[3] for row in rows)

        fresh = await b.store.read(lambda conn: plan(conn, leases._FRESH))
        held_plan = await b.store.read(lambda conn: plan(conn, segments._LEASED))
        assert "ix_segment_queue" in fresh
        assert "TEMP B-TREE" not in fresh
        assert "ix_segment_open" in held_plan


@pytest.mark.sqlite_only  # statements as SQLite tells them
async def test_where_nothing_runs_no_card_is_read(tmp_path):
    """Every few seconds each card of a bank at rest asks."""
    async with bench(tmp_path) as b:
        with statements(b.store) as run:
            assert await b.lease(*CARDS[:3]) == [Nothing()] * 3
        assert not [one for one in run if "FROM sim" in one or "FROM quota" in one]
        await b.batch(1)
        with statements(b.store) as run:
            assert isinstance((await b.lease(CARDS[0]))[0], Leased)
        assert [one for one in run if "FROM sim" in one]
