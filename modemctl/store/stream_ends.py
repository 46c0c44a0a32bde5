"""SQLite and PostgreSQL as ends of a stream of rows; each is in the middle of one transaction."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import date
from functools import cache
from typing import TYPE_CHECKING, Final, TypeAlias

from sqlalchemy import (
    Boolean,
    Connection,
    Dialect,
    Integer,
    Table,
    cast,
    func,
    insert,
    inspect,
    literal_column,
    select,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.sql import ColumnElement

from modemctl.errors import InvalidRequest, StoreError
from modemctl.store.engine import driver_error
from modemctl.store.postgresql import said
from modemctl.store.streams import BLOCK, Block, stored_as, unfit
from modemctl.store.tables import metadata

if TYPE_CHECKING:
    import psycopg

    _Raw: TypeAlias = psycopg.Connection[tuple[object, ...]]

_SQLITE: Final = sqlite.dialect(paramstyle="qmark")
_VALUES: Final = re.compile(r'"[^"]*"')
_PLACE: Final = re.compile(r"COPY (\w+), line (\d+)(?:, column (\w+))?")
_INDICES: Final = (
    "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL ORDER BY name"
)
_TABLES: Final = (
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
)
_TIES: Final = """
SELECT conrelid::regclass::text, quote_ident(conname), pg_get_constraintdef(oid)
FROM pg_constraint
WHERE contype = 'f' AND connamespace = current_schema()::regnamespace ORDER BY 1, 2
"""
_PG_INDICES: Final = """
SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid)
FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
WHERE relnamespace = current_schema()::regnamespace
  AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid) ORDER BY 1
"""
_COUNTERS: Final = """
SELECT relname, attname, pg_get_serial_sequence(quote_ident(relname), attname)
FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r' AND attnum > 0
  AND pg_get_serial_sequence(quote_ident(relname), attname) IS NOT NULL ORDER BY 1
"""


class SqliteEnd:
    """An SQLite file, in a transaction of who opened it."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def tables(self) -> set[str]:
        """See `End`."""
        return {str(name) for (name,) in self._db.execute(_TABLES)}

    def count(self, table: Table) -> int:
        """See `End`."""
        text = select(func.count()).select_from(table).compile(dialect=_SQLITE)
        return int(self._db.execute(str(text)).fetchone()[0])

    def blocks(self, table: Table) -> Generator[Block, None, None]:
        """See `End`.

        Raises:
            InvalidRequest: a text that is none.
            StoreError: the file cannot be read.
        """
        try:
            with closing(self._db.execute(_selection(table, _SQLITE))) as cursor:
                while block := cursor.fetchmany(BLOCK):
                    yield block
        except sqlite3.Error as error:
            if "UTF-8" in str(error):
                cure = "modemctl audit verify may name the row; mend or remove it"
                what = f"a row of {table.name} holds a text that is none"
                raise InvalidRequest(what, cure=cure) from None
            raise StoreError(f"table {table.name} cannot be read: {said(error)}") from None

    def write(self, table: Table, blocks: Iterable[Block]) -> None:
        """See `End`.

        Raises:
            StoreError: the disk refused.
        """
        names = [column.name for column in table.columns]
        text = str(insert(table).compile(dialect=_SQLITE, column_keys=names))
        for block in blocks:
            try:
                self._db.executemany(text, block)
            except sqlite3.Error as error:
                raise StoreError(f"table {table.name} cannot be written: {error}") from None

    @contextmanager
    def loading(self) -> Iterator[None]:
        """See `End`."""
        indices = self._db.execute(_INDICES).fetchall()
        for name, _ in indices:
            self._db.execute(f'DROP INDEX "{name}"')
        yield
        for _, text in indices:
            self._db.execute(text)


class PostgresEnd:
    """A PostgreSQL database, in a transaction of who opened it."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        self._error = driver_error(conn)

    @property
    def _raw(self) -> _Raw:
        raw: _Raw | None = self._conn.connection.driver_connection
        assert raw is not None
        return raw

    def tables(self) -> set[str]:
        """See `End`."""
        return set(inspect(self._conn).get_table_names())

    def count(self, table: Table) -> int:
        """See `End`."""
        return self._conn.scalar(select(func.count()).select_from(table)) or 0

    def blocks(self, table: Table) -> Generator[Block, None, None]:
        """See `End`.

        Raises:
            StoreError: the server refused, or went away.
        """
        try:
            with self._raw.cursor("modemctl_stream") as cursor:
                cursor.itersize = BLOCK
                cursor.execute(_selection(table, self._conn.dialect).encode(), binary=True)
                while block := cursor.fetchmany(BLOCK):
                    yield block  # type: ignore[misc]  # cells as `_selection` asks for them
        except self._error as error:
            raise StoreError(f"table {table.name} cannot be read: {said(error)}") from None

    def write(self, table: Table, blocks: Iterable[Block]) -> None:
        """See `End`.

        Raises:
            InvalidRequest: PostgreSQL takes a row not: a text with a NUL, one that is too long.
            StoreError: the server refused, or went away.
        """
        quote = self._conn.dialect.identifier_preparer.quote
        names = ", ".join(quote(column.name) for column in table.columns)
        text = f"COPY {quote(table.name)} ({names}) FROM STDIN"
        try:
            with self._raw.cursor() as cursor, cursor.copy(text.encode()) as sink:
                for block in blocks:
                    try:
                        for row in block:
                            sink.write_row(row)
                    except self._error:
                        _refuse_nul(table, block)
                        raise
        except self._error as error:
            raise _refused(table, error) from None

    @contextmanager
    def loading(self) -> Iterator[None]:
        """See `End`.

        Ties are checked once for all rows: the checks of each row of a COPY stand in memory.
        """
        ties = self._asked(_TIES)
        indices = self._asked(_PG_INDICES)
        for table, name, _ in ties:
            self._do(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
        for name, _ in indices:
            self._do(f"DROP INDEX {name}")
        yield
        for _, text in indices:
            self._do(text)
        for table, name, text in ties:
            self._do(f"ALTER TABLE {table} ADD CONSTRAINT {name} {text}")
        for table, column, counter in self._asked(_COUNTERS):
            last = self._conn.scalar(select(func.max(metadata.tables[table].c[column])))
            place = (counter, last or 1, last is not None)
            self._conn.exec_driver_sql("SELECT setval(%s, %s, %s)", place)
        self._do("ANALYZE")

    def _asked(self, text: str) -> list[tuple[str, ...]]:
        return [tuple(map(str, row)) for row in self._conn.exec_driver_sql(text)]

    def _do(self, text: str) -> None:
        try:
            with self._raw.cursor() as cursor:
                cursor.execute(text.encode())
        except self._error as error:
            raise StoreError(f"the database refused: {_VALUES.sub('…', said(error))}") from None


def _refuse_nul(table: Table, block: Block) -> None:
    for row in block:
        for column, cell in zip(table.columns, row, strict=True):
            if isinstance(cell, str) and "\0" in cell:
                raise unfit(table, row, column.name, "holds a NUL, which PostgreSQL's text cannot")


def _refused(table: Table, error: Exception) -> Exception:
    """What the server says of a row, by its place and without its values."""
    context = str(getattr(getattr(error, "diag", None), "context", None) or "")
    what = _VALUES.sub("…", said(error))
    place = _PLACE.search(context)
    if place is None:
        return StoreError(f"table {table.name} cannot be written: {what}")
    column = f", column {place[3]}" if place[3] else ""
    return InvalidRequest(
        f"table {place[1]}, row {place[2]}{column}: {what}",
        cure="modemctl never wrote it so: mend or remove the row",
    )


@cache
def _selection(table: Table, dialect: Dialect) -> str:
    """A statement that gives the cells as SQLite has them: 0 or 1, a day as text."""
    is_sqlite = dialect.name == "sqlite"
    cells = [column if is_sqlite else _as_in_sqlite(column) for column in table.columns]
    return str(select(*cells).compile(dialect=dialect))


def _as_in_sqlite(column: ColumnElement[object]) -> ColumnElement[object]:
    if isinstance(column.type, Boolean):
        return cast(column, Integer)
    if stored_as(column) is date:
        return func.to_char(column, literal_column("'YYYY-MM-DD'"))
    return column
