"""Delivery reports find their segment, or wait, or say that they do not know."""

from datetime import datetime, timedelta
from itertools import count

import pytest
from sqlalchemy import insert, select, update

from modemctl.lifecycle import SegmentState
from modemctl.store import Store, Tx, reports
from modemctl.store.reports import Matching, NewReport
from modemctl.store.tables import (
    batch,
    event,
    message,
    recipient,
    report,
    segment,
    segment_journal,
)
from tests.support.stores import TestClock, open_store

CARD = "89860000000000000001"
OTHER_CARD = "89860000000000000002"
HER = "+8613800000001"
HIM = "+8613800000002"
S = SegmentState
_numbers = count(1)


def sent(tx: Tx, *, mr=7, to=HER, card=CARD, state=S.SENT, ago=30.0, n=1) -> list[int]:
    """Segments of one message that left `ago` seconds ago, with references mr, mr+1, …"""
    number = next(_numbers)
    batch_id = f"batch-{number}"
    left = tx.now - timedelta(seconds=ago)
    tx.conn.execute(
        insert(batch).values(
            batch_id=batch_id, category="notice", state="running", priority=0, department="d",
            party="own", drafter="a", operator="b", submitter="c", template="t",
            starts_itself=True, not_before=tx.now, not_after=tx.now, request_digest=b"",
            n_lines=1, n_removed=0, n_segments=n, created_at=tx.now, state_at=tx.now,
        )
    )  # fmt: skip
    message_id = tx.conn.execute(
        insert(message)
        .values(
            batch_id=batch_id, line_no=1, recipient_bidx=tx.vault.blind_index(to),
            line_enc=b"", n_segments=n, iccid=card,
        )
        .returning(message.c.message_id)
    ).scalar_one()  # fmt: skip
    tx.conn.execute(
        insert(recipient).values(
            recipient_bidx=tx.vault.blind_index(to), batch_id=batch_id, line_no=1
        )
    )
    known = mr is not None and state not in {S.IN_DOUBT, S.SUBMITTING}
    return [
        tx.conn.execute(
            insert(segment)
            .values(
                message_id=message_id, batch_id=batch_id, seq=i + 1, state=state.value,
                iccid=card, bay="1", node_id="n1", mr=(mr + i) % 256 if known else None,
                submitting_at=left, sent_at=left if known else None,
            )
            .returning(segment.c.segment_id)
        ).scalar_one()
        for i in range(n)
    ]  # fmt: skip


def reported(clock: TestClock, *, mr=7, st=0, to=HER, card=CARD, left_ago=30.0, salt=0):
    """A report as the modem gave it; `salt` makes its octets differ."""
    scts = None if left_ago is None else clock.now() - timedelta(seconds=left_ago)
    return NewReport(
        iccid=card, bay="1", recipient=to, mr=mr, st=st, scts=scts, discharged_at=clock.now(),
        tpdu=bytes([6, mr, st, salt % 256, salt // 256]),
    )  # fmt: skip


def note(tx: Tx, segment_id: int, at: datetime, before: SegmentState, after: SegmentState) -> None:
    """A row of the segments' journal."""
    row = {"segment_id": segment_id, "at": at, "before": before, "after": after, "actor": "n1"}
    tx.conn.execute(insert(segment_journal).values(**row))


async def state_of(store: Store, segment_id: int):
    return await store.read(
        lambda conn: conn.execute(
            select(segment.c.state, segment.c.mr, segment.c.note, segment.c.cause).where(
                segment.c.segment_id == segment_id
            )
        ).one()
    )


@pytest.fixture
def clock():
    return TestClock()


@pytest.mark.parametrize(
    ("st", "state", "note"),
    [
        (0x00, S.DELIVERED, "delivered to the recipient"),
        (0x01, S.SENT, "forwarded"),
        (0x1F, S.SENT, "forwarded"),
        (0x21, S.SENT, "pending"),
        (0x3F, S.SENT, "pending"),
        (0x43, S.UNDELIVERED, "not obtainable: no such number"),
        (0x46, S.EXPIRED, "validity period expired"),
        (0x65, S.UNDELIVERED, None),
        (0xFF, S.UNDELIVERED, None),
    ],
)
async def test_a_status_moves_its_segment(tmp_path, clock, st, state, note):
    async with open_store(tmp_path, clock) as store:
        (segment_id,) = await store.write(sent)
        result = await store.write_in_set(reports.add, reported(clock, st=st))
        row = await state_of(store, segment_id)
        n_events = await store.read(
            lambda conn: len(conn.execute(select(event).where(event.c.kind == "message")).all())
        )
        n_moves = await store.read(lambda conn: len(conn.execute(select(segment_journal)).all()))
    assert (result.matching, result.segment_id) == (Matching.MATCHED, segment_id)
    assert row.state == state
    assert note is None or row.note == note
    assert row.cause == (f"st:{st:02x}" if state in {S.UNDELIVERED, S.EXPIRED} else None)
    assert n_moves == n_events == (0 if state is S.SENT else 1)


async def test_pending_then_delivered_then_a_stale_pending(tmp_path, clock):
    async with open_store(tmp_path, clock) as store:
        (segment_id,) = await store.write(sent)
        for salt, st in enumerate([0x21, 0x00, 0x22]):
            await store.write_in_set(reports.add, reported(clock, st=st, salt=salt))
        row = await state_of(store, segment_id)
    assert row.state == S.DELIVERED


async def test_a_doubled_report_changes_nothing(tmp_path, clock):
    async with open_store(tmp_path, clock) as store:
        (segment_id,) = await store.write(sent)
        first = await store.write_in_set(reports.add, reported(clock))
        again = await store.write_in_set(reports.add, reported(clock))
        n_rows = await store.read(lambda conn: len(conn.execute(select(report)).all()))
    assert not first.is_repeat
    assert again.is_repeat
    assert again.segment_id == segment_id
    assert n_rows == 1


async def test_two_copies_in_one_set_are_one_report(tmp_path, clock):
    async with open_store(tmp_path, clock) as store:
        await store.write(sent)
        both = await store.write(lambda tx: reports.add(tx, [reported(clock)] * 2))
    assert [one.is_repeat for one in both] == [False, True]


async def test_a_report_that_is_ahead_of_its_answer_waits_for_it(tmp_path, clock):
    async with open_store(tmp_path, clock) as store:
        (segment_id,) = await store.write(lambda tx: sent(tx, state=S.SUBMITTING, ago=2))
        early = await store.write_in_set(reports.add, reported(clock, left_ago=1))
        assert early.matching is Matching.UNMATCHED

        def answer(tx: Tx) -> int:
            tx.conn.execute(update(segment).values(state="sent", mr=7, sent_at=tx.now))
            return reports.rematch(tx, [segment_id])

        assert await store.write(answer) == 1
        row = await state_of(store, segment_id)
    assert (row.state, row.mr) == (S.DELIVERED, 7)


async def test_another_reference_is_left_for_its_own_segment(tmp_path, clock):
    async with open_store(tmp_path, clock) as store:
        await store.write_in_set(reports.add, reported(clock, mr=8))
        (segment_id,) = await store.write(sent)
        assert await store.write(lambda tx: reports.rematch(tx, [segment_id])) == 0
        row = await state_of(store, segment_id)
    assert row.state == S.SENT


@pytest.mark.parametrize(("to", "card"), [(HIM, CARD), (HER, OTHER_CARD)])
async def test_reference_alone_is_no_key(tmp_path, clock, to, card):
    async with open_store(tmp_path, clock) as store:
        (segment_id,) = await store.write(sent)
        result = await store.write_in_set(reports.add, reported(clock, to=to, card=card))
        row = await state_of(store, segment_id)
    assert result.matching is Matching.UNMATCHED
    assert row.state == S.SENT


@pytest.mark.both_databases
async def test_reports_out_of_order_find_their_own(tmp_path, clock):
    async with open_store(tmp_path, clock) as store:
        ids = await store.write(lambda tx: sent(tx, mr=254, n=4))
        for mr in (1, 255, 0, 254):
            await store.write_in_set(reports.add, reported(clock, mr=mr, st=mr % 2 * 0x43))
        states = [(await state_of(store, one)).state for one in ids]
    assert states == [S.DELIVERED, S.UNDELIVERED, S.DELIVERED, S.UNDELIVERED]


async def test_a_reference_that_wrapped_is_told_apart_by_the_time(tmp_path, clock):
    """600 messages to one number by one card: each reference stands for two or three of them."""
    async with open_store(tmp_path, clock) as store:
        ids = []

        def send_all(tx: Tx) -> None:
            for i in range(600):
                ids.extend(sent(tx, mr=i % 256, ago=60.0 * (600 - i)))

        await store.write(send_all)
        order = list(range(600))
        order.sort(key=lambda i: (i * 7919) % 600)
        for i in order:
            one = reported(clock, mr=i % 256, left_ago=60.0 * (600 - i), salt=i)
            result = await store.write_in_set(reports.add, one)
            assert result.segment_id == ids[i]
        states = await store.read(
            lambda conn: set(conn.scalars(select(segment.c.state).distinct()))
        )
    assert states == {S.DELIVERED}


async def test_two_that_fit_alike_are_not_guessed(tmp_path, clock):
    """The modem was reset and counted from the start again."""
    async with open_store(tmp_path, clock) as store:
        ids = [(await store.write(lambda tx, ago=ago: sent(tx, ago=ago)))[0] for ago in (30, 90)]
        result = await store.write_in_set(reports.add, reported(clock))
        states = [(await state_of(store, one)).state for one in ids]
    assert result.matching is Matching.AMBIGUOUS
    assert states == [S.SENT, S.SENT]


async def test_a_centre_with_a_wrong_clock_is_believed_where_only_one_fits(tmp_path, clock):
    async with open_store(tmp_path, clock) as store:
        (segment_id,) = await store.write(sent)
        result = await store.write_in_set(reports.add, reported(clock, left_ago=-7 * 3600))
        row = await state_of(store, segment_id)
    assert result.matching is Matching.MATCHED
    assert row.state == S.DELIVERED


async def test_a_wrong_clock_and_two_candidates_are_ambiguous(tmp_path, clock):
    async with open_store(tmp_path, clock) as store:
        await store.write(lambda tx: sent(tx, state=S.DELIVERED, ago=7200))
        (segment_id,) = await store.write(sent)
        result = await store.write_in_set(reports.add, reported(clock, left_ago=-7 * 3600))
        row = await state_of(store, segment_id)
    assert result.matching is Matching.AMBIGUOUS
    assert row.state == S.SENT


async def test_a_reference_used_again_does_not_deliver_the_segment_of_days_ago(tmp_path, clock):
    """The newer one's answer got lost; the report's time says that it is the newer one's."""
    async with open_store(tmp_path, clock) as store:
        (old,) = await store.write(lambda tx: sent(tx, ago=3 * 86400))
        (new,) = await store.write(lambda tx: sent(tx, state=S.IN_DOUBT))
        result = await store.write_in_set(reports.add, reported(clock))
        states = [(await state_of(store, one)).state for one in (old, new)]
    assert (result.matching, result.segment_id) == (Matching.MATCHED, new)
    assert states == [S.SENT, S.DELIVERED]


async def test_a_report_ahead_of_its_answer_does_not_go_to_the_segment_of_days_ago(tmp_path, clock):
    async with open_store(tmp_path, clock) as store:
        (old,) = await store.write(lambda tx: sent(tx, ago=3 * 86400))
        (new,) = await store.write(lambda tx: sent(tx, state=S.SUBMITTING, ago=2))
        early = await store.write_in_set(reports.add, reported(clock, left_ago=1))
        assert early.matching is Matching.UNMATCHED

        def answer(tx: Tx) -> int:
            tx.conn.execute(
                update(segment)
                .where(segment.c.segment_id == new)
                .values(state="sent", mr=7, sent_at=tx.now)
            )
            return reports.rematch(tx, [new])

        assert await store.write(answer) == 1
        states = [(await state_of(store, one)).state for one in (old, new)]
    assert states == [S.SENT, S.DELIVERED]


async def test_a_report_of_another_time_is_not_put_down_to_a_final_segment(tmp_path, clock):
    async with open_store(tmp_path, clock) as store:
        await store.write(lambda tx: sent(tx, state=S.EXPIRED, ago=3 * 86400))
        result = await store.write_in_set(reports.add, reported(clock))
    assert (result.matching, result.segment_id) == (Matching.UNMATCHED, None)


async def test_two_doubts_of_the_reports_time_leave_the_segment_of_days_ago_alone(tmp_path, clock):
    async with open_store(tmp_path, clock) as store:
        (old,) = await store.write(lambda tx: sent(tx, ago=3 * 86400))
        await store.write(lambda tx: sent(tx, state=S.IN_DOUBT, n=2))
        result = await store.write_in_set(reports.add, reported(clock))
        row = await state_of(store, old)
    assert result.matching is Matching.AMBIGUOUS
    assert row.state == S.SENT


async def test_a_late_report_for_a_final_segment_is_not_given_to_a_newer_one(tmp_path, clock):
    async with open_store(tmp_path, clock) as store:
        (old,) = await store.write(lambda tx: sent(tx, state=S.EXPIRED, ago=7200))
        (new,) = await store.write(sent)
        result = await store.write_in_set(reports.add, reported(clock, left_ago=7200))
        states = [(await state_of(store, one)).state for one in (old, new)]
    assert result.segment_id == old
    assert states == [S.EXPIRED, S.SENT]


@pytest.mark.parametrize(
    ("st", "state"), [(0, S.DELIVERED), (0x46, S.EXPIRED), (0x43, S.UNDELIVERED), (0x21, S.SENT)]
)
async def test_a_report_settles_a_doubt(tmp_path, clock, st, state):
    async with open_store(tmp_path, clock) as store:
        (segment_id,) = await store.write(lambda tx: sent(tx, state=S.IN_DOUBT))
        result = await store.write_in_set(reports.add, reported(clock, mr=200, st=st))
        row = await state_of(store, segment_id)
    assert result.matching is Matching.MATCHED
    assert (row.state, row.mr) == (state, 200)


async def test_a_report_settles_no_doubt_while_another_answer_is_out(tmp_path, clock):
    async with open_store(tmp_path, clock) as store:
        (doubt,) = await store.write(lambda tx: sent(tx, state=S.IN_DOUBT, ago=60))
        (out,) = await store.write(lambda tx: sent(tx, state=S.SUBMITTING, ago=2))
        early = await store.write_in_set(reports.add, reported(clock, mr=9, left_ago=1))
        assert early.matching is Matching.UNMATCHED

        def answer(tx: Tx) -> int:
            tx.conn.execute(
                update(segment)
                .where(segment.c.segment_id == out)
                .values(state="sent", mr=9, sent_at=tx.now)
            )
            return reports.rematch(tx, [out])

        assert await store.write(answer) == 1
        states = [(await state_of(store, one)).state for one in (doubt, out)]
    assert states == [S.IN_DOUBT, S.DELIVERED]


async def test_two_doubts_are_not_guessed(tmp_path, clock):
    async with open_store(tmp_path, clock) as store:
        ids = await store.write(lambda tx: sent(tx, state=S.IN_DOUBT, n=2))
        result = await store.write_in_set(reports.add, reported(clock, mr=200))
        states = [(await state_of(store, one)).state for one in ids]
    assert result.matching is Matching.AMBIGUOUS
    assert states == [S.IN_DOUBT, S.IN_DOUBT]


@pytest.mark.both_databases
@pytest.mark.parametrize(
    ("ago", "again_after", "matching"),
    [
        (40, 10, Matching.AMBIGUOUS),  # it may be of her first try
        (4_000, 10, Matching.MATCHED),  # which left at another time
        (40, None, Matching.MATCHED),  # it was never in doubt
    ],
)
async def test_a_report_may_be_of_the_first_try_of_what_a_person_sent_again(
    tmp_path, clock, ago, again_after, matching
):
    async with open_store(tmp_path, clock) as store:
        (again,) = await store.write(lambda tx: sent(tx, mr=9, ago=5))
        (doubt,) = await store.write(lambda tx: sent(tx, state=S.IN_DOUBT))

        def former(tx: Tx) -> None:
            left = tx.now - timedelta(seconds=ago)
            note(tx, again, left, S.LEASED, S.SUBMITTING)
            if again_after is not None:
                note(tx, again, left + timedelta(seconds=again_after), S.IN_DOUBT, S.QUEUED)
            note(tx, again, tx.now, S.LEASED, S.SUBMITTING)

        await store.write(former)
        found = await store.write_in_set(reports.add, reported(clock, mr=200, left_ago=35))
        state = (await state_of(store, doubt)).state
    assert found.matching is matching
    assert state == (S.DELIVERED if matching is Matching.MATCHED else S.IN_DOUBT)


async def test_a_report_that_waited_settles_a_segment_that_comes_in_doubt(tmp_path, clock):
    async with open_store(tmp_path, clock) as store:
        (segment_id,) = await store.write(lambda tx: sent(tx, state=S.SUBMITTING, ago=2))
        await store.write_in_set(reports.add, reported(clock, mr=9, left_ago=1))

        def doubt(tx: Tx) -> int:
            tx.conn.execute(update(segment).values(state="in_doubt"))
            return reports.rematch(tx, [segment_id])

        assert await store.write(doubt) == 1
        row = await state_of(store, segment_id)
    assert row.state == S.DELIVERED


async def test_a_report_of_another_week_matches_nothing(tmp_path, clock):
    async with open_store(tmp_path, clock) as store:
        await store.write(lambda tx: sent(tx, ago=9 * 86400))
        result = await store.write_in_set(reports.add, reported(clock, left_ago=9 * 86400))
    assert result.matching is Matching.UNMATCHED


# ---------------------------------------------------------------- the same reference twice


async def test_a_second_report_of_a_reference_is_nobodys_while_another_is_in_doubt(tmp_path, clock):
    async with open_store(tmp_path, clock) as store:
        (known,) = await store.write(lambda tx: sent(tx, mr=0, ago=300))
        (doubt,) = await store.write(lambda tx: sent(tx, state=S.IN_DOUBT, ago=60))
        first = await store.write_in_set(reports.add, reported(clock, mr=0, left_ago=300))
        other = await store.write_in_set(reports.add, reported(clock, mr=0, left_ago=60, salt=1))
        states = [(await state_of(store, one)).state for one in (known, doubt)]
    assert (first.matching, first.segment_id) == (Matching.MATCHED, known)
    assert other.matching is Matching.AMBIGUOUS
    assert states == [S.DELIVERED, S.IN_DOUBT]


@pytest.mark.parametrize(
    ("left", "matching"),
    [
        ([(HIM, 6), (HER, 7), (HER, None), (HIM, 9)], Matching.MATCHED),
        ([(HIM, 5), (HER, None), (HER, 7)], Matching.MATCHED),
        ([(HIM, 20), (HER, None), (HER, 7)], Matching.AMBIGUOUS),  # it went back, to 0 it seems
        ([(HIM, 7), (HER, None), (HER, 7)], Matching.AMBIGUOUS),
        ([(HER, 7), (HIM, 99), (HIM, 180), (HIM, 2), (HER, None)], Matching.AMBIGUOUS),  # round
    ],
)
async def test_a_doubt_may_have_a_reference_that_came_again(tmp_path, clock, left, matching):
    def leave(tx: Tx) -> None:
        for place, (to, mr) in enumerate(left):
            state = S.IN_DOUBT if mr is None else S.SENT
            sent(tx, mr=mr, to=to, state=state, ago=400 - 10 * place)

    async with open_store(tmp_path, clock) as store:
        await store.write(leave)
        at = 400 - 10 * left.index((HER, 7))
        found = await store.write_in_set(reports.add, reported(clock, mr=7, left_ago=at))
    assert found.matching is matching


async def test_a_report_waits_for_the_answer_that_may_be_of_its_reference(tmp_path, clock):
    async with open_store(tmp_path, clock) as store:
        (known,) = await store.write(lambda tx: sent(tx, mr=7, ago=60))
        (out,) = await store.write(lambda tx: sent(tx, state=S.SUBMITTING, ago=2))
        early = await store.write_in_set(reports.add, reported(clock, mr=7, left_ago=60))
        assert early.matching is Matching.UNMATCHED

        def answer(tx: Tx) -> int:
            tx.conn.execute(
                update(segment)
                .where(segment.c.segment_id == out)
                .values(state="sent", mr=8, sent_at=tx.now)
            )
            return reports.rematch(tx, [out])

        assert await store.write(answer) == 1
        states = [(await state_of(store, one)).state for one in (known, out)]
    assert states == [S.DELIVERED, S.SENT]
