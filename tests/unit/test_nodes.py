"""Nodes on one database: lives, heartbeats, and what the living do for one that is lost."""

import asyncio
from datetime import UTC, datetime

import pytest
from sqlalchemy import insert, select, update

from modemctl.errors import Conflict, StoreError
from modemctl.fleet.node_watch import NodeWatch
from modemctl.lifecycle import ModemState, SegmentState
from modemctl.model import Bay, NodeState
from modemctl.store import modems, nodes, sweeps
from modemctl.store.gates import why_shut
from modemctl.store.leases import Leased, Nothing
from modemctl.store.outcomes import Took
from modemctl.store.submits import Cleared
from modemctl.store.tables import audit_entry, event, segment
from modemctl.store.tables import node as rows
from tests.support.apis import open_api
from tests.support.benches import CARDS, bay_of, bench
from tests.support.fleets import begin, node, on, see_lost, watch_of
from tests.support.nodes import until
from tests.support.stores import TestClock

S = SegmentState


async def row(store, name):
    [found] = await store.read(lambda conn: nodes.find(conn, name))
    return found


@pytest.mark.both_databases
async def test_what_a_lost_node_held_is_settled_once_and_its_late_result_is_refused(tmp_path):
    now = datetime.now(UTC)  # the server's clock is compared with the nodes'
    async with (
        bench(tmp_path, clock=TestClock(now)) as b,
        node(tmp_path, "n2", TestClock(now)) as store,
        node(tmp_path, "n3", TestClock(now)) as third,
    ):
        await begin(b.store)
        other = on(store, b)
        batch_id = await b.batch(3)
        one, two = await other.lease(*CARDS[:2])
        assert isinstance(await other.begin(one), Cleared)
        watch = watch_of(b)
        await third.write(nodes.stop)
        assert await see_lost(watch, b.clock) == ["n2"], "not the one that ended in order"
        assert await b.states(batch_id) == {S.IN_DOUBT: 1, S.QUEUED: 2}
        assert (await row(b.store, "n2")).state is NodeState.LOST
        await watch.look()
        assert watch.snapshot().nodes_lost == 1
        with pytest.raises(StoreError, match="declared lost"):
            await other.end(one, Took(mr=7))
        with pytest.raises(StoreError, match="declared lost"):
            await other.begin(two)
        assert store.journal.lost.is_set(), "and the daemon of it ends"
        assert await b.states(batch_id) == {S.IN_DOUBT: 1, S.QUEUED: 2}
        assert await see_lost(watch, b.clock) == [], "nobody is lost twice"
        found = await on(third, b).lease(*CARDS[:4])
        assert sum(isinstance(one, Leased) for one in found) == 2, "the one in doubt waits"
        told = await b.store.read(
            lambda conn: conn.execute(
                select(audit_entry.c.node_id, audit_entry.c.subject).where(
                    audit_entry.c.action == "node.lost"
                )
            ).all()
        )
        assert told == [("n1", "n2")]
        alarms = await b.store.read(
            lambda conn: conn.scalars(select(event.c.data).where(event.c.subject == "n2")).all()
        )
        assert '{"alarm":"node_lost","n_in_doubt":1,"n_leases":1}' in alarms
    async with node(tmp_path, "n2", TestClock(now)) as store:
        assert (await row(store, "n2")).state is NodeState.UP, "it comes back by a new start"
        assert (await row(store, "n2")).epoch == 2


async def test_of_two_that_see_a_node_lost_one_takes_over(tmp_path):
    async with (
        bench(tmp_path) as b,
        node(tmp_path, "n2", TestClock()) as second,
        node(tmp_path, "n3", TestClock()) as third,
    ):
        seen = await row(second, "n3")
        await begin(b.store)
        assert await second.write(lambda tx: nodes.take_over(tx, seen, b.rules)) is not None
        assert await b.store.write(lambda tx: nodes.take_over(tx, seen, b.rules)) is None
        with pytest.raises(StoreError, match="declared lost"):
            await third.write(lambda tx: None)


async def test_a_node_that_beat_since_it_was_seen_is_not_lost(tmp_path):
    clock = TestClock()
    async with bench(tmp_path) as b, node(tmp_path, "n2", clock) as store:
        seen = await row(b.store, "n2")
        clock.advance(11)
        await store.write(lambda tx: None)  # any commit bears a heartbeat that is due
        assert (await row(b.store, "n2")).n_beats == seen.n_beats + 1
        assert (await row(b.store, "n2")).heartbeat_at == clock.now()
        assert await b.store.write(lambda tx: nodes.take_over(tx, seen, b.rules)) is None
        await store.write(lambda tx: None)
        assert (await row(b.store, "n2")).n_beats == seen.n_beats + 1, "not more often than asked"


async def test_nobody_is_lost_over_a_time_in_which_the_watcher_itself_was_silent(tmp_path):
    async with bench(tmp_path) as b, node(tmp_path, "n2", TestClock()) as _:
        await begin(b.store)
        watch = watch_of(b)
        await watch.look()
        b.clock.advance(1_000)  # asleep
        assert not await watch.look()
        for _ in range(20):  # it reads, but cannot write
            b.clock.advance(10)
            assert not await watch.look()
        assert await see_lost(watch, b.clock) == ["n2"], "and later it is seen all the same"


async def test_an_idle_node_with_a_quick_heartbeat_takes_over(tmp_path):
    async with bench(tmp_path) as b, node(tmp_path, "n2", TestClock()) as _:
        await begin(b.store)
        b.store.journal.life.begin(1, every=1.0)
        watch, lost = NodeWatch(b.store, b.rules, every=1.0), []
        for second in range(100):
            b.clock.advance(1.0)
            if second % 5 == 0:  # the sweeper, where no batch runs
                await b.store.write(lambda tx: None)
            lost += await watch.turn()
        assert lost == ["n2"]


async def test_the_clocks_of_two_machines_make_no_node_lost(tmp_path):
    ahead = TestClock(datetime(2026, 12, 24, tzinfo=UTC))
    async with bench(tmp_path) as b, node(tmp_path, "n2", ahead) as store:
        await begin(b.store)
        watch = watch_of(b)
        for _ in range(20):
            b.clock.advance(10)
            ahead.advance(10)
            await store.write(lambda tx: None)
            await b.store.write(lambda tx: None)
            assert not await watch.look()


async def test_the_bays_of_a_lost_node_are_absent_with_the_reason(tmp_path):
    async with bench(tmp_path) as b, node(tmp_path, "n2", TestClock()) as store:
        await begin(b.store)
        await store.write(lambda tx: modems.note_missing(tx, {bay_of(CARDS[7]): "x", "b9": "x"}))
        await see_lost(watch_of(b), b.clock)
        found = await b.store.read(lambda conn: modems.read(conn, "b9"))
        assert found.reason == "its node was lost"


@pytest.mark.both_databases
async def test_the_bays_of_a_node_that_ended_are_absent_and_of_one_that_was_removed_gone(
    tmp_path, database
):
    now = datetime.now(UTC)
    async with (
        bench(tmp_path, clock=TestClock(now)) as b,
        node(tmp_path, "n2", TestClock(now)) as store,
    ):
        await begin(b.store)
        facts = [modems.Facts(bay=Bay(bay), port="/dev/x") for bay in ("b8", "b9")]
        await store.write(lambda tx: modems.save_changes(tx, [
            modems.StateChange(facts=one, before=ModemState.SEARCHING, after=ModemState.READY,
                               event="registered", reason="")
            for one in facts
        ]))  # fmt: skip
        await store.write(nodes.stop)
        found = await b.store.read(lambda conn: modems.read(conn, Bay("b9")))
        if database == "postgresql":  # on SQLite nobody is left who shows it
            assert (found.state, found.reason) == (ModemState.ABSENT, "the daemon ended")
        await b.store.write(lambda tx: modems.note_restart(tx, node_id="n2"))
        batch_id = await b.batch(1)
        await b.store.write(lambda tx: tx.conn.execute(
            update(segment).values(state=S.IN_DOUBT.value, bay="b8")
        ) and None)  # fmt: skip
        assert await b.states(batch_id) == {S.IN_DOUBT: 1}
        await b.store.write(lambda tx: nodes.remove(tx, "n2"))
        left = await b.store.read(lambda conn: modems.find(conn, node_id="n2"))
        assert [one.bay for one in left] == ["b8"], "somebody has to decide first"
        assert await b.store.read(lambda conn: modems.find(conn, node_id="n1")) != []


async def test_a_second_start_under_a_name_ends_the_life_before(tmp_path):
    async with node(tmp_path, "n2", TestClock()) as old, node(tmp_path, "n2", TestClock()):
        with pytest.raises(StoreError):
            await old.write(lambda tx: tx.audit("n2", "x", "y", {}))
        assert old.journal.lost.is_set()


async def test_a_drained_node_leases_nothing_and_ends_what_it_has(tmp_path):
    async with bench(tmp_path, clock=TestClock(datetime.now(UTC))) as b:
        await begin(b.store)
        batch_id = await b.batch(3)
        [one] = await b.lease(CARDS[0])
        assert await b.store.write(lambda tx: nodes.set_draining(tx, "n1", is_draining=True))
        assert await b.lease(CARDS[1]) == [Nothing()]
        assert isinstance(await b.begin(one), Cleared)
        await b.end(one, Took(mr=1))
        assert await b.states(batch_id) == {S.SENT: 1, S.QUEUED: 2}
        await begin_again(b.store)
        assert await b.lease(CARDS[1]) == [Nothing()], "a restart makes no difference"
        assert await b.store.write(lambda tx: nodes.set_draining(tx, "n1", is_draining=False))
        [two] = await b.lease(CARDS[1])
        assert isinstance(two, Leased)


async def begin_again(store):
    key = store.journal.signer.public_octets()
    epoch = await store.write(lambda tx: nodes.start(tx, version="2", boot_id="b", public_key=key))
    store.journal.life.begin(epoch)


async def test_a_removed_node_does_not_start_until_it_is_brought_back(tmp_path):
    async with bench(tmp_path) as b:
        async with node(tmp_path, "n2", TestClock()) as store:
            await store.write(nodes.stop)
        assert (await row(b.store, "n2")).state is NodeState.DOWN
        await b.store.write(lambda tx: nodes.remove(tx, "n2"))
        with pytest.raises(Conflict, match="removed"):
            async with node(tmp_path, "n2", TestClock()):
                pass
        await b.store.write(lambda tx: nodes.set_draining(tx, "n2", is_draining=False))
        async with node(tmp_path, "n2", TestClock()) as store:
            assert (await row(store, "n2")).state is NodeState.UP


async def test_a_node_whose_clock_is_far_off_sends_nothing(tmp_path):
    async with bench(tmp_path) as b:
        await begin(b.store)
        await b.batch(1)

        async def skew(ms):
            await b.store.write(lambda tx: tx.conn.execute(update(rows).values(skew_ms=ms)) and 0)
            return await b.store.write(lambda tx: why_shut(tx, b.rules))

        assert await skew(29_000) is None
        shut = await skew(-31_000)
        assert shut.reason == "this node's clock is 31 s behind the database server's"
        assert await b.lease(CARDS[0]) == [Nothing()]
        assert await watch_of(b).fault() == shut.reason
        await skew(0)
        assert isinstance((await b.lease(CARDS[0]))[0], Leased)


async def test_a_sweep_of_another_node_gives_back_lapsed_leases_of_a_lost_one(tmp_path):
    async with bench(tmp_path) as b, node(tmp_path, "n2", TestClock()) as store:
        batch_id = await b.batch(1)
        await on(store, b).lease(CARDS[0])
        b.clock.advance(b.rules.lease_seconds + 1)
        await b.store.write(lambda tx: sweeps.sweep(tx, b.rules))
        assert await b.states(batch_id) == {S.QUEUED: 1}


# ---------------------------------------------------------------- for people


async def test_people_drain_a_node_and_remove_one_that_is_gone(tmp_path):
    async with open_api(tmp_path) as api:
        await begin(api.store)
        token = await api.token_of("technician")
        async with node(tmp_path, "n2", TestClock()) as store, api.client(token) as client:

            async def post(name, act):
                return await client.post(f"/v1/nodes/{name}/{act}", json={"reason": "test"})

            [one, two] = (await client.get("/v1/nodes")).json()
            assert (one["node"], one["is_this"], one["state"]) == ("n1", True, "up")
            assert (two["node"], two["is_this"], two["version"]) == ("n2", False, "1.0")
            assert (await post("n2", "drain")).json()["is_draining"]
            assert (await post("n2", "drain")).status_code == 200, "twice is once"
            assert (await post("n9", "drain")).status_code == 404
            up = await post("n2", "remove")
            assert up.status_code == 409
            assert "stop its daemon" in up.json()["cure"]
            await store.write(nodes.stop)
            assert (await post("n2", "remove")).json()["state"] == "removed"
            assert (await post("n2", "drain")).status_code == 409
            assert [one["node"] for one in (await client.get("/v1/nodes")).json()] == ["n1"]
            all_ = (await client.get("/v1/nodes", params={"all": True})).json()
            assert [one["node"] for one in all_] == ["n1", "n2"]
            assert (await post("n2", "undrain")).json()["state"] == "down"
        acts = await api.store.read(
            lambda conn: conn.scalars(
                select(audit_entry.c.action).where(
                    audit_entry.c.subject == "n2", audit_entry.c.node_id == "n1"
                )
            ).all()
        )
        assert acts == ["node.drain", "node.remove", "node.undrain"]


async def test_an_account_of_one_department_drains_nothing(tmp_path):
    async with open_api(tmp_path) as api:
        await begin(api.store)
        token = await api.token_of("technician", department="sales")
        async with api.client(token) as client:
            answer = await client.post("/v1/nodes/n1/drain", json={"reason": "test"})
        assert answer.status_code == 403


@pytest.mark.sqlite_only
async def test_an_altered_row_of_a_node_does_not_end_who_watches(tmp_path, caplog):
    async with bench(tmp_path) as b:
        await begin(b.store)
        await b.store.write(
            lambda tx: tx.conn.execute(insert(rows).values(
                node_id="n9", started_at=tx.now, heartbeat_at=tx.now, state="nonsense"
            ))
        )  # fmt: skip
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(watch_of(b).run())
            await until(lambda: "nodes.not_read" in caplog.text)
            assert not watch.done()
            watch.cancel()
