"""Steady time of several nodes on one PostgreSQL: no node's clock takes the others along."""

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, insert, make_url, select, update

from modemctl.policy.quotas import Span, bucket_of
from modemctl.store import Store, Tx, count_purge, count_seal
from modemctl.store.seals import broken_seals
from modemctl.store.tables import node as rows
from modemctl.store.tables import quota_contact
from tests.support import postgres
from tests.support.benches import Bench, bench
from tests.support.fleets import begin, node
from tests.support.stores import Databases, TestClock

DAY = timedelta(days=1)
NEAR = timedelta(seconds=29)  # a busy machine takes its time between two looks


@pytest.fixture
def cluster() -> Iterator[postgres.Cluster]:
    Databases.is_postgresql = True
    yield postgres.cluster()
    Databases.clear()


def right() -> TestClock:
    return TestClock(datetime.now(UTC))


def ahead(by: timedelta = 30 * DAY) -> TestClock:
    return TestClock(datetime.now(UTC) + by)


def living(folder: Path) -> AbstractAsyncContextManager[Bench]:
    return bench(folder, clock=right())


async def steady_of(store: Store) -> datetime:
    """As of a transaction with a heartbeat."""
    clock = store.clock
    assert isinstance(clock, TestClock)
    clock.advance(11)
    return await store.write(lambda tx: tx.steady)


def is_now(at: datetime, *, off_by: timedelta = timedelta()) -> bool:
    return abs(at - datetime.now(UTC) - off_by) < NEAR


async def test_a_node_with_a_clock_far_ahead_takes_no_steady_time_along(cluster, tmp_path):
    async with node(tmp_path, "n2", ahead()) as store:
        assert is_now(await steady_of(store)), "its own clock has no say"
    async with living(tmp_path) as b:
        await begin(b.store)
        assert is_now(await steady_of(b.store))
        async with node(tmp_path, "n3", ahead()) as third:
            assert is_now(await steady_of(third))
            assert is_now(await steady_of(b.store))
            shut = third.journal.life.standing.fault
            assert "before the database server's" in shut
    clock = right()
    clock.boot_id = "boot-2"
    async with node(tmp_path, "n4", clock) as store:
        assert is_now(await steady_of(store)), "also after the next start of a machine"


async def test_a_clock_that_is_ahead_is_seen_before_the_first_act(cluster, tmp_path):
    async with node(tmp_path, "n2", ahead()) as store:
        fault = await store.write(lambda tx: tx.standing.fault)
        assert fault.endswith("s before the database server's")


class ServerClock:
    """The clock of the server as sessions see it that begin from now on: it can be set."""

    def __init__(self, cluster: postgres.Cluster, folder: Path) -> None:
        name = make_url(Databases.url(folder)).database
        assert name is not None
        self._sql = lambda text: cluster.sql(text, name)
        self._sql("CREATE SCHEMA told")
        self._sql("CREATE TABLE told.shift AS SELECT interval '0 days' AS by")
        self._sql(
            "CREATE FUNCTION told.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS"
            " 'SELECT pg_catalog.clock_timestamp() + by FROM told.shift'"
        )
        self._sql(f"ALTER DATABASE {name} SET search_path = told, public, pg_catalog")

    def set(self, days: int) -> None:
        """Put it so far from what is right."""
        self._sql(f"UPDATE told.shift SET by = interval '{days} days'")


@pytest.mark.parametrize("days", [1, -1])
async def test_a_servers_clock_that_is_set_moves_no_steady_time(cluster, tmp_path, caplog, days):
    server = ServerClock(cluster, tmp_path)
    async with living(tmp_path) as b, node(tmp_path, "n2", right()) as other:
        await begin(b.store)
        for store in (b.store, other):
            assert is_now(await steady_of(store))
        server.set(days)
        for store in (b.store, other, b.store):
            assert is_now(await steady_of(store)), "it goes on as machines count"
            assert store.journal.life.standing.fault != "", "and nothing leaves"
        assert "server_clock.set" in caplog.text
    async with node(tmp_path, "n2", right()) as store:
        assert is_now(await steady_of(store)), "a restart changes nothing"


async def test_a_server_that_was_set_while_no_daemon_ran_opens_no_limit(cluster, tmp_path):
    server = ServerClock(cluster, tmp_path)
    async with node(tmp_path, "n1", right()) as store:
        await steady_of(store)
    server.set(1)
    async with node(tmp_path, "n1", right()) as store:
        assert is_now(await steady_of(store)), "the machine has counted meanwhile"
    server.set(-1)
    other = right()
    other.boot_id = "boot-2"
    async with node(tmp_path, "n2", other) as store:
        assert is_now(await steady_of(store)), "never earlier than it was"


@pytest.mark.parametrize("attack", ["gone", "altered", "of before"])
async def test_a_row_that_is_not_as_the_nodes_left_it_moves_nothing(cluster, tmp_path, attack):
    name = make_url(Databases.url(tmp_path)).database
    is_it = "WHERE key = 'steady_site'"
    server = ServerClock(cluster, tmp_path)
    async with node(tmp_path, "n1", right()) as store:
        await steady_of(store)
        [(before,)] = cluster.sql(f"SELECT value FROM meta {is_it}", name)
        server.set(1)
        await steady_of(store)
        cluster.sql(f"DELETE FROM meta {is_it}", name)
        if attack != "gone":
            value = before if attack == "of before" else f"1{before}"
            cluster.sql(f"INSERT INTO meta (key, value) VALUES ('steady_site', '{value}')", name)
        found = await store.read(lambda conn: list(broken_seals(conn, store.vault)))
        assert any("steady_site" in line for line in found) is (attack == "altered")
        assert is_now(await steady_of(store))
        found = await store.read(lambda conn: list(broken_seals(conn, store.vault)))
        assert not any("steady_site" in line for line in found), "it stands again"


# ---------------------------------------------------------------- what is forgotten


def count(tx: Tx) -> None:
    """A contact that binds for another minute."""
    bucket = bucket_of(Span.MINUTE, tx.steady, UTC)
    facts = {"scope": "department:x", "span": "r:minute", "recipient": "r"}
    row = {**facts, "since": bucket, "bucket": bucket, "n": 1}
    tx.conn.execute(insert(quota_contact), [row])
    tx.count(count_seal.weight(tx.vault, quota_contact, [tuple(row.values())]))


async def n_counted(store: Store) -> int:
    found = select(func.count()).select_from(quota_contact)
    return await store.read(lambda conn: conn.scalar(found) or 0)


@pytest.mark.parametrize("clock", [right, ahead])
async def test_nobody_forgets_counts_that_bind_on_a_node_that_is_behind(cluster, tmp_path, clock):
    async with living(tmp_path) as b, node(tmp_path, "n2", clock()) as other:
        await begin(b.store)
        await steady_of(b.store)
        await b.store.write(count)
        await other.write(lambda tx: tx.conn.execute(
            update(rows).where(rows.c.node_id == "n1").values(steady_at=tx.steady)
        ) and None)  # fmt: skip
        other.journal.steady.hold(other.journal.steady.now() + DAY)
        await other.write(lambda tx: count_purge.purge(tx, b.rules.quota.zone))
        assert await n_counted(b.store) == 1
