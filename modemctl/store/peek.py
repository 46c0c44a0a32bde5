"""A look at the database without a trace: no file is made, nothing is written, no lock is taken.

For `modemctl doctor`, which runs beside the daemon, without it, and as root.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final
from urllib.parse import quote

from sqlalchemy import Connection, create_engine, func, inspect, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

from modemctl.clock import Clock
from modemctl.errors import StoreError
from modemctl.policy.records import RecordClass
from modemctl.store import copied
from modemctl.store.card_locks import LockRow, find
from modemctl.store.emergencies import unreviewed
from modemctl.store.engine import create_engines
from modemctl.store.postgresql import DatabaseUrl, require_byte_order, said
from modemctl.store.purges import has_old
from modemctl.store.seats import Holder, living
from modemctl.store.tables import legal_hold, meta, pin_import, purge_run, sim, webhook

_WAL: Final = 2  # octets 18 and 19 of the file: 1 roll-back journal, 2 write-ahead log
_STEPS: Final = 20_000  # of SQLite's machine between two looks at the clock
_FAULTS: Final = 5  # that are told: one is enough to restore a copy
_SERVER: Final = (
    "SELECT current_setting('server_version') AS version,"
    " pg_database_size(current_database()) AS size"
)
_NO_PIN: Final = "none"
_NO_CUTOFFS: Final[Mapping[RecordClass, datetime]] = {}
LOCKS_MAX: Final = 100_000
"""Cards whose locks are read at most."""
EMERGENCIES_MAX: Final = 100
"""Emergencies that are counted at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PinCensus:
    """Cards by the state of their PIN (`none`: the vault has none), and imports that stopped."""

    cards: Mapping[str, int]
    n_waiting: int
    """Cards of stopped imports whose PIN is unproved: the guard tries none of them."""
    stopped: Sequence[str]
    """Why each stopped import stopped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """What a database shows of itself. `pins` is None where it has not our tables."""

    revision: str | None
    is_wal: bool
    faults: Sequence[str]
    is_read_whole: bool
    """False where `patience` ended the check of its pages."""
    key_check: str | None
    key_next: str | None
    """Of the master key that is to come; either opens the database until then."""
    site_id: str | None
    is_copied: bool
    """Whether it was copied elsewhere: no daemon starts on it."""
    pins: PinCensus | None
    locks: Sequence[LockRow] | None
    """Cards in use or in a bay, up to `LOCKS_MAX`."""
    n_holds: int | None
    """Legal holds that nobody lifted; None where the database knows none yet."""
    purged_at: datetime | None
    """When the last purge ended; one that goes on, or a first that never came, is None."""
    has_old: bool
    """Whether anything was kept for longer than `cutoffs` say."""
    n_emergencies: int
    """Batches that were let go before their chain has signed, up to `EMERGENCIES_MAX`."""
    n_webhooks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFacts:
    """What PostgreSQL tells of itself, and the daemons that work on the database now."""

    version: str
    n_octets: int
    daemons: Sequence[Holder]


def peek(
    path: Path,
    *,
    is_in_use: bool,
    clock: Clock,
    patience: float,
    cutoffs: Mapping[RecordClass, datetime] = _NO_CUTOFFS,
) -> Condition:
    """Look at a database; `is_in_use`: a daemon has it open. `patience` limits the page check.

    `cutoffs`: what is older has been kept long enough.

    Raises:
        StoreError: it cannot be opened or read, or its log has no index yet.
    """
    try:
        with path.open("rb") as file:
            head = file.read(20)
        is_wal = len(head) == 20 and head[18] == _WAL and head[19] == _WAL
        with _opened(path, _how(path, is_in_use=is_in_use)) as (raw, conn):
            faults = _check_pages(raw, clock, clock.monotonic() + patience)
            return _condition(conn, cutoffs, is_wal=is_wal, faults=faults)
    except DBAPIError as error:
        raise StoreError(str(error.orig)) from None
    except sqlite3.Error as error:
        raise StoreError(str(error)) from None
    except OSError as error:
        raise StoreError(error.strerror or str(error)) from None


def peek_server(
    url: DatabaseUrl, *, cutoffs: Mapping[RecordClass, datetime] = _NO_CUTOFFS
) -> tuple[Condition, ServerFacts]:
    """Look at a database on PostgreSQL in one snapshot, and at who works on it.

    Raises:
        ConfigError: the driver is missing, or the database orders text otherwise than we need.
        StoreError: the server lets nobody in, or cannot be reached.
    """
    writer, reader = create_engines(url, n_readers=1)
    try:
        with reader.begin() as conn:
            require_byte_order(conn)
            row = conn.exec_driver_sql(_SERVER).one()
            facts = ServerFacts(version=row.version, n_octets=row.size, daemons=living(conn))
            return _condition(conn, cutoffs, is_wal=True, faults=()), facts
    except DBAPIError as error:
        raise StoreError(said(error)) from None
    finally:
        writer.dispose()
        reader.dispose()


def _condition(
    conn: Connection,
    cutoffs: Mapping[RecordClass, datetime],
    *,
    is_wal: bool,
    faults: Sequence[str] | None,
) -> Condition:
    tables = set(inspect(conn).get_table_names())
    words = _meta(conn) if "meta" in tables else {}
    return Condition(
        revision=_revision(conn) if "alembic_version" in tables else None,
        is_wal=is_wal,
        faults=faults or (),
        is_read_whole=faults is not None,
        key_check=words.get("key_check"),
        key_next=words.get("key_next"),
        site_id=words.get("site_id"),
        is_copied=copied.KEY in words,
        pins=_pins(conn) if {"sim", "pin_import"} <= tables else None,
        locks=find(conn, limit=LOCKS_MAX) if "card_lock" in tables else None,
        n_holds=_holds(conn) if "legal_hold" in tables else None,
        purged_at=_purged_at(conn) if "purge_run" in tables else None,
        has_old="purge_run" in tables and has_old(conn, cutoffs),
        n_emergencies=_emergencies(conn) if "audit_entry" in tables else 0,
        n_webhooks=_webhooks(conn) if "webhook" in tables else 0,
    )


def _how(path: Path, *, is_in_use: bool) -> str:
    """How to open it so that SQLite makes no file beside it.

    A log without its index (`-shm`) would be given one. Without a log and without a daemon nobody
    writes: `immutable` then spares even the locks.
    """
    log, index = (path.with_name(path.name + end) for end in ("-wal", "-shm"))
    if is_in_use:
        return "mode=ro"
    if not log.exists() or log.stat().st_size == 0:
        return "mode=ro&immutable=1"
    if not index.exists():
        raise StoreError("its log waits to be read in; the daemon's next start does that")
    return "mode=ro&readonly_shm=1"


@contextmanager
def _opened(path: Path, how: str) -> Iterator[tuple[sqlite3.Connection, Connection]]:
    """The same connection as the driver and as SQLAlchemy know it."""
    address = f"file:{quote(str(path))}?{how}"
    with closing(sqlite3.connect(address, uri=True, isolation_level=None, timeout=5.0)) as raw:
        engine = create_engine("sqlite+pysqlite://", creator=lambda: raw, poolclass=StaticPool)
        try:
            with engine.connect() as conn:
                yield raw, conn
        finally:
            engine.dispose()


def _check_pages(raw: sqlite3.Connection, clock: Clock, deadline: float) -> Sequence[str] | None:
    """What `PRAGMA quick_check` finds; None where the deadline came first."""
    late: list[bool] = []

    def look() -> int:
        if clock.monotonic() >= deadline:
            late.append(True)
        return len(late)

    raw.set_progress_handler(look, _STEPS)
    try:
        rows = raw.execute(f"PRAGMA quick_check({_FAULTS})").fetchall()
    except sqlite3.OperationalError:
        if not late:
            raise
        return None
    finally:
        raw.set_progress_handler(None, 0)
    return [line for (text,) in rows for line in str(text).splitlines() if line != "ok"]


def _revision(conn: Connection) -> str | None:
    row = conn.exec_driver_sql("SELECT version_num FROM alembic_version").first()
    return None if row is None else str(row[0])


def _emergencies(conn: Connection) -> int:
    return len(unreviewed(conn, limit=EMERGENCIES_MAX))


def _holds(conn: Connection) -> int:
    is_there = legal_hold.c.lifted_at.is_(None)
    return conn.scalar(select(func.count()).select_from(legal_hold).where(is_there)) or 0


def _webhooks(conn: Connection) -> int:
    return conn.scalar(select(func.count()).select_from(webhook)) or 0


def _purged_at(conn: Connection) -> datetime | None:
    latest = select(purge_run.c.finished_at).order_by(purge_run.c.started_at.desc())
    return conn.scalar(latest.limit(1))


def _meta(conn: Connection) -> Mapping[str, str]:
    return {row.key: row.value for row in conn.execute(select(meta.c.key, meta.c.value))}


def _pins(conn: Connection) -> PinCensus:
    has_none = sim.c.pin_enc.is_(None) & sim.c.pin_pending_enc.is_(None)
    with_pin = conn.execute(
        select(sim.c.pin_state, func.count()).where(~has_none).group_by(sim.c.pin_state)
    )
    cards = {str(state): int(n) for state, n in with_pin}
    n_none = conn.scalar(select(func.count()).select_from(sim).where(has_none)) or 0
    stopped = conn.execute(
        select(pin_import.c.import_id, pin_import.c.stopped_reason)
        .where(pin_import.c.stopped_at.is_not(None))
        .order_by(pin_import.c.created_at)
    ).all()
    n_waiting = conn.scalar(
        select(func.count())
        .select_from(sim)
        .where(
            sim.c.pin_import_id.in_([row.import_id for row in stopped]),
            sim.c.pin_state == "unproved",
        )
    )
    return PinCensus(
        cards=cards | ({_NO_PIN: n_none} if n_none else {}),
        n_waiting=n_waiting or 0,
        stopped=[row.stopped_reason or "no reason noted" for row in stopped],
    )
