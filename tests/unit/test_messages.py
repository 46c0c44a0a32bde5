"""Messages, doubt and opt-outs, as people look them up and decide."""

import dataclasses
import sqlite3
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
from sqlalchemy import insert, select, update

from modemctl.errors import Conflict, InvalidRequest, NotFound, NotPermitted, PolicyRefused
from modemctl.lifecycle import SEGMENT, MessageState, SegmentState
from modemctl.model import EventKind, SegmentId
from modemctl.policy.numbers import NumberRules
from modemctl.service.doubt import MAX_SEGMENTS, Doubts
from modemctl.service.messages import _WORDS, Messages
from modemctl.service.optouts import OptOuts
from modemctl.store import optouts
from modemctl.store.tables import audit_entry, event, message, opt_out, segment
from modemctl.store.transaction import Transition
from tests.support.approved import numbers
from tests.support.benches import bench
from tests.support.people import GENERAL, open_office
from tests.support.stores import open_store


@asynccontextmanager
async def office_in(folder):
    async with open_store(folder) as store:
        office = await open_office(store)
        office.messages = Messages(store, office.batches._rules)
        office.doubts = Doubts(store, general_department=GENERAL)
        office.opt_outs = OptOuts(store, NumberRules())
        yield office


async def walk(office, segment_id, *states, note=None):
    """Put a segment through states as the fleet does: row and journal."""

    def act(tx):
        for before, after in pairwise(states):
            tx.conn.execute(
                update(segment).where(segment.c.segment_id == segment_id).values(state=after)
            )
            tx.transition(
                Transition(
                    segment_id=SegmentId(segment_id),
                    before=before,
                    after=after,
                    actor="n1",
                    note=note,
                )
            )

    await office.store.write(act)
    office.store.clock.advance(1)


Q, L, S = SegmentState.QUEUED, SegmentState.LEASED, SegmentState.SUBMITTING
D, SENT = SegmentState.IN_DOUBT, SegmentState.SENT


# ---------------------------------------------------------------- messages


async def test_messages_are_found_by_batch_and_by_number(tmp_path):
    async with office_in(tmp_path) as office:
        one, two = await office.submit(3), await office.submit(2)
        who = office.who["checker"]
        by_batch = await office.messages.search(who, batch_id=one.batch.batch_id)
        assert [item.line_no for item in by_batch.items] == [1, 2, 3]
        by_number = await office.messages.search(who, number="138 0000 0002")
        assert [item.batch_id for item in by_number.items] == [
            one.batch.batch_id,
            two.batch.batch_id,
        ]
        assert {item.to for item in by_number.items} == {"+8613800000002"}
        masked = await office.messages.search(office.who["system"], number="13800000002")
        assert {item.to for item in masked.items} == {"+86138****0002"}
        assert (await office.messages.search(who, number="13900000000")).items == []
        with pytest.raises(InvalidRequest):
            await office.messages.search(who, number="hello")


async def test_messages_are_paged(tmp_path):
    async with office_in(tmp_path) as office:
        await office.submit(5)
        seen, cursor = [], None
        while True:
            page = await office.messages.search(office.who["checker"], cursor=cursor, limit=2)
            seen += [item.line_no for item in page.items]
            if (cursor := page.next) is None:
                break
    assert seen == [1, 2, 3, 4, 5]


async def test_a_message_explains_itself_in_order(tmp_path):
    async with office_in(tmp_path) as office:
        shown = await office.submit(1, text="x" * 200)
        office.store.clock.advance(60)
        await office.start(await office.approve(shown))
        office.store.clock.advance(60)

        def choose(tx):
            tx.conn.execute(update(message).values(iccid="8986", choice="department retail"))

        await office.store.write(choose)
        await walk(office, 1, Q, L, S, SENT)
        await walk(office, 2, Q, L, S, D, note="no answer within 180 s")
        found = await office.messages.explain(office.who["checker"], 1)
        assert found.message.state is MessageState.IN_DOUBT
        assert "in doubt" in found.summary
        words = [one.what for one in found.moments]
        drafter = office.who["drafter"].name
        assert words[0] == f"submitted in batch {shown.batch.batch_id}, drafted by {drafter}"
        assert words[1] == "signed by dm as department_manager with key key-dm"
        assert words[2:] == [
            "segment 1 of 2: given to a card; card 8986: department retail",
            "segment 1 of 2: cleared; being handed to the modem",
            "segment 1 of 2: accepted by the network",
            "segment 2 of 2: given to a card; no answer within 180 s",
            "segment 2 of 2: cleared; being handed to the modem (no answer within 180 s)",
            "segment 2 of 2: no answer that tells whether it left (no answer within 180 s)",
        ]
        assert found.moments[1].actor == office.who["dm"].name
        assert [one.at for one in found.moments] == sorted(one.at for one in found.moments)


def test_every_legal_change_of_a_segment_has_words():
    assert set(_WORDS) == {(before, after) for before, to in SEGMENT.items() for after in to}


async def test_a_cancelled_batchs_message_says_why_it_was_not_sent(tmp_path):
    async with office_in(tmp_path) as office:
        shown = await office.approve(await office.submit(1))
        await office.batches.cancel(office.who["operator"], shown.batch.batch_id, "wrong list")
        found = await office.messages.explain(office.who["checker"], 1)
    assert found.message.state is MessageState.CANCELLED
    assert found.summary == "was not sent: its batch is cancelled (wrong list)"


async def test_a_message_out_of_sight_does_not_exist(tmp_path):
    async with office_in(tmp_path) as office:
        await office.submit(1)
        for who, message_id in ((office.who["stranger"], 1), (office.who["checker"], 99)):
            with pytest.raises(NotFound):
                await office.messages.explain(who, message_id)
        assert (await office.messages.search(office.who["stranger"])).items == []


async def test_a_tampered_line_is_shown_without_number(tmp_path):
    async with office_in(tmp_path) as office:
        await office.submit(1)
        await office.store.write(lambda tx: tx.conn.execute(update(message).values(line_enc=b"x")))
        found = await office.messages.explain(office.who["checker"], 1)
    assert found.message.to is None
    assert "SMS-01" in found.summary


# ---------------------------------------------------------------- doubt


async def in_doubt(office, n=3):
    shown = await office.start(await office.approve(await office.submit(n)))
    for segment_id in range(1, n + 1):
        await walk(office, segment_id, Q, L, S, D)
    return shown


async def state_of(office, segment_id):
    return await office.store.read(
        lambda conn: conn.scalar(select(segment.c.state).where(segment.c.segment_id == segment_id))
    )


async def test_doubts_are_listed_in_pages(tmp_path):
    async with office_in(tmp_path) as office:
        await in_doubt(office)
        page = await office.doubts.list_doubts(office.who["operator"], limit=2)
        assert [(one.segment_id, one.may_resend) for one in page.items] == [(1, True), (2, True)]
        assert page.items[0].to == "+8613800000001"
        rest = await office.doubts.list_doubts(office.who["system"], cursor=page.next)
        assert [(one.segment_id, one.to) for one in rest.items] == [(3, "+86138****0003")]
        assert (await office.doubts.list_doubts(office.who["stranger"])).items == []


async def test_a_person_closes_or_resends_and_both_are_on_record(tmp_path):
    async with office_in(tmp_path) as office:
        shown = await in_doubt(office)
        who = office.who["operator"]
        assert await office.doubts.close(who, [1], "customer has it") == [1]
        assert await office.doubts.resend(who, [3, 2, 3], "customer has it not") == [2, 3]
        states = [await state_of(office, one) for one in (1, 2, 3)]
        assert states == ["abandoned", "queued", "queued"]
        found = await office.messages.explain(who, 2)
        assert found.moments[-1].what == ("a person decided to send it again (customer has it not)")
        assert found.moments[-1].actor == "operator"
        actions = await office.store.read(
            lambda conn: conn.execute(
                select(audit_entry.c.action, audit_entry.c.subject).where(
                    audit_entry.c.action.like("doubt.%")
                )
            ).all()
        )
    assert [tuple(one) for one in actions] == [
        ("doubt.close", shown.batch.batch_id),
        ("doubt.resend", shown.batch.batch_id),
    ]


@pytest.mark.parametrize("act", ["close", "resend"])
async def test_a_machine_decides_no_doubt(tmp_path, act):
    async with office_in(tmp_path) as office:
        await in_doubt(office)
        machine = dataclasses.replace(office.who["operator"], is_person=False)
        with pytest.raises(PolicyRefused, match="SMS-06"):
            await getattr(office.doubts, act)(machine, [1], "it seemed right")


async def test_what_is_not_in_doubt_is_not_decided_and_nothing_else_happens(tmp_path):
    async with office_in(tmp_path) as office:
        await in_doubt(office, 2)
        who = office.who["operator"]
        await walk(office, 2, D, SENT)
        for ids in ([1, 2], [1, 99]):
            with pytest.raises(Conflict):
                await office.doubts.resend(who, ids, "why not")
        assert await state_of(office, 1) == "in_doubt"


async def test_a_batch_that_is_over_sends_nothing_again_but_can_be_closed(tmp_path):
    async with office_in(tmp_path) as office:
        shown = await in_doubt(office, 1)
        who = office.who["operator"]
        await office.batches.cancel(who, shown.batch.batch_id, "stop")
        page = await office.doubts.list_doubts(who)
        assert [one.may_resend for one in page.items] == [False]
        with pytest.raises(Conflict, match="cancelled"):
            await office.doubts.resend(who, [1], "again")
        assert await office.doubts.close(who, [1], "over") == [1]


async def test_a_decision_needs_scope_reason_and_a_reasonable_number(tmp_path):
    async with office_in(tmp_path) as office:
        await in_doubt(office, 1)
        who = office.who["operator"]
        with pytest.raises(NotPermitted):
            await office.doubts.close(office.who["checker"], [1], "because")
        for ids, reason in (
            ([1], " "),
            ([], "x"),
            (range(MAX_SEGMENTS + 1), "x"),
            ([1], "x" * 501),
        ):
            with pytest.raises(InvalidRequest):
                await office.doubts.close(who, ids, reason)


# ---------------------------------------------------------------- opt-outs


async def test_a_number_is_put_on_the_list_once_and_taken_off(tmp_path):
    async with office_in(tmp_path) as office:
        who = office.who["operator"]
        first = await office.opt_outs.add(who, "138 0000 0001")
        assert (first.number, first.source, first.by) == ("+8613800000001", "api", "operator")
        office.store.clock.advance(60)
        assert await office.opt_outs.add(who, "+8613800000001") == first
        assert await office.store.write(lambda tx: optouts.add_from_sms(tx, "+8613800000002", "td"))
        assert not await office.store.write(
            lambda tx: optouts.add_from_sms(tx, "+8613800000002", "t")
        )
        page = await office.opt_outs.list_opt_outs(who, number="13800000002")
        assert [(one.source, one.keyword) for one in page.items] == [("sms", "td")]
        await office.opt_outs.remove(who, "13800000001", "wrote to us")
        with pytest.raises(NotFound):
            await office.opt_outs.remove(who, "13800000001", "again")
        rest = await office.opt_outs.list_opt_outs(who)
        assert [one.number for one in rest.items] == ["+8613800000002"]
        entries = await office.store.read(
            lambda conn: conn.execute(
                select(audit_entry.c.action, audit_entry.c.details).where(
                    audit_entry.c.action.like("opt_out.%")
                )
            ).all()
        )
    assert [one.action for one in entries] == ["opt_out.add", "opt_out.add", "opt_out.remove"]
    assert not any("8613800000001" in one.details for one in entries)


async def test_the_list_is_paged_masked_and_survives_a_tampered_row(tmp_path):
    async with office_in(tmp_path) as office:
        who = office.who["operator"]
        for i in range(5):
            await office.opt_outs.add(who, f"1380000000{i}")
        seen, cursor = [], None
        while True:
            page = await office.opt_outs.list_opt_outs(office.who["system"], cursor=cursor, limit=2)
            seen += [one.number for one in page.items]
            if (cursor := page.next) is None:
                break
        assert sorted(seen) == [f"+86138****000{i}" for i in range(5)]
        await office.store.write(lambda tx: tx.conn.execute(update(opt_out).values(number_enc=b"")))
        page = await office.opt_outs.list_opt_outs(who)
        assert [one.number for one in page.items] == [None] * 5


async def test_opt_outs_need_scope_number_and_reason(tmp_path):
    async with office_in(tmp_path) as office:
        who = office.who["operator"]
        with pytest.raises(NotPermitted):
            await office.opt_outs.add(office.who["checker"], "13800000001")
        with pytest.raises(InvalidRequest):
            await office.opt_outs.add(who, "010-61234567")
        with pytest.raises(InvalidRequest):
            await office.opt_outs.remove(who, "13800000001", "")
        with pytest.raises(InvalidRequest):
            await office.opt_outs.list_opt_outs(who, cursor="IkdHIg")


@pytest.mark.sqlite_only  # SQLite's limit of values
async def test_opt_outs_of_a_whole_list_end_it_whatever_its_length(tmp_path):
    """A database takes a list of so many values and no more."""
    n = 600
    async with bench(tmp_path) as b:
        batch_id = await b.batch(n)

        def act(tx):
            tx.conn.execute(
                insert(opt_out),
                [
                    {"number_bidx": tx.vault.blind_index(one), "number_enc": b"", "at": tx.now,
                     "source": "list", "by": "a"}
                    for one in numbers(n)
                ],
            )  # fmt: skip
            database = tx.conn.connection.dbapi_connection
            before = database.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, n)
            try:
                return optouts.refuse_waiting(tx, batch_id)
            finally:
                database.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, before)

        assert await b.store.write(act) == n
        assert await b.states(batch_id) == {SegmentState.REFUSED: n}
        told = await b.store.read(
            lambda conn: conn.scalars(
                select(event.c.subject).where(event.c.kind == EventKind.MESSAGE)
            ).all()
        )
        assert len(told) == len(set(told)) == n
