"""The hand-over tells what is open, and the next shift takes it by name (CC-04)."""

import dataclasses

import pytest
from sqlalchemy import insert, update

from modemctl.errors import Conflict, NotFound, NotPermitted, PolicyRefused
from modemctl.lifecycle import ModemState
from modemctl.policy.stops import StopKind
from modemctl.service.handovers import Handovers
from modemctl.service.stops import Stops
from modemctl.store import modems
from modemctl.store.outcomes import Doubtful
from modemctl.store.replay import replay
from modemctl.store.seals import broken_seals
from modemctl.store.tables import call, handover
from tests.support.approved import GENERAL
from tests.support.benches import CARDS, bench
from tests.unit.test_stop_book import ANNA, BERT


async def ring(b, *, answered):
    row = {"bay": "bay-9", "is_incoming": True, "started_at": b.clock.now(), "n_rings": 3}
    row["answered_at"] = b.clock.now() if answered else None
    await b.store.write(lambda tx: tx.conn.execute(insert(call).values(**row)) and None)


async def spoil(b, bay, state):
    facts = modems.Facts(bay=bay, port="/dev/x")
    change = modems.StateChange(
        facts=facts, before=ModemState.PROBING, after=state, event="x", reason="why"
    )
    await b.store.write(lambda tx: modems.save_changes(tx, [change]) and None)


async def test_it_tells_batches_faults_quarantines_doubts_and_calls_since_the_last(tmp_path):
    async with bench(tmp_path) as b:
        desk = Handovers(b.store)
        await ring(b, answered=False)
        first = await desk.make(ANNA, "quiet")
        assert (first.since, first.facts["missed_calls"]) == (None, 1)
        b.clock.advance(60)
        await ring(b, answered=False)
        await ring(b, answered=True)
        batch_id = await b.batch(2)
        [leased] = await b.lease(CARDS[0])
        await b.begin(leased)
        await b.end(leased, Doubtful(reason="silence"))
        await spoil(b, "bay-x", ModemState.FAILED)
        await spoil(b, "bay-y", ModemState.QUARANTINED)
        stops = Stops(b.store, general_department=GENERAL, memory=b.rules.stops)
        await stops.place(ANNA, StopKind.CARD, CARDS[1], "lost")
        facts = (await desk.make(ANNA, "")).facts
        assert [one["batch_id"] for one in facts["batches"]] == [batch_id]
        assert facts["faults"] == [{"bay": "bay-x", "state": "failed", "reason": "why"}]
        assert [one["bay"] for one in facts["quarantines"]] == ["bay-y"]
        assert facts["in_doubt"] == {batch_id: 1}
        assert (facts["missed_calls"], facts["missed_by_bay"]) == (1, {"bay-9": 1})
        assert (facts["stops"], facts["incidents"]) == (1, 0)
        assert (await desk.look(ANNA))["missed_calls"] == 0


async def test_the_next_shift_takes_it_by_name_and_not_who_made_it(tmp_path):
    async with bench(tmp_path) as b:
        desk = Handovers(b.store)
        made = await desk.make(ANNA, "x")
        with pytest.raises(PolicyRefused, match="CC-04"):
            await desk.take(ANNA, made.handover_id)
        with pytest.raises(NotFound):
            await desk.take(BERT, "none")
        assert (await desk.take(BERT, made.handover_id)).taken_name == "bert"
        with pytest.raises(Conflict, match="bert"):
            await desk.take(BERT, made.handover_id)
        assert [one.taken_name for one in await desk.list_handovers(ANNA)] == ["bert"]


async def test_a_department_and_a_machine_hand_nothing_over(tmp_path):
    async with bench(tmp_path) as b:
        desk = Handovers(b.store)
        with pytest.raises(NotPermitted):
            await desk.make(dataclasses.replace(ANNA, department="retail"), "x")
        with pytest.raises(PolicyRefused, match="CC-04"):
            await desk.make(dataclasses.replace(ANNA, is_person=False), "x")
        with pytest.raises(NotPermitted):
            await desk.make(dataclasses.replace(ANNA, scopes=frozenset()), "x")


async def test_an_altered_hand_over_is_named(tmp_path):
    async with bench(tmp_path) as b:
        desk, vault = Handovers(b.store), b.store.vault
        made = await desk.make(ANNA, "x")
        assert await b.store.read(lambda conn: list(replay(conn))) == []
        assert await b.store.read(lambda conn: list(broken_seals(conn, vault))) == []
        await b.store.write(
            lambda tx: tx.conn.execute(update(handover).values(taken_name="eve")) and None
        )
        [line] = await b.store.read(lambda conn: list(broken_seals(conn, vault)))
        assert made.handover_id in line
        with pytest.raises(PolicyRefused, match="SEC-05"):
            await desk.take(BERT, made.handover_id)
