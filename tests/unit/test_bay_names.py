"""Bays of several nodes whose machines call them alike: each keeps a name of its own."""

import asyncio
from collections.abc import Iterator

import pytest

from modemctl.fleet.bay_names import BayNames
from modemctl.fleet.places import Place
from modemctl.model import Bay
from modemctl.store import bay_names, modems, nodes
from tests.support import postgres
from tests.support.apis import open_api
from tests.support.benches import bench
from tests.support.fleets import begin, node
from tests.support.stores import Databases, TestClock

ONE, TWO, THREE = Bay("1-2.1"), Bay("1-2.2"), Bay("1-2.3")


async def test_the_first_node_calls_a_bay_as_its_machine_does_and_others_add_their_name(tmp_path):
    async with bench(tmp_path) as b, node(tmp_path, "n2", TestClock()) as store:

        def claim(*bays):
            return lambda tx: dict(bay_names.claim(tx, bays))

        assert await b.store.write(claim(ONE, TWO)) == {ONE: ONE, TWO: TWO}
        both = {TWO: "n2/1-2.2", THREE: THREE}
        assert await store.write(claim(TWO, THREE)) == both
        assert await store.write(claim(TWO, THREE)) == both, "for good"
        assert await b.store.write(claim(ONE, TWO, THREE)) == {
            ONE: ONE, TWO: TWO, THREE: "n1/1-2.3",
        }  # fmt: skip

        async def named(text):
            return list(await b.store.read(lambda conn: bay_names.named(conn, text)))

        assert await named("1-2.1") == [ONE]
        assert await named("n1/1-2.1") == [ONE], "with its node too"
        assert await named("n2/1-2.1") == []
        assert await named("1-2.2") == [TWO, "n2/1-2.2"], "nobody guesses"
        assert await named("n1/1-2.2") == [TWO]
        assert await named("n2/1-2.2") == ["n2/1-2.2"]
        assert await named("n2/1-2.3") == [THREE]
        assert await named("2.1") == []
        await b.store.write(lambda tx: modems.forget(tx, TWO))
        assert await named("1-2.2") == ["n2/1-2.2"], "one node has it"
        await store.write(nodes.stop)
        await b.store.write(lambda tx: nodes.remove(tx, "n2"))
        await b.store.write(lambda tx: modems.forget(tx, Bay("n1/1-2.3")))
        assert await b.store.write(claim(THREE)) == {THREE: THREE}, "a removed node's is anybody's"


@pytest.mark.sqlite_only
async def test_on_one_machine_a_place_keeps_its_name_and_waits_for_no_database(tmp_path):
    async with bench(tmp_path) as b:
        taken = []
        BayNames(b.store, taken.append).hear({ONE: Place(bay=ONE, addresses=("/dev/x",))})
        assert taken == [{ONE: Place(bay=ONE, addresses=("/dev/x",))}]
        assert await b.store.read(lambda conn: modems.read(conn, ONE)) is None


@pytest.fixture
def postgresql() -> Iterator[None]:
    postgres.cluster()
    Databases.is_postgresql = True
    yield
    Databases.clear()


@pytest.mark.usefixtures("postgresql")
async def test_a_bay_that_two_nodes_have_is_asked_for_with_its_node(tmp_path):
    async with open_api(tmp_path) as api, node(tmp_path, "n2", TestClock()) as store:
        await begin(api.store)
        taken = asyncio.Queue()
        async with asyncio.TaskGroup() as group:
            for one in (api.store, store):
                names = BayNames(one, taken.put_nowait)
                running = group.create_task(names.run())
                names.hear({ONE: Place(bay=ONE, addresses=())})
                [name] = await taken.get()
                running.cancel()
        assert name == "n2/1-2.1"
        async with api.client(await api.token_of("technician")) as client:
            answer = await client.get("/v1/modems/1-2.1")
            assert answer.status_code == 422
            assert answer.json()["cure"] == "say n1/1-2.1 or n2/1-2.1"
            for path, owner in (("n1%2F1-2.1", "n1"), ("n2/1-2.1", "n2")):
                found = (await client.get(f"/v1/modems/{path}")).json()
                assert (found["node_id"], found["bay"][-5:]) == (owner, "1-2.1")
            paused = await client.post("/v1/modems/n2%2F1-2.1/pause", json={"reason": "test"})
            assert paused.json()["desired_state"] == "paused"
            [one, two] = (await client.get("/v1/modems")).json()["items"]
            assert [one["desired_state"], two["desired_state"]] == ["run", "paused"]
