"""PostgreSQL as a database: made, checked, locked, refused; its password shown nowhere."""

import asyncio
import threading
import traceback
from collections import Counter
from collections.abc import Awaitable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from psycopg import Connection, OperationalError
from psycopg.errors import LockNotAvailable
from sqlalchemy import URL, Engine, create_engine, func, make_url, select
from sqlalchemy.exc import DBAPIError

from modemctl.clock import SystemClock
from modemctl.config import load
from modemctl.config.settings import PathsSettings
from modemctl.doctor.database import check_database
from modemctl.doctor.findings import Finding, Verdict
from modemctl.doctor.subject import Subject
from modemctl.errors import ConfigError, NameTaken, StoreError
from modemctl.policy.quotas import QuotaRules
from modemctl.store import Store, leases, postgresql
from modemctl.store.engine import SCHEMA_REVISION, create_engines, readable, require_schema
from modemctl.store.key_files import load_database
from modemctl.store.leases import Leased, LeaseRequest
from modemctl.store.links import link
from modemctl.store.migrate import upgrade
from modemctl.store.opening import opened
from modemctl.store.seats import Seat, keep_out, living
from modemctl.store.tables import audit_entry, meta, metadata
from modemctl.vault import AuditKey, Vault
from tests.support import postgres
from tests.support.benches import CARDS, MANY, Bench, bay_of, bench
from tests.support.commands import call
from tests.support.doctors import facts_of
from tests.support.server_sites import wire
from tests.support.stores import AUDIT_SEED, MASTER_KEY, Databases, TestClock, open_store

VAULT = Vault(MASTER_KEY)


@pytest.fixture
def cluster() -> Iterator[postgres.Cluster]:
    yield postgres.cluster()
    postgres.cluster().drop_all()


def migrate(url: str | URL) -> None:
    upgrade(url, vault=VAULT, site_id="s", now=TestClock().now())


def test_all_migrations_make_the_tables_of_the_models_even_from_two_sides(cluster):
    url = cluster.url(cluster.create())
    with ThreadPoolExecutor(2) as both:  # two servers of a site are set up at the same time
        list(both.map(migrate, [url, url]))
    engine = create_engine(url)
    with engine.connect() as conn:
        context = MigrationContext.configure(
            conn, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, metadata) == []
        assert context.get_current_revision() == SCHEMA_REVISION
        site = select(meta.c.value).where(meta.c.key == "site_id")
        assert conn.scalars(site).all() == ["s"]
    engine.dispose()


def examined(config: Path) -> dict[str, Finding]:
    """What the doctor says of the database."""
    subject = Subject.of(facts_of(Path("/"), clock=SystemClock()), load(config))
    return {one.check: one for one in check_database(subject)}


def test_a_site_is_made_and_looked_at_from_the_command_line(cluster, tmp_path):
    config = tmp_path / "modemctl.toml"
    keys = {name: tmp_path / f"{name}.key" for name in ("master", "audit")}
    for path in keys.values():
        assert call("key", "create", path).status == 0
    url = cluster.url(cluster.create())
    config.write_text(
        f"[paths]\nstate_dir = '{tmp_path}/state'\ndatabase = '{url}'\n"
        f"master_key_file = '{keys['master']}'\naudit_key_file = '{keys['audit']}'\n"
        f"[api]\nunix_socket = '{tmp_path}/api.sock'\ntcp_port = 0\n"
    )
    done = call("-c", config, "db", "status")
    assert done.status == 78
    assert "is empty; run: modemctl db upgrade" in done.err
    assert examined(config)["database"].cure.startswith("modemctl db upgrade")
    done = call("-c", config, "db", "upgrade")
    assert done.status == 0
    found = examined(config)
    assert all(one.verdict is Verdict.OK for one in found.values()), found
    assert found["session"].seen == "no daemon works on the database"
    assert "MiB, PostgreSQL 1" in found["database"].seen
    assert done.out.startswith("PostgreSQL: no copy is kept")
    assert call("-c", config, "db", "status").out == f"database fits: schema {SCHEMA_REVISION}\n"
    key = tmp_path / "admin.key"
    assert call("-c", config, "key", "bootstrap", "--out", key).status == 0
    done = call("-c", config, "audit", "verify", "--offline")
    assert done.status == 0, done


def test_a_database_that_orders_text_otherwise_is_refused_with_the_way_to_make_one(cluster):
    name = "sorted_otherwise"
    cluster.sql(
        f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'"
        " STRATEGY file_copy"
    )
    with pytest.raises(ConfigError, match=f"CREATE DATABASE {name} OWNER modemctl TEMPLATE"):
        migrate(cluster.url(name))
    cluster.sql(f"DROP DATABASE {name}")


def test_the_password_comes_from_its_file_and_is_shown_nowhere(cluster, tmp_path):
    name = cluster.create()
    cluster.sql("CREATE ROLE guarded SUPERUSER LOGIN PASSWORD 'geheim wort'")
    file = tmp_path / "password"
    paths = PathsSettings(
        database=cluster.url(name, user="guarded"),
        database_password_file=str(file),
        state_dir=tmp_path / "state",
    )
    try:
        for octets, mode, told in (
            (None, 0, "does not exist; write it there"),
            (b"geheim wort\n", 0o644, "is open to others"),
            (b"\n", 0o600, "does not hold a password"),
            (b"\xff\n", 0o600, "does not hold a password"),
        ):
            if octets is not None:
                file.write_bytes(octets)
                file.chmod(mode)
            with pytest.raises(ConfigError, match=told):
                load_database(paths)
        file.write_text("falsches wort\n")
        with pytest.raises(StoreError, match="password authentication failed") as refused:
            migrate(load_database(paths))
        file.write_text("geheim wort\n")
        url = load_database(paths)
        writer, _ = create_engines(url, n_readers=1)
        with writer.begin() as conn:
            assert conn.exec_driver_sql("SELECT current_user").scalar() == "guarded"
        writer.dispose()
        shown = f"{url} {url!r} {''.join(traceback.format_exception(refused.value))}"
        assert "password authentication failed" in shown
        assert "wort" not in shown
    finally:
        cluster.sql(f"DROP DATABASE {name} WITH (FORCE)")
        cluster.sql("DROP ROLE guarded")


def test_a_server_that_is_not_there_may_come_back(tmp_path):
    url = make_url(f"postgresql+psycopg://u:geheim@/d?host={tmp_path}")
    writer, reader = create_engines(url, n_readers=1)
    with pytest.raises(StoreError, match="cannot be reached now") as refused:
        require_schema(writer, key_check=VAULT.check_value)
    with pytest.raises(StoreError, match="cannot be reached now"), readable(url), reader.begin():
        pass
    assert "geheim" not in str(refused.value)


def test_without_the_driver_the_cure_is_named(monkeypatch):
    monkeypatch.setattr(postgresql, "DRIVER", "a_driver_that_nobody_has")
    with pytest.raises(ConfigError, match=r"pip install 'modemctl\[postgres\]'"):
        create_engines("postgresql+psycopg:///d", n_readers=1)


def test_who_writes_is_alone_and_who_reads_sees_one_moment_and_writes_nothing(cluster):
    name = cluster.create()
    url = cluster.url(name)
    (first, reader), (second, other) = (create_engines(url, n_readers=1) for _ in range(2))
    with first.begin() as conn:
        conn.exec_driver_sql("CREATE TABLE n (n integer)")
    with first.begin() as conn, cluster.connect(name) as late:
        conn.exec_driver_sql("INSERT INTO n VALUES (1)")
        late.execute("SET lock_timeout = '1ms'")
        with pytest.raises(LockNotAvailable) as refused:
            late.execute(postgresql._TAKE_LOCK)
        assert postgresql.is_away(DBAPIError("", None, refused.value))
    with reader.begin() as conn:
        assert conn.exec_driver_sql("SELECT count(*) FROM n").scalar() == 1
        with second.begin() as write:
            write.exec_driver_sql("INSERT INTO n VALUES (2)")
        assert conn.exec_driver_sql("SELECT count(*) FROM n").scalar() == 1
    with pytest.raises(DBAPIError, match="read-only"), other.begin() as conn:
        conn.exec_driver_sql("INSERT INTO n VALUES (3)")
    for engine in (first, reader, second, other):
        engine.dispose()


class Frozen:
    """A session that took the writers' lock and stands still behind a Flush, or in a COPY.

    The server's limit of idleness, here 100 ms, does not see it.
    """

    def __init__(self, cluster: postgres.Cluster, name: str, monkeypatch) -> None:
        monkeypatch.setattr(postgresql, "_SILENCE_MAX", 0.2)
        monkeypatch.setitem(postgresql._PATIENCE, "lock_timeout", "300ms")
        self._session = cluster.connect(name)

    def __enter__(self) -> Connection:
        self._session.autocommit = False
        self._session.execute("SET application_name = 'one that froze'")
        self._session.execute("SET idle_in_transaction_session_timeout = '100ms'")
        self._session.execute("CREATE TEMP TABLE n (n integer)")
        self._session.execute(postgresql._TAKE_LOCK)
        self._session.cursor().executemany("INSERT INTO n VALUES (%s)", [(1,), (2,)])
        return self._session

    def __exit__(self, *_: object) -> None:
        self._session.close()


def is_refused(writer: Engine) -> bool:
    with pytest.raises(DBAPIError) as refused, writer.begin():
        pass
    return postgresql.is_away(refused.value)


def test_who_holds_the_lock_and_stands_still_is_ended_by_who_waits_for_it(
    cluster, monkeypatch, caplog
):
    name = cluster.create()
    with Frozen(cluster, name, monkeypatch):
        writer, reader = create_engines(cluster.url(name), n_readers=1)
        assert is_refused(writer)
        with writer.begin() as conn:
            conn.exec_driver_sql("CREATE TABLE m (m integer)")
    assert [record.holder for record in caplog.records] == ["one that froze"]
    for engine in (writer, reader):
        engine.dispose()


def test_who_copies_for_long_is_not_ended(cluster, monkeypatch, caplog):
    name = cluster.create()
    with Frozen(cluster, name, monkeypatch) as copier:
        copier.pgconn.send_query(b"COPY n FROM STDIN")
        writer, reader = create_engines(cluster.url(name), n_readers=1)
        assert is_refused(writer)
        assert is_refused(writer)
        assert not caplog.messages
    for engine in (writer, reader):
        engine.dispose()


def test_where_nobody_can_be_ended_it_is_told_and_the_wait_fails_as_before(
    cluster, monkeypatch, caplog
):
    monkeypatch.setattr(postgresql, "_END_SILENT", "SELECT nothing FROM nowhere")
    name = cluster.create()
    with Frozen(cluster, name, monkeypatch):
        writer, reader = create_engines(cluster.url(name), n_readers=1)
        assert is_refused(writer)
    assert caplog.messages == ["lock.holder_not_ended"]
    assert "nowhere" in caplog.records[0].error
    for engine in (writer, reader):
        engine.dispose()


@pytest.fixture
def on_postgresql(cluster) -> Iterator[postgres.Cluster]:
    Databases.is_postgresql = True
    yield cluster
    Databases.clear()


async def entries(store: Store) -> list[str]:
    """The subjects of the log in their order."""
    query = select(audit_entry.c.subject).where(audit_entry.c.action == "test")
    return list(await store.read(lambda c: c.scalars(query.order_by(audit_entry.c.seq)).all()))


async def test_a_server_that_goes_and_comes_back_costs_the_writes_of_meanwhile_only(
    on_postgresql, tmp_path
):
    async with open_store(tmp_path) as store:
        await store.write(lambda tx: tx.audit("a", "test", "before", {}))
        on_postgresql.stop()
        try:
            with pytest.raises(StoreError, match="database refused"):
                await store.write(lambda tx: tx.audit("a", "test", "meanwhile", {}))
            with pytest.raises(StoreError, match="database refused"):
                await entries(store)
            assert not store.journal.is_healthy
        finally:
            on_postgresql.start()
        await store.write(lambda tx: tx.audit("a", "test", "after", {}))
        assert store.journal.is_healthy
        assert await entries(store) == ["before", "after"]
        on_postgresql.stop()
        on_postgresql.start()
        await store.write(lambda tx: tx.audit("a", "test", "a restart is not noticed", {}))
        assert await entries(store) == ["before", "after", "a restart is not noticed"]


async def test_a_commit_whose_answer_is_lost_stays_in_the_chain_and_is_not_made_twice(
    on_postgresql, tmp_path
):
    async with open_store(tmp_path):
        pass
    cutter = postgres.Cutter(Databases.url(tmp_path))
    clock = TestClock()
    key = AuditKey(AUDIT_SEED)
    async with Store(cutter.url, vault=VAULT, audit_key=key, clock=clock, node_id="n1") as store:
        cutter.is_armed = True
        with pytest.raises(StoreError):
            await store.write(lambda tx: tx.audit("a", "test", "unsure", {}))
        before = store.journal.head
        await store.write(lambda tx: tx.audit("a", "test", "next", {}))
        assert store.journal.head.seq == before.seq + 2
        assert await entries(store) == ["unsure", "next"]
    cutter.close()


async def test_a_deadlock_is_tried_again_without_a_word(on_postgresql, tmp_path):
    async with open_store(tmp_path) as store:
        tries = []

        def act(tx):
            tries.append(tx)
            tx.audit("a", "test", "once", {})
            if len(tries) == 1:
                tx.conn.exec_driver_sql(
                    "DO $$ BEGIN RAISE EXCEPTION 'as a server says' USING ERRCODE = '40P01'; END $$"
                )

        await store.write(act)
        assert len(tries) == 2
        assert await entries(store) == ["once"]


async def test_two_programs_under_one_name_of_a_node_do_not_write_one_chain(
    on_postgresql, tmp_path
):
    async with open_store(tmp_path) as one, open_store(tmp_path) as other:
        await one.write(lambda tx: tx.audit("a", "test", "one", {}))
        for _ in range(2):
            with pytest.raises(StoreError, match="another program writes the log of node n1"):
                await other.write(lambda tx: tx.audit("a", "test", "other", {}))
        assert other.journal.lost.is_set()
        await one.write(lambda tx: tx.audit("a", "test", "two", {}))
        assert await entries(one) == ["one", "two"]


async def waiting_for(cluster: postgres.Cluster, kind: str, what: str) -> None:
    """Until a session waits in a transaction for that."""
    query = (
        "SELECT 1 FROM pg_stat_activity WHERE backend_type = 'client backend' AND xact_start IS NOT"
        f" NULL AND wait_event_type = '{kind}' AND wait_event = '{what}'"
    )
    async with asyncio.timeout(60):
        while not await asyncio.to_thread(cluster.sql, query):
            await asyncio.sleep(0.01)


async def test_two_nodes_at_once_share_a_queue_and_its_limits_and_lease_nothing_twice(
    on_postgresql, tmp_path
):
    caps = replace(MANY, day=4)
    async with bench(tmp_path, quota=QuotaRules(caps=caps, zone=ZoneInfo("UTC"))) as one:
        batch_id = await one.batch(40)
        key = AuditKey(bytes(range(64, 96)))
        async with Store(
            Databases.url(tmp_path), vault=VAULT, audit_key=key, clock=one.clock, node_id="n2"
        ) as store:
            other = Bench(store, one.clock, one.staff, one.rules)
            may_end = threading.Event()

            def lease_slowly(tx):
                items = [LeaseRequest(bay=bay_of(c), iccid=c, rules=one.rules) for c in CARDS[:4]]
                found = leases.lease(tx, items)
                assert may_end.wait(60)
                return found

            async with asyncio.TaskGroup() as group:
                first = group.create_task(one.store.write(lease_slowly))
                await waiting_for(on_postgresql, "Client", "ClientRead")  # it has asked, and thinks
                second = group.create_task(other.lease(*CARDS[:4]))
                await waiting_for(on_postgresql, "Lock", "advisory")
                may_end.set()
            taken = [*first.result(), *second.result()]
            for _ in range(3):
                taken += await other.lease(*CARDS[:4])
            taken = [lease for lease in taken if isinstance(lease, Leased)]
        assert {lease.batch_id for lease in taken} == {batch_id}
        assert len({lease.message_id for lease in taken}) == len(taken)
        assert Counter(lease.iccid for lease in taken) == dict.fromkeys(CARDS[:4], 4)
        chains = select(audit_entry.c.node_id, func.count()).group_by(audit_entry.c.node_id)
        told = dict(await one.store.read(lambda conn: list(map(tuple, conn.execute(chains)))))
        assert min(told["n1"], told["n2"]) > 0


async def test_what_the_database_refuses_is_told_without_the_row(on_postgresql, tmp_path):
    async with open_store(tmp_path) as store:
        row = {"key": "site_id", "value": "13800138000"}
        with pytest.raises(StoreError, match="a constraint forbids it") as refused:
            await store.write(lambda tx: tx.conn.execute(meta.insert().values(row)) and None)
        assert "site_id" not in str(refused.value)
        with pytest.raises(StoreError, match="read-only transaction"):
            await store.read(lambda conn: conn.execute(meta.insert().values(row)) and None)


def seated(tmp_path, seat: Seat, node_id: str = "n1") -> Store:
    """A daemon's store."""
    url, key = Databases.url(tmp_path), AuditKey(AUDIT_SEED)
    return Store(url, vault=VAULT, audit_key=key, clock=TestClock(), node_id=node_id, seat=seat)


async def test_a_second_daemon_is_told_who_is_there_and_ends(on_postgresql, tmp_path):
    told = []
    async with seated(tmp_path, Seat("n1")) as store:
        make = partial(seated, tmp_path, Seat("n1"))
        with pytest.raises(ConfigError, match="another daemon runs as node n1: session"):
            async with opened(make, patience=0, ghost=0, tell=told.append):
                pass
        await store.write(lambda tx: tx.audit("a", "test", "unharmed", {}))
        with pytest.raises(ConfigError, match="is in use by node n1"):
            await asyncio.to_thread(migrate, Databases.url(tmp_path))
    await asyncio.to_thread(migrate, Databases.url(tmp_path))
    async with opened(partial(seated, tmp_path, Seat("n1")), patience=0, tell=told.append):
        assert told == [], "whoever ended keeps nobody out"


async def test_nodes_of_different_names_work_side_by_side_but_not_beside_an_upgrade(
    on_postgresql, tmp_path
):
    async with seated(tmp_path, Seat("n1")), seated(tmp_path, Seat("n2"), "n2") as other:
        await other.write(lambda tx: tx.audit("a", "test", "beside", {}))
        names = [one.node_id for one in await other.read(living)]
        assert names == ["n1", "n2"]
    writer = postgresql.create_writer(Databases.url(tmp_path))
    with writer.begin() as conn:
        conn.exec_driver_sql("SELECT 1")
        assert keep_out(conn)
        _, reader = create_engines(Databases.url(tmp_path), n_readers=1)
        with pytest.raises(NameTaken, match="modemctl db upgrade runs"), reader.connect() as late:
            Seat("n1").take(late)
        reader.dispose()
    writer.dispose()


async def test_a_start_waits_for_the_server_and_says_so(on_postgresql, tmp_path):
    Databases.url(tmp_path)
    on_postgresql.stop()
    told: list[str] = []

    def tell(reason: str) -> None:
        told.append(reason)
        if len(told) == 2:
            on_postgresql.start()

    with pytest.raises(StoreError, match="cannot be reached now"):
        async with opened(partial(seated, tmp_path, Seat("n1")), patience=0, tell=tell):
            pass
    async with opened(partial(seated, tmp_path, Seat("n1")), patience=100, tell=tell) as store:
        await store.write(lambda tx: tx.audit("a", "test", "there", {}))
    assert len(told) >= 2
    assert "cannot be reached now" in told[0]


async def test_a_daemon_that_comes_back_ends_its_own_session_that_the_server_still_keeps(
    on_postgresql, tmp_path
):
    seat = Seat("n1")
    async with seated(tmp_path, seat) as store:
        ghost, _ = create_engines(Databases.url(tmp_path), n_readers=1)
        with ghost.begin() as conn:
            assert [one.title for one in living(conn)] == [seat.title]
        await asyncio.to_thread(store._writer_engine.dispose)
        forgotten = postgresql.create_writer(Databases.url(tmp_path), seat=seat)
        held = forgotten.connect()
        held.exec_driver_sql("SELECT 1")
        held.commit()  # the session stays, with its locks
        await store.write(lambda tx: tx.audit("a", "test", "back", {}))
        assert await entries(store) == ["back"]
        held.invalidate()
        held.close()
        for engine in (ghost, forgotten):
            engine.dispose()


async def test_a_daemon_whose_name_another_one_used_meanwhile_writes_nothing_more(
    on_postgresql, tmp_path
):
    async with seated(tmp_path, Seat("n1")) as store:
        await asyncio.to_thread(store._writer_engine.dispose)  # it is cut off
        async with seated(tmp_path, Seat("n1")) as other:
            with pytest.raises(StoreError, match="another daemon runs as node n1"):
                await store.write(lambda tx: tx.audit("a", "test", "beside", {}))
            await other.write(lambda tx: tx.audit("a", "test", "other", {}))
        with pytest.raises(StoreError, match="another program writes the log of node n1"):
            await store.write(lambda tx: tx.audit("a", "test", "after", {}))
        assert store.journal.lost.is_set()
        assert await entries(store) == ["other"]


def test_a_server_that_stands_still_is_given_up(cluster):
    name = cluster.create()
    url = make_url(cluster.url(name))
    options = {"host": url.query["host"], "user": url.username, "dbname": name}
    opened_link = link(0.05, "", options)
    with pytest.raises(OperationalError, match=r"no answer within 0.05 s"):
        opened_link.execute("SELECT pg_sleep(60)")
    assert opened_link.closed
    error = OperationalError("no answer")
    assert postgresql.is_away(DBAPIError("", None, error))


async def test_who_waits_behind_a_lost_server_is_told_with_the_first(
    on_postgresql, tmp_path, monkeypatch
):
    """Each try waits for its own end: a hundred in a row would take minutes."""
    monkeypatch.setitem(postgresql._SOCKET, "connect_timeout", 2)
    told: list[str] = []

    async def ask(answer: Awaitable[object]) -> None:
        try:
            await answer
        except StoreError as error:
            told.append(str(error))

    async with open_store(tmp_path):
        pass
    key = AuditKey(AUDIT_SEED)
    with wire(Databases.url(tmp_path)) as line:
        async with Store(
            line.url, vault=VAULT, audit_key=key, clock=TestClock(), node_id="n1"
        ) as store:
            line.freeze()
            line.cut()
            line.join()  # from now on who connects gets no answer
            n_before = line.n_clients
            async with asyncio.TaskGroup() as group:
                for _ in range(200):
                    group.create_task(ask(store.read(lambda conn: None)))
                    group.create_task(ask(store.write(lambda tx: None)))
            assert len(told) == 400
            assert all("the database refused: " in one for one in told)
            assert line.n_clients - n_before <= 6
            line.thaw()
            await store.write(lambda tx: tx.audit("a", "test", "back", {}))
            assert await entries(store) == ["back"]
