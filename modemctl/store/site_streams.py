"""Two databases opened for a stream of all rows: one is read in one snapshot, one is made anew."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import DBAPIError

from modemctl.errors import ConfigError, Conflict, StoreError
from modemctl.store import addresses, postgresql
from modemctl.store.engine import create_engines, readable, refuse_if_busy, sqlite_path
from modemctl.store.migrate import make_tables
from modemctl.store.postgresql import DatabaseUrl
from modemctl.store.stream_ends import PostgresEnd, SqliteEnd
from modemctl.store.streams import End

_PATIENT: Final = "SET LOCAL idle_in_transaction_session_timeout = 0"  # the other end may be slow
_TRIES: Final = 25
_OTHERS: Final = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""
_IN_DOUBT: Final = (
    "whether the copy was committed is not known: {why}. Look at it with modemctl db status and a"
    " configuration that names it: if it fits, all of it is there; if it is empty, nothing is, and"
    " modemctl db reopen takes the old one into use again"
)


def end_of(conn: Connection) -> End:
    """The end of a stream that this connection is."""
    if conn.dialect.name == "postgresql":
        return PostgresEnd(conn)
    raw = conn.connection.driver_connection
    assert raw is not None
    return SqliteEnd(raw)


@contextmanager
def reading(url: DatabaseUrl, *, alone: bool = False) -> Iterator[Connection]:
    """A snapshot of one moment, however long it is read.

    Raises:
        ConfigError: it cannot be read.
        Conflict: `alone` is wanted, and somebody else is connected (PostgreSQL tells).
        StoreError: its server cannot be reached now.
    """
    writer, reader = create_engines(url, n_readers=1)
    writer.dispose()
    try:
        with readable(url), reader.begin() as conn:
            if conn.dialect.name == "postgresql":
                conn.exec_driver_sql(_PATIENT)
                if alone:
                    _require_alone(conn)
            yield conn
    finally:
        reader.dispose()


def _require_alone(conn: Connection) -> None:
    for _ in range(_TRIES):  # a session that was left is there for a moment still
        n_others = conn.exec_driver_sql(_OTHERS).scalar_one()
        if not n_others:
            return
        conn.exec_driver_sql("SELECT pg_sleep(0.2), pg_stat_clear_snapshot()")
    cure = "stop the daemons of all nodes, and end other sessions (psql)"
    raise Conflict(f"{n_others} others are connected to the database", cure=cure)


@contextmanager
def filling(url: DatabaseUrl) -> Iterator[Connection]:
    """A database with this version's tables and no row; what comes is there whole or not at all.

    Raises:
        ConfigError: it is not empty, not rightly made, or cannot be opened.
        StoreError: its server cannot be reached, or its answer to COMMIT was lost.
    """
    path = sqlite_path(url)
    with _fill_server(url) if path is None else _fill_file(path) as conn:
        yield conn


@contextmanager
def _fill_server(url: DatabaseUrl) -> Iterator[Connection]:
    engine = postgresql.create_writer(url)
    shown = addresses.shown(url)
    try:
        with _opening(shown):
            conn = engine.connect()
        with conn:
            with _opening(shown):
                conn.begin()
                conn.exec_driver_sql(_PATIENT)
                conn.exec_driver_sql("SET LOCAL maintenance_work_mem = '256MB'")  # for indices
                make_tables(conn)
            yield conn
            try:
                conn.commit()
            except DBAPIError as error:
                why = postgresql.said(error).strip().partition("\n")[0]
                raise StoreError(_IN_DOUBT.format(why=why)) from None
    finally:
        engine.dispose()


@contextmanager
def _opening(shown: str) -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        refuse_if_busy(error, shown)
        raise ConfigError([f"database {shown} cannot be used: {postgresql.said(error)}"]) from None


@contextmanager
def _fill_file(path: Path) -> Iterator[Connection]:
    """A file that has its name when all of it is on the disk."""
    half = path.with_name(f"{path.name}.part")
    if path.exists():
        raise ConfigError([f"database {path} is there already; name a file that is not"])
    try:
        half.unlink(missing_ok=True)
        half.touch(mode=0o600)
    except OSError as error:
        raise ConfigError([f"database {path} cannot be made: {error.strerror}"]) from None
    engine = create_engine(f"sqlite+pysqlite:///{half}")
    try:
        with engine.connect() as conn:
            for pragma in ("synchronous=OFF", "journal_mode=OFF"):  # flushed below, once
                conn.exec_driver_sql(f"PRAGMA {pragma}")
            make_tables(conn)
            yield conn
            conn.commit()
        engine.dispose()
        _sync(half)
        half.replace(path)
        _sync(path.parent)
    except (DBAPIError, OSError) as error:
        raise StoreError(f"database {path} cannot be written: {postgresql.said(error)}") from None
    finally:
        engine.dispose()
        half.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
