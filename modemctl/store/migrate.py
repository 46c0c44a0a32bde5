"""Bringing a database to this version's schema; a copy is kept first."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Column, Connection, create_engine, delete, insert, inspect, make_url
from sqlalchemy.exc import DBAPIError

from modemctl.errors import ConfigError
from modemctl.store import addresses, postgresql, seats
from modemctl.store.card_reseal import seal_cards
from modemctl.store.departments import adopt
from modemctl.store.engine import (
    SCHEMA_REVISION,
    refuse_if_busy,
    require_key,
    sqlite_path,
)
from modemctl.store.evidence import seal_states
from modemctl.store.keys import seed, unlock
from modemctl.store.postgresql import DatabaseUrl
from modemctl.store.steady import seal_anchors
from modemctl.store.stop_book import seal_first
from modemctl.store.tables import batch, data_key, department, meta, metadata, sim, stop_seal
from modemctl.store.wishes import bind_bodies
from modemctl.vault import Vault


def alembic_config() -> Config:
    """Alembic's settings; the scripts lie in this package."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def upgrade(url: DatabaseUrl, *, vault: Vault, site_id: str, now: datetime) -> Path | None:
    """Create or upgrade the schema; returns the copy that was made first, if any.

    Raises:
        ConfigError: the database cannot be opened or is not ours, or a daemon works on it.
        StoreError: its server cannot be reached now.
    """
    path = sqlite_path(url)
    copy = None if path is None else _copy(path, now)
    if path is not None:
        _make_private(path)
    with _connection(url) as connection:
        tables = set(inspect(connection).get_table_names())
        if tables and "alembic_version" not in tables:
            shown = addresses.shown(url)
            raise ConfigError([f"database {shown} holds tables that are not modemctl's"])
        config = alembic_config()
        config.attributes["connection"] = connection
        once = (  # what is done when a database comes to have these
            (_has(connection, batch.c.state_mac), partial(seal_states, connection, vault)),
            (_is_since(connection, "0013"), partial(seal_anchors, connection, vault)),
            (_is_since(connection, "0033"), partial(bind_bodies, connection, vault, now=now)),
            (_has(connection, sim.c.revision), partial(seal_cards, connection, vault)),
            (
                inspect(connection).has_table(department.name),
                partial(adopt, connection, vault, now=now),
            ),
        )
        had_stops = inspect(connection).has_table(stop_seal.name)
        had_keys = inspect(connection).has_table(data_key.name)
        command.upgrade(config, SCHEMA_REVISION)
        if not tables:
            connection.execute(
                insert(meta),
                [
                    {"key": "key_check", "value": vault.check_value},
                    {"key": "site_id", "value": site_id},
                ],
            )
        require_key(connection, vault.check_value)  # before anything is sealed with it
        if not had_keys:
            seed(connection, vault, is_new=not tables, now=now)
        unlock(connection, vault)
        if not had_stops:  # one without its seal later is a forgery
            seal_first(connection, vault)
        for was_done, act in once:
            if tables and not was_done:
                act()
    return copy


def make_tables(connection: Connection) -> None:
    """Make this version's tables, without any row, in a database that has none.

    Raises:
        ConfigError: it has some, or does not order text by its octets.
    """
    shown = addresses.shown(connection.engine.url)
    if inspect(connection).get_table_names():
        raise ConfigError([f"database {shown} is not empty; name one without tables"])
    postgresql.require_byte_order(connection)
    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, SCHEMA_REVISION)
    for table in reversed(metadata.sorted_tables):
        connection.execute(delete(table))


@contextmanager
def _connection(url: DatabaseUrl) -> Iterator[Connection]:
    """A transaction that no other program writes beside."""
    is_postgresql = make_url(url).get_backend_name() == "postgresql"
    engine = postgresql.create_writer(url) if is_postgresql else create_engine(url)
    try:
        with engine.begin() as connection:
            postgresql.require_byte_order(connection)
            if is_postgresql:
                _require_quiet(connection)
            yield connection
    except DBAPIError as error:
        if sqlite_path(url) is None:
            refuse_if_busy(error, addresses.shown(url))
        why = postgresql.said(error)
        raise ConfigError([f"database {addresses.shown(url)} cannot be opened: {why}"]) from None
    finally:
        engine.dispose()


def _require_quiet(connection: Connection) -> None:
    """Refuse to change the schema under a daemon.

    Raises:
        ConfigError: one works on the database.
    """
    if not seats.keep_out(connection):
        found = [f"node {one.node_id} of {one.place}" for one in seats.living(connection)]
        who = ", ".join(found) or "another upgrade"
        shown = addresses.shown(connection.engine.url)
        raise ConfigError([f"database {shown} is in use by {who}; stop it first"])


def _has(connection: Connection, column: Column[bytes] | Column[int]) -> bool:
    """Whether a column is there already: rows that its seal does not fit then were altered."""
    inspector = inspect(connection)
    return inspector.has_table(column.table.name) and column.name in {
        one["name"] for one in inspector.get_columns(column.table.name)
    }


def _is_since(connection: Connection, revision: str) -> bool:
    """Whether a database is of this revision or a later one, or new."""
    if not inspect(connection).has_table("alembic_version"):
        return True
    known = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return known is not None and str(known) >= revision


def _make_private(path: Path) -> None:
    """Nobody else reads the database; SQLite gives its other files the same mode."""
    try:
        path.touch(mode=0o600)
        path.chmod(0o600)  # one that stood there, too
    except OSError as error:
        raise ConfigError([f"database {path} cannot be made: {error.strerror}"]) from None


def _copy(path: Path, now: datetime) -> Path | None:
    if not path.exists() or path.stat().st_size == 0:
        return None
    target = path.with_name(f"{path.name}.{now:%Y%m%dT%H%M%SZ}.bak")
    _make_private(target)  # before anything stands in it
    try:
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(target)) as sink:
            source.backup(sink)
    except sqlite3.DatabaseError as error:
        target.unlink(missing_ok=True)
        raise ConfigError([f"database {path} cannot be opened: {error}"]) from None
    return target
