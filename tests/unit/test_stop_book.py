"""Stops of every kind hold at the lease and at the gate, tell their reach, and cannot be forged."""

import asyncio
import dataclasses
import threading
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import delete, update

from modemctl.errors import Conflict, InvalidRequest, NotFound, NotPermitted, PolicyRefused
from modemctl.lifecycle import BatchState, SegmentState
from modemctl.model import AccountId, Category, Topic
from modemctl.policy.stops import StopMemory
from modemctl.service.principal import Principal, scopes_of
from modemctl.service.stops import StopKind, Stops
from modemctl.store import batches, stop_book
from modemctl.store.leases import Leased, Nothing
from modemctl.store.outcomes import Took
from modemctl.store.replay import replay
from modemctl.store.submits import Cleared, Withdrawn
from modemctl.store.tables import event, stop, stop_batch, stop_seal
from tests.support.approved import GENERAL, SALES
from tests.support.benches import CARDS, bench


def person(name, *roles, department=None):
    return Principal(
        account_id=AccountId(name), name=name, department=department,
        scopes=scopes_of(frozenset(roles)), source="test", is_person=True,
    )  # fmt: skip


ANNA, BERT = (person(name, "operator") for name in ("anna", "bert"))
CARD, OTHER = CARDS[:2]


@asynccontextmanager
async def stopping(folder):
    async with bench(folder) as b:
        b.stops = Stops(b.store, general_department=GENERAL, memory=b.rules.stops)
        yield b


async def target_of(b, kind, batch_id):
    return {
        StopKind.FLEET: "", StopKind.DEPARTMENT: SALES, StopKind.CARD: CARD,
        StopKind.BATCH: batch_id, StopKind.NODE: b.store.node_id,
    }[kind]  # fmt: skip


@pytest.mark.parametrize("kind", StopKind)
async def test_what_is_leased_when_it_is_stopped_does_not_leave_and_nothing_is_leased(
    tmp_path, kind
):
    async with stopping(tmp_path) as b:
        batch_id = await b.batch(4)
        [leased] = await b.lease(CARD)
        with b.store.signals.subscribe(Topic.STOP) as bell:
            await b.stops.place(ANNA, kind, await target_of(b, kind, batch_id), "wrong text")
            assert await bell.wait(5)
        answer = await b.begin(leased)
        assert isinstance(answer, Withdrawn)
        if kind is not StopKind.BATCH:  # which is held as well
            assert (answer.policy, answer.reason.endswith("stopped")) == ("SEC-10", True)
        [after] = await b.lease(CARD)
        assert after == Nothing()
        assert await b.states(batch_id) == {SegmentState.QUEUED: 4}


async def test_a_stopped_batch_is_held_and_stays_so_when_the_stop_is_lifted(tmp_path):
    async with stopping(tmp_path) as b:
        batch_id = await b.batch(2)
        placed = await b.stops.place(ANNA, StopKind.BATCH, batch_id, "wrong text")
        for lifted in (False, True):
            if lifted:
                await b.stops.lift(ANNA, placed.stop_id, "settled")
            found = await b.store.read(lambda conn: batches.find_batch(conn, batch_id))
            assert (found.state, found.reason) == (BatchState.HELD, "wrong text")


async def test_a_running_stopped_batch_leaves_nothing_even_where_its_state_says_running(tmp_path):
    async with stopping(tmp_path) as b:
        batch_id = await b.batch(2)
        [leased] = await b.lease(CARD)
        await b.stops.place(ANNA, StopKind.BATCH, batch_id, "wrong text")
        await b.store.write(lambda tx: batches.move(tx, batch_id, BatchState.RUNNING) and None)
        answer = await b.begin(leased)
        assert answer == Withdrawn(reason="the batch is stopped", policy="SEC-10")
        assert await b.lease(OTHER) == [Nothing()]


async def test_other_cards_departments_and_batches_go_on(tmp_path):
    async with stopping(tmp_path) as b:
        await b.batch(4)
        stopped = await b.batch(2, category=Category.NOTICE, department=SALES)
        await b.stops.place(ANNA, StopKind.CARD, CARD, "lost")
        await b.stops.place(ANNA, StopKind.BATCH, stopped, "wrong list")
        [nothing, leased] = await b.lease(CARD, OTHER)
        assert nothing == Nothing()
        assert isinstance(await b.begin(leased), Cleared)
        assert await b.lease(CARDS[6]) == [Nothing()]


@pytest.mark.parametrize(("kind", "name"), [(StopKind.DEPARTMENT, "Sales"), (StopKind.NODE, "n9")])
async def test_a_name_that_nothing_bears_is_not_said_to_be_stopped(tmp_path, kind, name):
    async with stopping(tmp_path) as b:
        await b.batch(1)
        with pytest.raises(NotFound, match="no such"):
            await b.stops.place(ANNA, kind, name, "wrong text")
        assert await b.stops.list_stops(ANNA) == []


async def test_a_department_stop_holds_its_own_batches_and_those_that_its_cards_serve(tmp_path):
    async with stopping(tmp_path) as b:
        await b.batch(2, category=Category.NOTICE, department=SALES)
        await b.batch(2, category=Category.OTHER, department=SALES)
        placed = await b.stops.place(ANNA, StopKind.DEPARTMENT, GENERAL, "audit")
        served, own = await b.lease(CARD, CARDS[6])
        assert served == Nothing()
        assert isinstance(own, Leased), "notices go by the department's own cards"
        await b.stops.lift(BERT, placed.stop_id, "over")
        await b.stops.place(ANNA, StopKind.DEPARTMENT, SALES, "audit")
        assert await b.lease(CARD, CARDS[7]) == [Nothing(), Nothing()]


@pytest.mark.parametrize("kind", [StopKind.FLEET, StopKind.DEPARTMENT, StopKind.NODE])
async def test_who_stopped_the_whole_does_not_let_it_go_on_alone(tmp_path, kind):
    async with stopping(tmp_path) as b:
        batch_id = await b.batch(2)
        placed = await b.stops.place(ANNA, kind, await target_of(b, kind, batch_id), "x")
        with pytest.raises(PolicyRefused, match="SEC-04"):
            await b.stops.lift(ANNA, placed.stop_id, "never mind")
        machine = dataclasses.replace(BERT, is_person=False)
        with pytest.raises(PolicyRefused, match="SEC-04"):
            await b.stops.lift(machine, placed.stop_id, "never mind")
        with b.store.signals.subscribe(Topic.WORK) as bell:
            lifted = await b.stops.lift(BERT, placed.stop_id, "settled")
            assert await bell.wait(5)
        assert (lifted.placed_by, lifted.lifted_by) == ("anna", "bert")
        [leased] = await b.lease(CARD)
        assert isinstance(await b.begin(leased), Cleared)
        with pytest.raises(Conflict):
            await b.stops.lift(BERT, placed.stop_id, "again")


async def test_a_second_stop_of_the_same_is_the_first_one(tmp_path):
    async with stopping(tmp_path) as b:
        first = await b.stops.place(ANNA, StopKind.FLEET, "", "x")
        assert await b.stops.place(BERT, StopKind.FLEET, "", "me too") == first
        assert await b.stops.list_stops(ANNA) == [first]


async def test_the_reach_tells_each_segment_once_and_stays_as_it_was_after_the_lift(tmp_path):
    async with stopping(tmp_path) as b:
        batch_id = await b.batch(6)
        sent, flying, leased = await b.lease(*CARDS[:3])
        assert isinstance(await b.begin(sent), Cleared)
        await b.end(sent, Took(mr=7))
        assert isinstance(await b.begin(flying), Cleared)
        placed = await b.stops.place(ANNA, StopKind.FLEET, "", "wrong text")
        seen = await b.stops.show(ANNA, placed.stop_id)
        assert (seen.sent, seen.in_flight, seen.unsent) == (1, 1, 4)
        assert seen.outcomes == {SegmentState.SUBMITTING: 1}
        await b.end(flying, Took(mr=8))
        assert isinstance(await b.begin(leased), Withdrawn)
        seen = await b.stops.show(ANNA, placed.stop_id)
        assert (seen.sent, seen.in_flight, seen.unsent) == (1, 1, 4)
        assert [(one.state, one.mr) for one in seen.flights] == [(SegmentState.SENT, 8)]
        await b.stops.lift(BERT, placed.stop_id, "settled")
        for again in await b.lease(*CARDS[:3]):
            assert isinstance(await b.begin(again), Cleared)
            await b.end(again, Took(mr=9))
        after = await b.stops.show(ANNA, placed.stop_id)
        assert (after.sent, after.in_flight, after.unsent) == (1, 1, 4)
        rows = [one async for one in b.stops.reach(ANNA, placed.stop_id)]
        parts = {one.segment_id: one.part.value for one in rows}
        assert len(rows) == 6
        assert parts[sent.segments[0][0]] == "sent"
        assert parts[flying.segments[0][0]] == "in_flight"
        assert sum(part == "unsent" for part in parts.values()) == 4
        assert seen.batches[0].batch_id == batch_id


@pytest.mark.parametrize("is_stopped_first", [True, False])
async def test_the_stop_of_a_batch_that_is_over_stands_no_more_and_tells_its_reach(
    tmp_path, is_stopped_first
):
    async with stopping(tmp_path) as b:
        batch_id = await b.batch(3)
        [sent] = await b.lease(CARD)
        assert isinstance(await b.begin(sent), Cleared)
        await b.end(sent, Took(mr=7))
        acts = [
            lambda: b.stops.place(ANNA, StopKind.BATCH, batch_id, "wrong text"),
            lambda: b.store.write(
                lambda tx: batches.move(tx, batch_id, BatchState.CANCELLED) and None
            ),
        ]
        for act in acts if is_stopped_first else reversed(acts):
            await act()
        assert await b.stops.list_stops(ANNA) == []
        assert not await b.store.read(stop_book.count_standing)
        [placed] = await b.stops.list_stops(ANNA, only_standing=False)
        seen = await b.stops.show(ANNA, placed.stop_id)
        assert (seen.sent, seen.batches[0].batch_id) == (1, batch_id)


async def test_a_card_stop_reaches_what_the_card_sent_and_had_in_hand(tmp_path):
    async with stopping(tmp_path) as b:
        await b.batch(6)
        mine, other = await b.lease(CARD, OTHER)
        for one in (mine, other):
            assert isinstance(await b.begin(one), Cleared)
            await b.end(one, Took(mr=1))
        [held] = await b.lease(CARD)
        placed = await b.stops.place(ANNA, StopKind.CARD, CARD, "lost")
        seen = await b.stops.show(ANNA, placed.stop_id)
        assert (seen.sent, seen.in_flight, seen.unsent) == (1, 0, 1)
        rows = {one.segment_id async for one in b.stops.reach(ANNA, placed.stop_id)}
        assert rows == {mine.segments[0][0], held.segments[0][0]}


async def test_numbers_of_the_reach_are_masked_without_pii_read(tmp_path):
    async with stopping(tmp_path) as b:
        await b.batch(2)
        placed = await b.stops.place(ANNA, StopKind.FLEET, "", "x")
        blind = dataclasses.replace(ANNA, scopes=scopes_of(frozenset({"maintainer"})))
        shown = [one.to async for one in b.stops.reach(ANNA, placed.stop_id)]
        masked = [one.to async for one in b.stops.reach(blind, placed.stop_id)]
        assert all("*" not in to for to in shown)
        assert all("****" in to for to in masked)


# ---------------------------------------------------------------- who may


async def test_a_department_stops_its_own_and_sees_no_others_reach(tmp_path):
    async with stopping(tmp_path) as b:
        other = await b.batch(2, category=Category.NOTICE, department=SALES)
        loans = person("loans", "operator", department="loans")
        with pytest.raises(NotPermitted):
            await b.stops.place(loans, StopKind.FLEET, "", "x")
        for kind, target in [
            (StopKind.DEPARTMENT, SALES), (StopKind.BATCH, other), (StopKind.CARD, CARDS[6]),
        ]:  # fmt: skip
            with pytest.raises(NotFound):
                await b.stops.place(loans, kind, target, "x")
        await b.stops.place(loans, StopKind.DEPARTMENT, "loans", "x")
        placed = await b.stops.place(ANNA, StopKind.FLEET, "", "x")
        assert {one.kind for one in await b.stops.list_stops(loans)} == {"fleet", "department"}
        with pytest.raises(NotFound):
            await b.stops.show(loans, placed.stop_id)


@pytest.mark.parametrize(
    ("kind", "target", "reason"),
    [(StopKind.FLEET, "", " "), (StopKind.FLEET, "x", "x"), (StopKind.CARD, " ", "x")],
)
async def test_a_stop_needs_a_reason_and_its_target(tmp_path, kind, target, reason):
    async with stopping(tmp_path) as b:
        with pytest.raises(InvalidRequest):
            await b.stops.place(ANNA, kind, target, reason)


async def test_without_the_scope_nobody_stops_or_lifts(tmp_path):
    async with stopping(tmp_path) as b:
        placed = await b.stops.place(ANNA, StopKind.FLEET, "", "x")
        with pytest.raises(NotPermitted):
            await b.stops.place(person("mo", "monitor"), StopKind.FLEET, "", "x")
        with pytest.raises(NotPermitted):
            await b.stops.lift(person("tech", "technician"), placed.stop_id, "x")


# ---------------------------------------------------------------- the database is written to


FORGERIES = {
    "deleted": delete(stop).where(stop.c.kind == "card"),
    "lifted": update(stop).values(lifted_at=stop.c.placed_at, lifted_by="eve"),
    "target": update(stop).values(kind="card", target="89"),
    "mac": update(stop).values(mac=b"x" * 32),
    "seal deleted": delete(stop_seal),
    "seal altered": update(stop_seal).values(version=7),
}


@pytest.mark.parametrize("forgery", FORGERIES)
async def test_a_forged_list_of_stops_stops_everything(tmp_path, forgery):
    async with stopping(tmp_path) as b:
        await b.batch(4)
        [leased] = await b.lease(CARD)
        placed = await b.stops.place(ANNA, StopKind.CARD, OTHER, "lost")
        await b.store.write(lambda tx: tx.conn.execute(delete(stop_batch)) and None)
        await b.store.write(lambda tx: tx.conn.execute(FORGERIES[forgery]) and None)
        answer = await b.begin(leased)
        assert (answer.policy, "altered" in answer.reason) == ("SEC-10", True)
        assert await b.lease(CARD, CARDS[2]) == [Nothing(), Nothing()]
        assert "altered" in await b.stops.fault()
        for act in (
            b.stops.place(ANNA, StopKind.FLEET, "", "make it good"),
            b.stops.lift(BERT, placed.stop_id, "make it good"),
        ):
            with pytest.raises((PolicyRefused, NotFound)):
                await act
        assert "altered" in await b.stops.fault(), "nobody seals a forgery"


async def test_the_list_of_yesterday_put_back_is_refused_also_after_a_restart(tmp_path):
    async with stopping(tmp_path) as b:
        await b.batch(4)

        def read(table):
            return lambda conn: [dict(row) for row in conn.execute(table.select()).mappings()]

        seals = await b.store.read(read(stop_seal))
        await b.stops.place(ANNA, StopKind.FLEET, "", "x")

        def put_back(tx):
            for table in (stop_batch, stop, stop_seal):
                tx.conn.execute(delete(table))
            tx.conn.execute(stop_seal.insert(), seals)

        await b.store.write(put_back)
        assert await b.lease(CARD) == [Nothing()]
        fresh = StopMemory()
        again = Stops(b.store, general_department=GENERAL, memory=fresh)
        assert await again.fault() == ""
        await again.recall()
        assert "altered" in await again.fault(), "the audit log knows better"
        lines = await b.store.read(lambda conn: list(replay(conn)))
        assert any(line.startswith("stop ") for line in lines)
        assert "the row is missing" in lines[0]


async def test_verify_names_a_stop_that_was_put_back_as_standing_or_lifted(tmp_path):
    async with stopping(tmp_path) as b:
        placed = await b.stops.place(ANNA, StopKind.FLEET, "", "x")
        assert await b.store.read(lambda conn: list(replay(conn))) == []
        before = await b.store.read(lambda conn: dict(conn.execute(stop.select()).mappings().one()))
        await b.stops.lift(BERT, placed.stop_id, "settled")
        assert await b.store.read(lambda conn: list(replay(conn))) == []
        await b.store.write(lambda tx: tx.conn.execute(update(stop).values(**before)) and None)
        [line] = await b.store.read(lambda conn: list(replay(conn)))
        assert line.startswith(f"stop {placed.stop_id}")


async def test_a_stop_and_its_lift_are_events_that_name_no_person(tmp_path):
    async with stopping(tmp_path) as b:
        placed = await b.stops.place(ANNA, StopKind.CARD, CARD, "secret reason")
        await b.stops.lift(ANNA, placed.stop_id, "found")
        rows = await b.store.read(
            lambda conn: conn.scalars(
                event.select().with_only_columns(event.c.data).where(event.c.kind == "alarm")
            ).all()
        )
    assert ['"what":"placed"' in rows[0], '"what":"lifted"' in rows[1]] == [True, True]
    assert "secret" not in "".join(rows)


async def test_an_urgent_request_is_committed_before_all_that_waits(tmp_path):
    order, has_begun, has_all = [], threading.Event(), threading.Event()

    def first(tx):
        has_begun.set()
        has_all.wait(10)
        order.append("first")

    async with stopping(tmp_path) as b, asyncio.TaskGroup() as group:
        group.create_task(b.store.write(first))
        await asyncio.to_thread(has_begun.wait, 10)
        for n in range(200):
            group.create_task(b.store.write(lambda tx, n=n: order.append(n)))
        group.create_task(b.store.write(lambda tx: order.append("stop"), is_urgent=True))
        await asyncio.sleep(0)
        assert b.store.journal.backlog == 201
        has_all.set()
    assert order[:2] == ["first", "stop"]
    assert len(order) == 202
