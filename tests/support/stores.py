"""A real store for tests: on a real SQLite file, or on a real PostgreSQL."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

from alembic import command
from sqlalchemy import create_engine, insert

from modemctl.store import Store
from modemctl.store.migrate import alembic_config, upgrade
from modemctl.store.tables import meta
from modemctl.vault import AuditKey, Vault
from tests.support import postgres
from tests.support.departments import register_usual


class TestClock:
    """A clock that stands until it is moved."""

    __test__ = False

    def __init__(self, at: datetime = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)) -> None:
        self.at = at
        self.elapsed = 0.0
        self.boot_id = "boot-1"
        self._booted_at = at - timedelta(hours=1)

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.elapsed

    def advance(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)
        self.elapsed += seconds

    def boottime(self) -> float:
        return (self.at - self._booted_at).total_seconds()

    def step(self, seconds: float) -> None:
        """Somebody sets the wall clock."""
        self.at += timedelta(seconds=seconds)
        self._booted_at += timedelta(seconds=seconds)

    def reboot(self, boot_id: str) -> None:
        """The machine starts again, at once."""
        self.boot_id = boot_id
        self._booted_at = self.at


MASTER_KEY = bytes(range(32))
AUDIT_SEED = bytes(range(32, 64))


@cache
def _migrated() -> bytes:
    """A migrated SQLite database, as its file. Made once a process: most of a test's set-up."""
    with TemporaryDirectory() as folder:
        _migrate(f"sqlite:///{folder}/modemctl.db")
        return (Path(folder) / "modemctl.db").read_bytes()


@cache
def _template() -> str:
    """The same on PostgreSQL, as the name of a database that others are copied from."""
    cluster = postgres.cluster()
    name = cluster.create()
    _migrate(cluster.url(name))
    cluster.keep(name)
    return name


def _migrate(url: str) -> None:
    """An upgraded database of an earlier version: every vault of its master key has its keys."""
    engine = create_engine(url)
    with engine.begin() as connection:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0011")
        facts = {"key_check": Vault(MASTER_KEY).check_value, "site_id": "test"}
        rows = [{"key": key, "value": value} for key, value in facts.items()]
        connection.execute(insert(meta), rows)
    engine.dispose()
    vault, now = Vault(MASTER_KEY), TestClock().now()
    upgrade(url, vault=vault, site_id="test", now=now)
    register_usual(url, vault, now=now)


class Databases:
    """Where stores of this process lie: what `open_store` asks."""

    is_postgresql = False
    _names: ClassVar[dict[Path, str]] = {}

    @classmethod
    def url(cls, folder: Path) -> str:
        """The address of the folder's database, made if it is not there."""
        if cls.is_postgresql:
            if folder not in cls._names:
                cls._names[folder] = postgres.cluster().create(_template())
            return postgres.cluster().url(cls._names[folder])
        database = folder / "modemctl.db"
        if not database.exists():
            database.write_bytes(_migrated())
        return f"sqlite:///{database}"

    @classmethod
    def clear(cls) -> None:
        """Back to SQLite; what a test made on PostgreSQL is dropped."""
        if cls._names:
            postgres.cluster().drop_all()
        cls._names.clear()
        cls.is_postgresql = False


def take_back(folder: Path, revision: str) -> None:
    """Let the database of `folder` be one of an older schema: what came later is dropped."""
    database = folder / "modemctl.db"
    with TemporaryDirectory() as other, closing(sqlite3.connect(database)) as new:
        engine = create_engine(f"sqlite:///{other}/old.db")
        with engine.begin() as connection:
            config = alembic_config()
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
        engine.dispose()
        with closing(sqlite3.connect(f"{other}/old.db")) as old:
            before, after = _columns(old), _columns(new)
            kept = {table: _indices(old, table) for table in before}
        for table, columns in after.items():
            if table not in before:
                new.execute(f"DROP TABLE {table}")
                continue
            for name in _indices(new, table) - kept[table]:
                new.execute(f"DROP INDEX {name}")
            for column in columns - before[table]:
                new.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        new.execute("UPDATE alembic_version SET version_num = ?", (revision,))
        new.commit()


def _indices(db: sqlite3.Connection, table: str) -> set[str]:
    names = {row[1] for row in db.execute(f"PRAGMA index_list({table})")}
    return {name for name in names if not name.startswith("sqlite_")}


def _columns(db: sqlite3.Connection) -> dict[str, set[str]]:
    tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type='table'")]
    return {
        table: {row[1] for row in db.execute(f"PRAGMA table_info({table})")} for table in tables
    }


@asynccontextmanager
async def open_store(folder: Path, clock: TestClock | None = None) -> AsyncIterator[Store]:
    """A store with a fresh or existing database in `folder`."""
    clock = clock or TestClock()
    vault = Vault(MASTER_KEY)
    is_old = (folder / "modemctl.db").exists()
    url = Databases.url(folder)
    if is_old:
        upgrade(url, vault=vault, site_id="test", now=clock.now())
    key = AuditKey(AUDIT_SEED)
    async with Store(url, vault=vault, audit_key=key, clock=clock, node_id="n1") as store:
        yield store
