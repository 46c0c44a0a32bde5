"""The writer thread: group commit, isolation of failures, traces bound to the commit."""

import asyncio
import sqlite3
import threading
import traceback
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, func, insert, select, text

from modemctl.audit import Draft as AuditDraft
from modemctl.audit import Entry, Head, verify
from modemctl.errors import ConfigError, StoreError
from modemctl.model import EventKind, Topic
from modemctl.store import Store, Tx
from modemctl.store.engine import SCHEMA_REVISION, readable, require_schema
from modemctl.store.migrate import alembic_config, upgrade
from modemctl.store.tables import audit_entry, event, meta, metadata
from modemctl.vault import AuditKey, Vault
from tests.support.stores import AUDIT_SEED, MASTER_KEY, Databases, TestClock, open_store


def put(key: str):
    def act(tx: Tx) -> str:
        tx.conn.execute(insert(meta).values(key=key, value="x"))
        tx.event(EventKind.ALARM, key, {"k": key})
        tx.audit("tester", "meta.put", key, {"k": key})
        tx.wake(Topic.WORK)
        return key

    return act


def fail(tx: Tx) -> None:
    put("never")(tx)
    raise LookupError("mine")


@pytest.mark.both_databases
async def test_requests_of_one_instant_share_a_commit_and_a_failing_one_harms_nobody(tmp_path):
    reports = []
    async with open_store(tmp_path) as store:
        store.journal._on_commit = reports.append
        with store.signals.subscribe(Topic.WORK) as bell:
            done = await asyncio.gather(
                *(store.write(put(f"k{i}")) for i in range(50)),
                store.write(fail),
                return_exceptions=True,
            )
            assert await bell.wait(5)
        assert done[:50] == [f"k{i}" for i in range(50)]
        assert isinstance(done[50], LookupError)
        keys = await store.read(
            lambda conn: set(conn.scalars(select(meta.c.key).where(meta.c.value == "x")))
        )
        n_events = await store.read(lambda conn: conn.scalar(select(func.count(event.c.event_id))))
    assert keys == {f"k{i}" for i in range(50)}
    assert n_events == 50
    assert len(reports) < 10
    assert sum(report.n_requests for report in reports) == 51


@pytest.mark.parametrize(
    ("seconds", "sizes"), [(0.01, [1, 25, 18, 16, 16, 16, 9]), (0.1, [1, 100])]
)
async def test_of_many_that_wait_each_commit_takes_a_share_but_all_where_it_is_late(
    tmp_path, seconds, sizes
):
    reports, done, clock = [], [], TestClock()
    gate, is_held = threading.Event(), threading.Event()

    def hold(tx: Tx) -> None:
        is_held.set()
        assert gate.wait(30)

    async with open_store(tmp_path, clock) as store:
        store.journal._on_commit = reports.append

        async def put_and_note(key: str) -> None:
            done.append(await store.write(put(key)))

        async with asyncio.TaskGroup() as group:
            group.create_task(store.write(hold))
            await asyncio.to_thread(is_held.wait, 30)
            for i in range(100):
                group.create_task(put_and_note(f"k{i}"))
            await asyncio.sleep(0)
            assert store.journal.backlog == 100
            clock.advance(seconds)
            gate.set()
        assert store.journal.backlog == 0
    assert done == [f"k{i}" for i in range(100)]
    assert [report.n_requests for report in reports] == sizes


async def test_what_waits_at_the_end_is_committed(tmp_path):
    async with open_store(tmp_path) as store, asyncio.TaskGroup() as group:
        for i in range(60):
            group.create_task(store.write(put(f"k{i}")))
        await asyncio.sleep(0)
        await store.journal.stop()
        n_events = await store.read(lambda conn: conn.scalar(select(func.count(event.c.event_id))))
        assert n_events == 60


async def test_a_duplicate_key_fails_alone(tmp_path):
    async with open_store(tmp_path) as store:
        first, second, other = await asyncio.gather(
            store.write(put("a")), store.write(put("a")), store.write(put("b")),
            return_exceptions=True,
        )  # fmt: skip
    assert first == "a"
    assert isinstance(second, StoreError)
    assert other == "b"


@pytest.mark.both_databases
async def test_a_text_that_cannot_be_stored_fails_alone(tmp_path):
    def torn(tx: Tx) -> None:
        tx.audit("tester", "x", "y", {"text": "\ud800"})

    async with open_store(tmp_path) as store:
        done = await asyncio.gather(
            store.write(torn), store.write(put("b")), return_exceptions=True
        )
        assert await store.write(put("c")) == "c"
    assert isinstance(done[0], UnicodeEncodeError)
    assert done[1] == "b"


async def test_a_fault_of_ours_in_the_commit_fails_its_group_and_the_writer_goes_on(
    tmp_path, caplog
):
    def short(tx: Tx, items: Sequence[str]) -> Sequence[str]:
        del tx
        return items[:0]  # breaks the contract: one result an item

    async with open_store(tmp_path) as store:
        with pytest.raises(StoreError, match="see the log"):
            await store.write_in_set(short, "a")
        assert store.journal.is_alive
        assert await store.write(put("after")) == "after"
    assert "journal.fault" in caplog.text


async def test_a_set_runs_as_one_and_falls_apart_when_one_item_fails(tmp_path):
    sizes = []

    def put_all(tx: Tx, items: Sequence[str]) -> Sequence[int]:
        sizes.append(len(items))
        if "bad" in items:
            raise ValueError("bad")
        tx.conn.execute(insert(meta), [{"key": item, "value": "x"} for item in items])
        return [len(item) for item in items]

    async with open_store(tmp_path) as store:
        done = await asyncio.gather(
            *(store.write_in_set(put_all, item) for item in ("one", "bad", "three")),
            return_exceptions=True,
        )
    assert done[0] == 3
    assert isinstance(done[1], ValueError)
    assert done[2] == 5
    assert max(sizes) >= 2


@pytest.mark.both_databases
async def test_the_audit_chain_continues_after_reopening_and_shows_an_edit(tmp_path):
    for key in ("a", "b"):
        async with open_store(tmp_path) as store:
            await store.write(put(key))
            head = store.journal.head
    engine = create_engine(Databases.url(tmp_path))
    public = AuditKey(AUDIT_SEED).public

    def faults(expected: Head | None = None) -> list[str]:
        with engine.connect() as conn:
            rows = conn.execute(select(audit_entry).order_by(audit_entry.c.seq)).all()
        entries = [
            Entry(
                node_id=row.node_id,
                seq=row.seq,
                draft=AuditDraft(
                    at=row.at, actor=row.actor, action=row.action, subject=row.subject,
                    details=row.details,
                ),
                prev=row.prev,
                hash=row.hash,
                signature=row.signature,
            )
            for row in rows
        ]  # fmt: skip
        return list(verify(entries, public, expected_head=expected))

    assert head.seq == 2
    assert faults(head) == []
    with engine.begin() as conn:
        conn.execute(audit_entry.update().where(audit_entry.c.seq == 1).values(actor="other"))
    assert faults() == ["entry 1 was changed"]
    with engine.begin() as conn:
        conn.execute(audit_entry.delete().where(audit_entry.c.seq == 2))
    assert any("entry 2, noted as head" in fault for fault in faults(head))
    engine.dispose()


def test_models_equal_the_sum_of_migrations(tmp_path):
    url = f"sqlite:///{tmp_path}/m.db"
    upgrade(url, vault=Vault(MASTER_KEY), site_id="s", now=TestClock().now())
    engine = create_engine(url)
    with engine.connect() as conn:
        context = MigrationContext.configure(conn, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()
    assert ScriptDirectory.from_config(alembic_config()).get_current_head() == SCHEMA_REVISION


def _foreign_db(path: Path) -> None:
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as conn:
        conn.exec_driver_sql("CREATE TABLE theirs (id INTEGER)")
    engine.dispose()


def _other_key(path: Path) -> None:
    upgrade(f"sqlite:///{path}", vault=Vault(bytes(32)), site_id="s", now=TestClock().now())


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (lambda path: None, "modemctl db upgrade"),
        (lambda path: path.write_bytes(b"not a database at all" * 100), "cannot be opened"),
        (_foreign_db, "not modemctl's"),
        (_other_key, "master key"),
    ],
)
def test_a_foreign_database_is_refused_with_the_cure(tmp_path: Path, prepare, words):
    path = tmp_path / "modemctl.db"
    prepare(path)
    with pytest.raises(ConfigError, match=words):
        Store(
            f"sqlite:///{path}",
            vault=Vault(MASTER_KEY),
            audit_key=AuditKey(AUDIT_SEED),
            clock=TestClock(),
            node_id="n1",
        )


def test_a_database_that_another_program_holds_is_no_fault_of_the_configuration(tmp_path):
    """systemd starts the daemon again, but not after a fault of the configuration."""
    url, vault, now = f"sqlite:///{tmp_path}/m.db?timeout=0.1", Vault(MASTER_KEY), TestClock().now()
    upgrade(url, vault=vault, site_id="s", now=now)
    engine = create_engine(url)
    with closing(sqlite3.connect(tmp_path / "m.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match="held by another program"):
            require_schema(engine, key_check=vault.check_value)
        with (
            pytest.raises(StoreError, match="held by another program"),
            readable(url),
            engine.connect() as conn,
        ):
            conn.exec_driver_sql("SELECT count(*) FROM meta")
    require_schema(engine, key_check=vault.check_value)
    engine.dispose()


def test_an_upgrade_keeps_a_copy_first(tmp_path):
    url = f"sqlite:///{tmp_path}/m.db"
    vault, now = Vault(MASTER_KEY), TestClock().now()
    assert upgrade(url, vault=vault, site_id="s", now=now) is None
    assert (tmp_path / "m.db").stat().st_mode & 0o777 == 0o600
    copy = upgrade(url, vault=vault, site_id="s", now=now)
    assert copy is not None
    assert copy.stat().st_size > 0


def test_a_database_that_others_could_read_becomes_private_and_so_is_its_copy(
    tmp_path, monkeypatch
):
    url, vault, now = f"sqlite:///{tmp_path / 'm.db'}", Vault(MASTER_KEY), TestClock().now()
    upgrade(url, vault=vault, site_id="s", now=now)
    (tmp_path / "m.db").chmod(0o644)
    seen = []
    backup = sqlite3.connect

    def connect(path):
        if str(path).endswith(".bak"):
            seen.append(Path(path).stat().st_mode & 0o777)
        return backup(path)

    monkeypatch.setattr("modemctl.store.migrate.sqlite3.connect", connect)
    copy = upgrade(url, vault=vault, site_id="s", now=now)
    assert copy is not None
    assert copy.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "m.db").stat().st_mode & 0o777 == 0o600
    assert seen == [0o600], "private before anything stands in it"


async def test_a_full_database_stays_ill_until_it_takes_something(tmp_path):
    """Commits of nothing go through there: they make nothing well."""

    def fill(tx: Tx) -> None:
        tx.audit("x", "x", "x", {"x": "x" * 1_000_000})

    def set_room(n_pages: int):
        return lambda tx: tx.conn.exec_driver_sql(f"PRAGMA max_page_count={n_pages}") and None

    async with open_store(tmp_path) as store:
        await store.write(set_room(1))
        with pytest.raises(StoreError, match="full"):
            await store.write(fill)
        await store.write(lambda tx: None)
        assert not store.journal.is_healthy
        await store.write(set_room(1_000_000))
        assert not store.journal.is_healthy
        await store.write(fill)
        assert store.journal.is_healthy


PIN = "4711-0815"


@pytest.mark.parametrize(
    "query",
    [
        text("SELECT 1 FROM nowhere WHERE x = :pin").bindparams(pin=PIN),
        select(event.c.event_id).where(event.c.at == PIN, event.c.subject == PIN),
        insert(event).values([{"at": PIN, "kind": "a", "subject": PIN, "data": PIN}]),
    ],
)
async def test_what_a_read_or_write_was_asked_for_stands_in_no_error_and_no_chain(tmp_path, query):
    async with open_store(tmp_path) as store:
        for ask in (
            lambda: store.read(lambda conn: conn.execute(query) and None),
            lambda: store.write(lambda tx: tx.conn.execute(query) and None),
        ):
            with pytest.raises(StoreError) as refused:
                await ask()
            told = "".join(traceback.format_exception(refused.value))
            assert PIN not in told
            assert "[SQL" not in told


async def test_a_cell_that_is_no_text_is_not_told(tmp_path):
    odd = text("SELECT CAST(:octets AS TEXT)").bindparams(octets=PIN.encode() + b"\xff")
    async with open_store(tmp_path) as store:
        with pytest.raises(StoreError, match="UTF-8") as refused:
            await store.read(lambda conn: conn.execute(odd).all())
        assert PIN not in "".join(traceback.format_exception(refused.value))
