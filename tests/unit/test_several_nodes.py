"""Several nodes on one PostgreSQL: what one process held in memory, and all of them share."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url, select

from modemctl.errors import TamperedError
from modemctl.model import Topic
from modemctl.service.keyring import Keyring
from modemctl.store import Store, Tx, count_seal, keys
from modemctl.store.leases import Leased
from modemctl.store.tables import meta
from tests.support import postgres
from tests.support.benches import CARDS, Bench, bench
from tests.support.nodes import PATIENCE, hearing, node, until
from tests.support.stores import Databases

END = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE application_name = 'modemctl {} wake-ups'"
)


@pytest.fixture
def cluster() -> Iterator[postgres.Cluster]:
    Databases.is_postgresql = True
    yield postgres.cluster()
    Databases.clear()


def on_nodes(one: Bench, *stores: Store) -> list[Bench]:
    """The same bench, as other nodes act on it."""
    return [one, *(Bench(store, one.clock, one.staff, one.rules) for store in stores)]


async def faults_of(store: Store) -> list[str]:
    """What a verification finds wrong with the counts."""
    return await store.read(lambda c: list(count_seal.check(c, store.vault, store.node_id)))


async def test_the_counts_of_two_nodes_add_up_to_one_seal_that_each_goes_on_from(cluster, tmp_path):
    async with bench(tmp_path) as one:
        await one.batch(40)
        async with node(tmp_path, "n2", one.clock) as second:
            for bench_ in on_nodes(one, second) * 3:
                assert any(isinstance(lease, Leased) for lease in await bench_.lease(*CARDS[:2]))
            assert await faults_of(one.store) == []
            assert await faults_of(second) == []
        async with node(tmp_path, "n2", one.clock) as again, node(tmp_path, "n3") as new:
            assert again.journal.start_faults == new.journal.start_faults == ()


def rows_of(cluster: postgres.Cluster, folder: Path) -> dict[str, list[tuple[object, ...]]]:
    name = make_url(Databases.url(folder)).database
    return {
        "quota": cluster.sql("SELECT scope, span, bucket, used FROM quota", name),
        "meta": cluster.sql("SELECT value FROM meta WHERE key = 'counts'", name),
    }


def put_back(
    cluster: postgres.Cluster, folder: Path, rows: dict[str, list[tuple[object, ...]]]
) -> None:
    """What somebody does who writes the database and has kept a copy of it."""
    name = make_url(Databases.url(folder)).database
    with cluster.connect(name) as conn:
        conn.execute("DELETE FROM quota")
        with conn.cursor() as cursor:
            cursor.executemany("INSERT INTO quota VALUES (%s, %s, %s, %s)", rows["quota"])
        conn.execute("DELETE FROM meta WHERE key = 'counts'")
        for row in rows["meta"]:
            conn.execute("INSERT INTO meta (key, value) VALUES ('counts', %s)", row)


@pytest.mark.parametrize("attack", ["lowered", "yesterday", "yesterday's seal", "no seal"])
async def test_counts_altered_under_two_nodes_show_on_each_and_at_the_next_start(
    cluster, tmp_path, attack
):
    async with bench(tmp_path) as one:
        await one.batch(40)
        async with node(tmp_path, "n2", one.clock) as second:
            benches = on_nodes(one, second)
            for bench_ in benches:
                await bench_.lease(*CARDS[:2])
            before = rows_of(cluster, tmp_path)
            for bench_ in benches:
                await bench_.lease(*CARDS[2:4])
            now = rows_of(cluster, tmp_path)
            planted = {
                "lowered": now | {"quota": [(*row[:3], row[3] - 1) for row in now["quota"]]},
                "yesterday": now | {"quota": before["quota"]},
                "yesterday's seal": before,
                "no seal": now | {"meta": []},
            }[attack]
            put_back(cluster, tmp_path, planted)
            for bench_ in (*benches, *benches):
                assert await faults_of(bench_.store) != []
                await bench_.lease(*CARDS[4:6])  # what goes on covers nothing up
            assert await faults_of(second) != []
        async with node(tmp_path, "n2", one.clock) as again:
            assert again.journal.start_faults != ()


async def test_a_commit_on_one_node_wakes_who_waits_on_another_and_a_lost_line_comes_back(
    cluster, tmp_path
):
    async with node(tmp_path, "n1") as one, node(tmp_path, "n2") as two, hearing(one, two):
        with (
            two.signals.subscribe(Topic.WISHES) as wishes,
            two.signals.subscribe(Topic.SIMS) as sims,
            one.signals.subscribe(Topic.WISHES) as own,
        ):
            await one.write(lambda tx: tx.wake(Topic.WISHES, Topic.WORK))
            assert await wishes.wait(PATIENCE)
            assert await own.wait(PATIENCE)
            assert not await sims.wait(0), "no topic that was not rung"

            def failing(tx):
                tx.wake(Topic.SIMS)
                raise LookupError("this act is taken back")

            with pytest.raises(LookupError):
                await one.write(failing)
            await one.write(lambda tx: tx.wake(Topic.WISHES))
            assert await wishes.wait(PATIENCE), "and rings come in the order of commits"
            assert not await sims.wait(0), "what was taken back rings nobody"
            await asyncio.to_thread(cluster.sql, END.format("n2"))
            assert await sims.wait(PATIENCE), "whoever listens again looks at all of it"
            assert await wishes.wait(PATIENCE)
            await one.write(lambda tx: tx.wake(Topic.WISHES))
            assert await wishes.wait(PATIENCE)


async def test_one_node_at_a_time_takes_care_of_the_site_and_another_follows_it(cluster, tmp_path):
    async with node(tmp_path, "n1") as one, node(tmp_path, "n2") as two:
        assert one.is_caretaker, "who runs alone, as on SQLite, does all of it"
        async with hearing(one):
            async with hearing(two):
                await until(lambda: one.is_caretaker)
                assert not two.is_caretaker
            assert not two.is_caretaker, "whoever hears of nobody any more leaves it to others"
            assert one.is_caretaker
        async with hearing(two):
            await until(lambda: two.is_caretaker)
            async with hearing(one):
                assert not one.is_caretaker


def add_and_tell(tx: Tx) -> None:
    keys.add_generation(tx)
    tx.wake(Topic.KEYS)


async def test_a_data_key_that_one_node_adds_opens_on_the_other_and_encrypts_there_too(
    cluster, tmp_path
):
    async with node(tmp_path, "n1") as one, node(tmp_path, "n2") as two:
        ring = Keyring(two, master_key_file=tmp_path / "master.key")
        async with hearing(one, two), asyncio.TaskGroup() as group:
            chore = group.create_task(ring.run())
            await one.write(add_and_tell)
            await until(lambda: two.vault.generation == 2)
            await one.read(lambda conn: keys.unlock(conn, one.vault))
            await one.write(keys.add_generation)  # and the other has not heard of it yet
            await one.read(lambda conn: keys.unlock(conn, one.vault))
            sealed = one.vault.encrypt_text("text", place="t.c:1")
            assert two.vault.generation == 2
            assert two.vault.decrypt_text(sealed, place="t.c:1") == "text"
            assert two.vault.generation == 3
            with pytest.raises(TamperedError):
                two.vault.decrypt_text(b"\x07" + sealed[1:], place="t.c:1")
            chore.cancel()
    async with node(tmp_path, "n3") as three:
        assert three.vault.generation == 3


@pytest.mark.parametrize("default", ["isolation TO 'repeatable read'", "read_only TO on"])
async def test_a_servers_own_defaults_let_no_writer_read_what_was_before_it_waited(
    cluster, tmp_path, default
):
    name = make_url(Databases.url(tmp_path)).database
    cluster.sql(f"ALTER DATABASE {name} SET default_transaction_{default}")
    begun, go_on = threading.Event(), threading.Event()

    def wait(tx: Tx) -> None:
        begun.set()
        assert go_on.wait(PATIENCE)
        tx.conn.exec_driver_sql("INSERT INTO meta VALUES ('test', 'new')")

    def read(tx: Tx) -> str | None:
        found: str | None = tx.conn.scalar(select(meta.c.value).where(meta.c.key == "test"))
        return found

    async with (
        node(tmp_path, "n1") as one,
        node(tmp_path, "n2") as two,
        asyncio.TaskGroup() as both,
    ):
        both.create_task(one.write(wait))
        assert await asyncio.to_thread(begun.wait, PATIENCE)
        reading = both.create_task(two.write(read))
        blocked = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        while await asyncio.to_thread(cluster.sql, blocked) == [(0,)]:
            await asyncio.sleep(0.01)
        go_on.set()
        assert await reading == "new"
