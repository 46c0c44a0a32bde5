"""Opening the database: engines, pragmas, the schema check."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from sqlalchemy import (
    Connection,
    Engine,
    ExceptionContext,
    create_engine,
    event,
    inspect,
    make_url,
)
from sqlalchemy.exc import DBAPIError, NoResultFound, SQLAlchemyError, StatementError
from sqlalchemy.pool import ConnectionPoolEntry

from modemctl.errors import ConfigError, ModemctlError, StoreError, TamperedError
from modemctl.store import addresses, copied, postgresql
from modemctl.store.keys import opens
from modemctl.store.postgresql import DatabaseUrl
from modemctl.store.seats import Seat

SCHEMA_REVISION: Final = "0043"
"""The Alembic head that this code speaks (a test compares)."""

_lenient_text: Final = partial(str, encoding="utf-8", errors="replace")
_WAL_PATIENCE: Final = 0.2  # seconds: who waits for readers keeps the writer waiting


def create_engines(
    url: DatabaseUrl, *, n_readers: int, seat: Seat | None = None
) -> tuple[Engine, Engine]:
    """The writer's engine and the readers' (query only).

    `seat` is the daemon's on PostgreSQL; SQLite's daemon is alone by the lock of its state folder.

    Raises:
        ConfigError: the database needs a driver that is not installed.
    """
    if make_url(url).get_backend_name() == "postgresql":
        return postgresql.create_engines(url, n_readers=n_readers, seat=seat)
    writer = create_engine(url, pool_size=1, max_overflow=0, hide_parameters=True)
    reader = create_engine(url, pool_size=n_readers, max_overflow=0, hide_parameters=True)
    if writer.dialect.name == "sqlite":
        _tune_sqlite(writer, begin="BEGIN IMMEDIATE", query_only=False, cache_kib=8_000)
        # Each reader has a cache of its own; behind all of them is the system's.
        _tune_sqlite(reader, begin="BEGIN", query_only=True, cache_kib=2_000)
    return writer, reader


def require_schema(engine: Engine, *, key_check: str, copied_too: bool = False) -> None:
    """Refuse a database that is not ours, not of this version, of another key, or was moved away.

    `copied_too`: one that was copied elsewhere is taken, too.

    Raises:
        ConfigError: with the cure.
        StoreError: another program holds the database; later it may be free.
    """
    shown = addresses.shown(engine.url)
    try:
        with engine.connect() as conn:
            revision = _revision(conn)
            if revision == SCHEMA_REVISION:
                postgresql.require_byte_order(conn)
                require_key(conn, key_check)
                if not copied_too:
                    copied.require_unmarked(conn, shown)
                return
            tables = inspect(conn).get_table_names()
    except DBAPIError as error:
        refuse_if_busy(error, shown)
        raise ConfigError(
            [f"database {shown} cannot be opened: {postgresql.said(error)}"]
        ) from None
    if not tables:
        raise ConfigError([f"database {shown} is empty; run: modemctl db upgrade"])
    if revision is None:
        raise ConfigError(
            [f"database {shown} holds tables that are not modemctl's; name another one"]
        )
    raise ConfigError(
        [
            f"database {shown} has schema {revision}, this version needs {SCHEMA_REVISION};"
            " run: modemctl db upgrade (or the newer modemctl)"
        ]
    )


@contextmanager
def readable(url: DatabaseUrl) -> Iterator[None]:
    """A block in which a database that cannot be read is a fault of the configuration.

    Raises:
        ConfigError: with the cure.
        StoreError: another program holds the database; later it may be free.
    """
    try:
        yield
    except DBAPIError as error:
        shown = addresses.shown(url)
        refuse_if_busy(error, shown)
        why, cure = postgresql.said(error), "restore a copy of it"
        raise ConfigError([f"database {shown} cannot be read: {why}; {cure}"]) from None


UNREADABLE: Final = (
    ModemctlError,
    TypeError,
    ValueError,
    LookupError,
    AttributeError,
    OverflowError,
    AssertionError,
)
"""What comes of cells that hold something else than modemctl ever writes."""
UNREAD: Final = "a row of it holds what modemctl never wrote; modemctl audit verify names it"
"""Why a batch is held, or a message refused, that has such a cell."""


@contextmanager
def readable_cells() -> Iterator[None]:
    """A block in which a cell of another kind is a row that modemctl did not write.

    Raises:
        TamperedError: SQLite found octets in a text that are no UTF-8; a row is not found under
            its own key; what one row names is of no kind that another's key can be.
    """
    try:
        yield
    except DBAPIError as error:
        if "UTF-8" not in str(error.orig):
            raise
        raise TamperedError("a cell holds a text that is none") from error
    except (NoResultFound, StatementError) as error:
        raise TamperedError("a cell holds what no key is") from error


def read_leniently(conn: Connection, error: BaseException) -> None:
    """Octets that are no UTF-8 are met once: from then on they read as U+FFFD, no MAC fits."""
    if conn.dialect.name == "sqlite" and "UTF-8" in str(error):
        opened = conn.connection.dbapi_connection
        setattr(opened, "text_factory", _lenient_text)  # noqa: B010 - SQLite's own


def driver_error(conn: Connection) -> type[Exception]:
    """What the driver raises."""
    assert conn.dialect.dbapi is not None
    return conn.dialect.dbapi.Error


def told(conn: Connection, text: str, error: Exception) -> BaseException:
    """An error of the driver as SQLAlchemy tells it: of its kind, without the values."""
    read_leniently(conn, error)
    return DBAPIError.instance(
        text, None, error, driver_error(conn), hide_parameters=True, dialect=conn.dialect
    )


def command(conn: Connection, text: str) -> None:
    """Run a statement that takes and gives nothing, on the driver's own cursor.

    Raises:
        SQLAlchemyError: the database refused.
    """
    cursor = conn.connection.cursor()
    try:
        cursor.execute(text)
    except driver_error(conn) as error:
        raise told(conn, text, error) from error
    finally:
        cursor.close()


@contextmanager
def savepoint(conn: Connection) -> Iterator[None]:
    """As `begin_nested`, without compiling a statement with a new name each time."""
    command(conn, "SAVEPOINT act")
    try:
        yield
    except BaseException as error:
        try:
            command(conn, "ROLLBACK TO SAVEPOINT act")
        except SQLAlchemyError:
            raise error from None  # a full disk: SQLite took all back by itself, and said why
        raise
    command(conn, "RELEASE SAVEPOINT act")


def refuse_if_busy(error: DBAPIError, shown: str) -> None:
    """Tell a database that may be there later from one that is wrong.

    Raises:
        StoreError: another program holds it, or its server cannot be reached now.
    """
    if is_busy(error):
        raise StoreError(f"database {shown} is held by another program") from None
    if postgresql.is_away(error):
        why = postgresql.said(error).strip().splitlines()[0].removeprefix("connection failed: ")
        cure = addresses.cure(why)
        raise StoreError(f"database {shown} cannot be reached now: {why}; {cure}") from None


def n_changes(conn: Connection) -> int | None:
    """Rows that this connection ever changed, where the driver counts them."""
    n: int | None = getattr(conn.connection.dbapi_connection, "total_changes", None)
    return n


def is_busy(error: DBAPIError) -> bool:
    """Whether another program holds the SQLite database: waiting helps, no change of settings."""
    code = getattr(error.orig, "sqlite_errorcode", 0)
    return code & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def sqlite_path(url: DatabaseUrl) -> Path | None:
    """The database file behind an SQLite URL; None for other databases."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        return None
    return Path(parsed.database)


def drop_wal(url: DatabaseUrl) -> bool:
    """Bring the write-ahead log into the SQLite file and cut it to nothing, if nobody reads.

    Pages of before stand in it until then, also of rows that were deleted since. True where
    nothing is left of them; other databases see to it themselves.
    """
    path = sqlite_path(url)
    if path is None:
        return True
    with closing(sqlite3.connect(path, timeout=_WAL_PATIENCE)) as connection:
        try:
            is_busy_now, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.OperationalError:
            return False  # somebody reads or writes: another time
    return not is_busy_now


def _revision(conn: Connection) -> str | None:
    if not inspect(conn).has_table("alembic_version"):
        return None
    row = conn.exec_driver_sql("SELECT version_num FROM alembic_version").first()
    return None if row is None else str(row[0])


def require_key(conn: Connection, key_check: str) -> None:
    """Refuse a master key that does not open this database.

    Raises:
        ConfigError: with the cure.
    """
    if not opens(conn, key_check):
        raise ConfigError(
            ["the master key is not the one this database was made with; restore the right file"]
        )


def _tune_sqlite(engine: Engine, *, begin: str, query_only: bool, cache_kib: int) -> None:
    @event.listens_for(engine, "connect")
    def on_connect(connection: sqlite3.Connection, record: ConnectionPoolEntry) -> None:
        del record
        connection.isolation_level = None  # our own BEGIN, below
        cursor = connection.cursor()
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            "secure_delete=ON",  # what was deleted or replaced is overwritten (SEC-08)
            "busy_timeout=5000",
            "temp_store=MEMORY",
            f"cache_size=-{cache_kib}",
            f"query_only={'ON' if query_only else 'OFF'}",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "handle_error")
    def on_error(context: ExceptionContext) -> None:
        """What a driver says, before SQLAlchemy tells it."""
        if context.connection is not None:
            read_leniently(context.connection, context.original_exception)

    @event.listens_for(engine, "begin")
    def on_begin(conn: Connection) -> None:
        command(conn, begin)
