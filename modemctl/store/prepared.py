"""Statements of the sending path: made once, then run on the driver's own cursor.

SQLAlchemy's way from a statement to its rows costs ten times what SQLite does for it, and the
sending path takes that way some thirty times for each group of messages. What it makes of a
statement is kept here: its text for the dialect, and what turns values into cells and back. The
rest is as anywhere: same connection, same transaction, same types, same errors.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from functools import partial
from typing import Final, TypeAlias, cast

from sqlalchemy import Connection, Dialect, Insert, Row, RowMapping, Table, Update, insert
from sqlalchemy.dialects import registry
from sqlalchemy.engine import result_tuple
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.dml import Delete
from sqlalchemy.sql.elements import BindParameter, TextClause
from sqlalchemy.sql.selectable import SelectBase

from modemctl.store.engine import driver_error, told
from modemctl.store.tables.schema import UtcMs

AnyRow: TypeAlias = Row[tuple[object, ...]]
Facts: TypeAlias = Mapping[str, object]

Statement: TypeAlias = SelectBase | Update | Delete | Insert | TextClause

_Process: TypeAlias = Callable[[object], object]
_Slot: TypeAlias = tuple[str | None, object, _Process | None]
"""One value that a statement takes: its name among the facts, or its own; what makes a cell."""

_NONE: Final[Facts] = {}
_TO_MS: Final = cast("_Process", UtcMs.to_cell)
_FROM_MS: Final = cast("_Process", UtcMs.from_cell)


class Prepared:
    """A query that is run often.

    Lists for `IN` hold plain values, some hundreds at a time: SQLite bounds a statement's values.
    """

    def __init__(self, statement: SelectBase) -> None:
        self._statement = statement
        self._plans: dict[str, _Plan] = {}

    def rows(self, conn: Connection, facts: Facts = _NONE) -> Sequence[AnyRow]:
        """All rows."""
        all_cells = self.cells(conn, facts)
        plan = self._plans[conn.dialect.name]
        make, reads = plan.make_row, plan.reads
        if not reads:
            return [make(cells) for cells in all_cells]
        found: list[AnyRow] = []
        for cells in all_cells:
            values = list(cells)
            for place, read in reads:
                values[place] = read(values[place])
            found.append(make(values))
        return found

    def mappings(self, conn: Connection, facts: Facts = _NONE) -> Sequence[RowMapping]:
        """All rows, by the names of their columns."""
        return [row._mapping for row in self.rows(conn, facts)]  # noqa: SLF001 - public by SQLAlchemy's word

    def column(self, conn: Connection, facts: Facts = _NONE) -> Sequence[object]:
        """The first cell of each row, as the database has it."""
        return [cells[0] for cells in self.cells(conn, facts)]

    def first(self, conn: Connection, facts: Facts = _NONE) -> AnyRow | None:
        """The first row, if any."""
        found = self.rows(conn, facts)
        return found[0] if found else None

    def cells(self, conn: Connection, facts: Facts = _NONE) -> Sequence[tuple[object, ...]]:
        """All rows as the database has them: times in milliseconds, nothing turned into ours."""
        text, values = self.spelled(conn.dialect, facts)
        cursor = conn.connection.cursor()
        try:
            cursor.execute(text, values)
            return cursor.fetchall()
        except driver_error(conn) as error:
            raise told(conn, text, error) from error
        finally:
            cursor.close()

    def spelled(self, dialect: Dialect, facts: Facts = _NONE) -> tuple[str, Sequence[object]]:
        """What a database of this kind is asked: the text, and the values for its marks."""
        plan = self._plans.get(dialect.name)
        if plan is None:
            plan = self._plans[dialect.name] = _Plan(self._statement, dialect)
        return plan.bind(facts)


class Change:
    """A change that is made often, of one row for each set of facts."""

    def __init__(
        self, statement: Update | Delete | TextClause | Insert, columns: Sequence[str] = ()
    ) -> None:
        self._statement = statement
        self._columns = list(columns) or None
        self._plans: dict[str, _Plan] = {}

    @classmethod
    def adding(cls, table: Table, *columns: str) -> Change:
        """New rows of a table; the columns that are not named have what the table says."""
        return cls(insert(table), columns)

    def run(self, conn: Connection, rows: Sequence[Facts]) -> int:
        """Make them; how many rows of the database they met."""
        if not rows:
            return 0
        plan = self._plans.get(conn.dialect.name)
        if plan is None:
            plan = _Plan(self._statement, conn.dialect, self._columns)
            self._plans[conn.dialect.name] = plan
        cursor = conn.connection.cursor()
        try:
            cursor.executemany(plan.text, [plan.cells(row) for row in rows])
            n: int = cursor.rowcount
        except driver_error(conn) as error:
            raise told(conn, plan.text, error) from error
        else:
            return n
        finally:
            cursor.close()


# ---------------------------------------------------------------- how it is made


class _Plan:
    """A statement's text for one dialect, and how values go in and come out."""

    def __init__(
        self, statement: Statement, dialect: Dialect, columns: Sequence[str] | None = None
    ) -> None:
        if not dialect.positional:
            dialect = registry.load(dialect.name)(paramstyle="format")
        compiled = statement.compile(dialect=dialect, column_keys=columns)
        assert isinstance(compiled, SQLCompiler)
        assert compiled.positiontup is not None
        self._mark: Final = "?" if dialect.paramstyle == "qmark" else "%s"
        self._parts: Final = _LIST.split(compiled.string)
        binds = [compiled.binds[name] for name in compiled.positiontup]
        self._slots: Final = [_slot(one, dialect) for one in binds]
        self._empties: Final = [_empty(one, dialect) for one in binds if one.expanding]
        self.text: Final = compiled.string  # whole where there is no list
        self._texts: dict[tuple[int, ...], str] = {}
        shown = list(statement.selected_columns) if isinstance(statement, SelectBase) else []
        self.make_row: Final = result_tuple(
            [column.key or f"column_{n}" for n, column in enumerate(shown)]
        )
        readers = (
            _FROM_MS  # without SQLAlchemy's way to it: most of what is read are times
            if isinstance(column.type, UtcMs)
            else column.type.dialect_impl(dialect).result_processor(dialect, None)
            for column in shown
        )
        self.reads: Final = [(n, read) for n, read in enumerate(readers) if read is not None]

    def cells(self, facts: Facts) -> list[object]:
        """A cell for each mark; a list is one still."""
        return [
            own if name is None else facts[name] if process is None else process(facts[name])
            for name, own, process in self._slots
        ]

    def bind(self, facts: Facts) -> tuple[str, list[object]]:
        """The text and its values in their order."""
        found = self.cells(facts)
        if not self._empties:
            return self.text, found
        values: list[object] = []
        sizes: list[int] = []
        for one in found:
            if isinstance(one, list | tuple):
                n = _size(len(one))
                values += one
                values += [one[-1]] * (n - len(one)) if one else []
                sizes.append(n)
            else:
                values.append(one)
        return self._text(tuple(sizes)), values

    def _text(self, sizes: tuple[int, ...]) -> str:
        text = self._texts.get(sizes)
        if text is None:
            lists = [
                ", ".join([self._mark] * n) if n else empty
                for n, empty in zip(sizes, self._empties, strict=True)
            ]
            pairs = zip(self._parts, [*lists, ""], strict=True)
            text = self._texts[sizes] = "".join(part for pair in pairs for part in pair)
        return text


def _slot(bind: BindParameter[object], dialect: Dialect) -> _Slot:
    process = (
        _TO_MS
        if isinstance(bind.type, UtcMs)
        else bind.type.dialect_impl(dialect).bind_processor(dialect)
    )
    if process is not None and bind.expanding:
        process = partial(_each, process)
    if bind.required:
        return bind.key, None, process
    own = bind.effective_value
    own = [_plain(one) for one in own] if isinstance(own, list | tuple) else _plain(own)
    return None, own if process is None else process(own), None


def _each(process: _Process, values: Iterable[object]) -> list[object]:
    return [process(one) for one in values]


def _plain(value: object) -> object:
    return str(value) if isinstance(value, StrEnum) else value  # the driver asks longer for those


def _empty(bind: BindParameter[object], dialect: Dialect) -> str:
    return f"SELECT CAST(NULL AS {bind.type.compile(dialect)}) WHERE 1 != 1"


def _size(n: int) -> int:
    """Lists are made longer by their last value, so that few texts serve all lengths."""
    return 1 << (n - 1).bit_length() if n else 0


_LIST: Final = re.compile(r"__\[POSTCOMPILE_[^\]]+\]")
