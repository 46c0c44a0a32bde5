"""A consistent copy of the whole database while everybody works, and what is in such a copy.

Each kind of database makes its copy in its own way; who backs up sees a `Source` and knows none.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from modemctl.audit import Head
from modemctl.errors import StoreError
from modemctl.store.engine import sqlite_path
from modemctl.store.postgresql import DatabaseUrl
from modemctl.store.site_streams import end_of, filling, reading
from modemctl.store.streams import Streamed, stream

_STEP: Final = 256  # pages of 4 KiB: between two steps others have the disk
_FAULTS: Final = 5
_TABLES: Final = (
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
    " ORDER BY name"
)
_SIZE: Final = "SELECT pg_database_size(current_database())"
_HEADS: Final = """
SELECT node_id, seq, hash FROM audit_entry AS one
WHERE seq = (SELECT max(seq) FROM audit_entry WHERE node_id = one.node_id)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a copy holds: revision of its schema, rows by table, each node's head of the log.

    `faults`: what the database's own check of the file says; empty where it is whole.
    """

    schema: str
    rows: Mapping[str, int] = field(repr=False)
    heads: Mapping[str, Head] = field(repr=False)
    faults: tuple[str, ...] = ()


class Source(Protocol):
    """A database that copies itself; a process of its own calls it, never the event loop."""

    @property
    def kind(self) -> str:
        """What reads the copy again, such as `sqlite`."""
        ...

    def size(self) -> int:
        """Octets that a copy takes at most, about.

        Raises:
            OSError, StoreError: the database is not there.
        """
        ...

    def copy(self, target: Path) -> None:
        """Write the state of one moment to a new file, which is then on disk.

        No writer waits for it.

        Raises:
            StoreError: the database, or the disk, refused.
        """
        ...


class SqliteSource:
    """An SQLite file in WAL mode.

    The copy reads in one transaction, so that it is of one moment whatever is written meanwhile:
    without it each write of another connection would make it begin anew.
    """

    kind: Final = "sqlite"

    def __init__(self, path: Path) -> None:
        self._path = path

    def size(self) -> int:
        """See `Source`."""
        log = self._path.with_name(f"{self._path.name}-wal")
        return self._path.stat().st_size + (log.stat().st_size if log.exists() else 0)

    def copy(self, target: Path) -> None:
        """See `Source`."""
        target.touch(mode=0o600, exist_ok=False)
        try:
            with closing(_opened(self._path)) as source, closing(_opened(target)) as sink:
                for pragma in ("synchronous=OFF", "journal_mode=OFF"):  # flushed below, once
                    sink.execute(f"PRAGMA {pragma}")
                source.execute("PRAGMA query_only=ON")
                source.execute("BEGIN")
                source.execute("SELECT count(*) FROM sqlite_master").fetchone()  # from here on
                source.backup(sink, pages=_STEP, progress=_Flushing(target))
                source.execute("ROLLBACK")
                sink.execute("PRAGMA journal_mode=DELETE")  # one file that needs no other
        except sqlite3.Error as error:
            raise StoreError(f"the copy of the database failed: {error}") from None
        _flush(target)


class _Flushing:
    """Brings what was copied to the disk bit by bit: one great flush would hold up the writer."""

    _EVERY: Final = 16  # steps

    def __init__(self, target: Path) -> None:
        self._target = target
        self._steps = 0

    def __call__(self, status: int, remaining: int, total: int) -> None:
        del status, remaining, total
        self._steps += 1
        if self._steps % self._EVERY == 0:
            _flush(self._target)


class PostgresSource:
    """A PostgreSQL database, read in one snapshot into an SQLite file.

    So the copy needs no program of a server's version, is looked through and tried like any other,
    and is restored to either kind of database. Each table is compared with what was read.
    """

    kind: Final = "sqlite"

    def __init__(self, url: DatabaseUrl) -> None:
        self._url = url

    def size(self) -> int:
        """See `Source`; a file without free pages takes less.

        Raises:
            StoreError: its server cannot be reached.
        """
        with reading(self._url) as conn:
            return int(
                conn.exec_driver_sql("SELECT pg_database_size(current_database())").scalar_one()
            )

    def copy(self, target: Path) -> None:
        """See `Source`.

        Raises:
            ConfigError, InvalidRequest: it is not modemctl's, or holds what no copy can.
        """
        with reading(self._url) as source, filling(f"sqlite+pysqlite:///{target}") as sink:
            stream(end_of(source), end_of(sink), _told_nobody)


def _told_nobody(told: Streamed) -> None:
    del told


def source_of(url: DatabaseUrl) -> Source:
    """The source behind a database's URL."""
    path = sqlite_path(url)
    return PostgresSource(url) if path is None else SqliteSource(path)


def inspect(path: Path) -> Contents:
    """Look through a copy: its integrity, its schema, its rows, the heads of the log.

    Raises:
        StoreError: the file is no database of ours.
    """
    try:
        with closing(_opened(path)) as db:
            db.execute("PRAGMA query_only=ON")
            found = [row[0] for row in db.execute(f"PRAGMA integrity_check({_FAULTS})")]
            faults = [] if found == ["ok"] else [str(one) for one in found]
            faults += [
                f"a row of {row[0]} names a row that is not there"
                for row in db.execute("PRAGMA foreign_key_check").fetchmany(_FAULTS)
            ]
            schema = db.execute("SELECT version_num FROM alembic_version").fetchone()
            tables = [str(row[0]) for row in db.execute(_TABLES)]
            counts = {name: _count(db, name) for name in tables}
            heads = {
                str(node): Head(seq=int(seq), hash=bytes(octets))
                for node, seq, octets in db.execute(_HEADS)
            }
    except (sqlite3.Error, TypeError, ValueError) as error:
        raise StoreError(f"the copy is no database that modemctl wrote: {error}") from None
    return Contents(
        schema="" if schema is None else str(schema[0]),
        rows=counts,
        heads=heads,
        faults=tuple(faults),
    )


def _count(db: sqlite3.Connection, table: str) -> int:
    name = table.replace('"', '""')
    return int(db.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0])  # noqa: S608 - a table's own name


def _opened(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=5.0)
    connection.execute("PRAGMA temp_store=MEMORY")
    return connection


def _flush(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fdatasync(fd)
    finally:
        os.close(fd)
