"""PostgreSQL's own: how its sessions are set, and one writer at a time over all nodes.

A write takes one lock of the database before anything else and keeps it until COMMIT, as SQLite's
BEGIN IMMEDIATE does: what a transaction has read is still so when it writes. Reads are snapshots
and wait for nobody. ADR 0014 names what leans on it.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, TypeAlias

from sqlalchemy import URL, Connection, Dialect, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError, StatementError
from sqlalchemy.pool import ConnectionPoolEntry

from modemctl.errors import ConfigError
from modemctl.store.addresses import require_sound
from modemctl.store.seats import Seat

if TYPE_CHECKING:
    from psycopg.abc import ConnParam

    from modemctl.store.links import Link

_log = logging.getLogger(__name__)

DatabaseUrl: TypeAlias = str | URL
"""Where a database is, as SQLAlchemy writes it; a `URL` hides its password where it is shown."""

DRIVER: Final = "psycopg"
_WRITERS_LOCK: Final = 0x6D6F_6465_6D63_746C  # the octets of "modemctl"
_TAKE_LOCK: Final = f"SELECT pg_advisory_xact_lock({_WRITERS_LOCK})"
_SILENCE_MAX: Final = 10.0  # seconds for which who holds it may say nothing
_IS_HELD: Final = "55P03"

_SOCKET: Final[Mapping[str, int | str]] = {
    "client_encoding": "utf8",
    "connect_timeout": 5,  # seconds
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,  # milliseconds: a server that vanished is noticed
}
_TITLE: Final = "modemctl"
_WRITERS_PATIENCE: Final = 15.0  # seconds without an answer to one statement, COMMIT among them
_READERS_PATIENCE: Final = 60.0  # some read much
_ALIVE: Final[Mapping[str, str]] = {  # the server's side of the same
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "10s",
}
_PATIENCE: Final[Mapping[str, str]] = {
    "lock_timeout": "5s",  # as SQLite's busy_timeout
    # A node that was cut off in the middle of a write gives the lock back so soon.
    "idle_in_transaction_session_timeout": f"{_SILENCE_MAX:.0f}s",
    **_ALIVE,
}
_WRITES: Final[Mapping[str, str]] = {
    "synchronous_commit": "on",
    # Whatever the server's defaults are: who waited for the lock sees what was committed meanwhile.
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
}
_READS: Final[Mapping[str, str]] = {
    "default_transaction_isolation": "repeatable read",  # one snapshot a read
    "default_transaction_read_only": "on",
}

_AGAIN: Final = frozenset({"40001", "40P01"})  # serialization failure, deadlock
_BUSY: Final = frozenset({"25P03", "53300", _IS_HELD})  # of those below: it is there
_AWAY: Final = frozenset(
    {
        "25P03",  # our transaction was idle for too long
        "53300",  # too many connections
        _IS_HELD,  # the lock
        "57P01",  # the server stops
        "57P02",
        "57P03",  # or starts
        "57P05",
    }
)
_BYTE_ORDER: Final = frozenset({"C", "POSIX", "C.UTF-8", "C.utf8", "PG_C_UTF8"})


def create_engines(
    url: DatabaseUrl, *, n_readers: int, seat: Seat | None = None
) -> tuple[Engine, Engine]:
    """The writer's engine and the readers' (query only); a daemon's writer takes its `seat`.

    Raises:
        ConfigError: the driver is not installed.
    """
    # a read is not made twice by itself
    reader = _engine(url, n_readers, is_asked_first=True, patience=_READERS_PATIENCE)
    _set_sessions(reader, {**_PATIENCE, **_READS})
    return create_writer(url, seat=seat, patience=_WRITERS_PATIENCE), reader


def create_writer(
    url: DatabaseUrl, *, seat: Seat | None = None, patience: float | None = None
) -> Engine:
    """An engine each of whose transactions is the only one that writes, on whatever node.

    `patience` (s) is how long the server may take for a statement; None: as long as it likes.

    Raises:
        ConfigError: the driver is not installed.
    """
    engine = _engine(url, 1, patience=patience, title=_TITLE if seat is None else seat.title)
    _set_sessions(engine, {**_PATIENCE, **_WRITES})

    @event.listens_for(engine, "begin")
    def take_locks(conn: Connection) -> None:
        if seat is not None:
            seat.take(conn)
        try:
            conn.exec_driver_sql(_TAKE_LOCK)
        except DBAPIError as error:
            if sqlstate(error) == _IS_HELD:
                _end_silent_holder(conn)
            raise

    return engine


def _end_silent_holder(conn: Connection) -> None:
    """End the session that holds the writers' lock where its process stands still.

    The server's own limit of idleness misses one that fell silent behind a Flush, with which the
    driver ends each `executemany`: its timer runs from a Sync to the next message of any kind.
    """
    lock = {"classid": _WRITERS_LOCK >> 32, "objid": _WRITERS_LOCK & 0xFFFF_FFFF}
    try:
        conn.connection.rollback()
        cursor = conn.connection.cursor()
        cursor.execute(_END_SILENT, {**lock, "silence": _SILENCE_MAX})
        ended = cursor.fetchall()
        conn.connection.commit()
    except conn.dialect.loaded_dbapi.Error as error:
        _log.warning("lock.holder_not_ended", extra={"error": said(error)})
        return
    for [title] in ended:
        _log.warning("lock.holder_ended", extra={"holder": title})


def address(url: URL, *, title: str) -> tuple[str, dict[str, str | int]]:
    """What the driver itself connects with, as the engines do: its words, and options.

    `title` is what the server calls the session.
    """
    words, options = url.get_dialect()().create_connect_args(url)
    kept = " ".join(f"-c {name}={value}" for name, value in _ALIVE.items())
    given = {**options, **_SOCKET, "application_name": title, "options": kept}
    return "".join(words), given


def require_driver() -> None:
    """Refuse to speak to PostgreSQL without its driver.

    Raises:
        ConfigError: with the cure.
    """
    if importlib.util.find_spec(DRIVER) is None:
        cure = "run: pip install 'modemctl[postgres]' in its environment, or use SQLite"
        raise ConfigError([f"PostgreSQL needs the driver {DRIVER}, which is not installed; {cure}"])


def require_byte_order(conn: Connection) -> None:
    """Refuse a database that orders or holds text otherwise than by its octets.

    Pages go by the order of names, digests by the order of rows: it has to be the same everywhere.

    Raises:
        ConfigError: with the cure.
    """
    if conn.dialect.name != "postgresql":
        return
    found = conn.exec_driver_sql(_ORDER).one()
    if found.encoding == "UTF8" and found.locale in _BYTE_ORDER:
        return
    url = conn.engine.url
    cure = (
        "that cannot be changed: drop it if it is empty, or name another one, and"
        f" make it with: CREATE DATABASE {url.database} OWNER {url.username} TEMPLATE template0"
        " ENCODING 'UTF8' LOCALE 'C.UTF-8'"
    )
    raise ConfigError(
        [f"the database orders text by {found.locale} in {found.encoding}, not by octets; {cure}"]
    )


def is_away(error: DBAPIError) -> bool:
    """Whether the server cannot be reached or lets nobody in now: it may be back by itself."""
    state = sqlstate(error)
    if state is None:
        return type(error.orig).__module__.partition(".")[0] == DRIVER
    return state in _AWAY or state.startswith("08")


def is_gone(error: SQLAlchemyError) -> bool:
    """Whether the connection was lost, or none could be made: each try takes its time."""
    return isinstance(error, DBAPIError) and is_away(error) and sqlstate(error) not in _BUSY


def is_passing(error: DBAPIError) -> bool:
    """Whether the same transaction may go through when tried again at once."""
    return sqlstate(error) in _AGAIN


def sqlstate(error: DBAPIError) -> str | None:
    """What the server says it is; None where the server said nothing."""
    state = getattr(error.orig, "sqlstate", None)
    return state if isinstance(state, str) else None


def said(error: BaseException) -> str:
    """What a driver's error says, without values.

    PostgreSQL tells a row in the detail of some, SQLite a cell that is no text, SQLAlchemy what it
    could not give to the driver.
    """
    if isinstance(error, StatementError) and not isinstance(error, DBAPIError):
        return f"a value that no statement takes ({type(error.orig).__name__})"
    origin = error.orig if isinstance(error, DBAPIError) else error
    primary = getattr(getattr(origin, "diag", None), "message_primary", None)
    if isinstance(primary, str):
        return primary
    return str(origin).partition(" with text ")[0].strip().partition("\n")[0]


def _engine(
    url: DatabaseUrl,
    size: int,
    *,
    patience: float | None,
    is_asked_first: bool = False,
    title: str = _TITLE,
) -> Engine:
    require_driver()
    require_sound(url)
    engine = create_engine(
        url,
        pool_size=size,
        max_overflow=0,
        pool_pre_ping=is_asked_first,
        hide_parameters=True,
        connect_args={**_SOCKET, "application_name": title},
    )
    if patience is not None:
        _be_impatient(engine, patience)
    return engine


def _be_impatient(engine: Engine, patience: float) -> None:
    from modemctl.store.links import link  # the driver is no part of every installation

    @event.listens_for(engine, "do_connect")
    def connect(
        dialect: Dialect,
        record: ConnectionPoolEntry,
        words: list[str],
        options: dict[str, ConnParam],
    ) -> Link:
        del dialect, record
        return link(patience, "".join(words), options)


def _set_sessions(engine: Engine, settings: Mapping[str, str]) -> None:
    text = "SELECT " + ", ".join(["set_config(%s, %s, false)"] * len(settings))
    values = [one for pair in settings.items() for one in pair]

    @event.listens_for(engine, "connect")
    def on_connect(connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
        del record
        cursor = connection.cursor()
        cursor.execute(text, values)
        cursor.close()
        connection.commit()


_END_SILENT: Final = (
    "WITH silent AS MATERIALIZED ("  # none is ended before all is known of it
    "SELECT held.pid, held.application_name"
    " FROM pg_locks AS l JOIN pg_stat_activity AS held USING (pid)"
    " WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1"
    " AND l.classid = %(classid)s::oid AND l.objid = %(objid)s::oid"
    " AND held.datname = current_database() AND held.wait_event_type = 'Client'"
    " AND held.query NOT ILIKE 'COPY%%'"  # what is copied comes for long in one statement
    " AND held.state_change < clock_timestamp() - make_interval(secs => %(silence)s)"
    ") SELECT application_name FROM silent WHERE pg_terminate_backend(pid)"
)
_ORDER: Final = (
    "SELECT pg_encoding_to_char(encoding) AS encoding,"
    # the column of another provider's locale has a name for each version
    " COALESCE(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale', datcollate) AS locale"
    " FROM pg_database AS d WHERE datname = current_database()"
)
