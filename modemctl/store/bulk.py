"""Many like values at once, without SQLAlchemy's work for each: half of a long list's."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from sqlalchemy import Column, Connection, Dialect, Table, bindparam, insert, select
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import Integer, LargeBinary, String


def insert_rows(
    conn: Connection, table: Table, names: Sequence[str], rows: Sequence[tuple[object, ...]]
) -> None:
    """Insert rows whose values stand in the order of `names`, which is the table's.

    Raises:
        TypeError: a column whose values would need a conversion.
        ValueError: another order.
    """
    if not rows:
        return
    compiled = _insertion(conn.dialect, table, tuple(names))
    if [column.name for column in table.c if column.name in names] != list(names):
        raise ValueError(f"the columns of {table.name} stand in another order")
    if compiled.positiontup is None:  # this driver takes values by name
        conn.exec_driver_sql(str(compiled), [dict(zip(names, row, strict=True)) for row in rows])
    else:
        conn.exec_driver_sql(str(compiled), rows)


def among(conn: Connection, column: Column[bytes], values: Sequence[bytes]) -> set[bytes]:
    """Those of `values` that the column holds.

    Raises:
        TypeError: a column whose values would need a conversion.
    """
    if not values:
        return set()
    compiled = _question(conn.dialect, column, len(values))
    if compiled.positiontup is None:
        named = {_place(n): value for n, value in enumerate(values)}
        return set(conn.exec_driver_sql(str(compiled), named).scalars())
    return set(conn.exec_driver_sql(str(compiled), tuple(values)).scalars())


@lru_cache(maxsize=16)
def _insertion(dialect: Dialect, table: Table, names: tuple[str, ...]) -> SQLCompiler:
    for name in names:
        _require_plain(table.c[name])
    compiled = insert(table).compile(dialect=dialect, column_keys=list(names))
    assert isinstance(compiled, SQLCompiler)
    return compiled


@lru_cache(maxsize=16)
def _question(dialect: Dialect, column: Column[bytes], n: int) -> SQLCompiler:
    _require_plain(column)
    places = [bindparam(_place(one), type_=column.type) for one in range(n)]
    compiled = select(column).where(column.in_(places)).compile(dialect=dialect)
    assert isinstance(compiled, SQLCompiler)
    return compiled


def _place(n: int) -> str:
    return f"value_{n}"


def _require_plain(column: Column[bytes]) -> None:
    if not isinstance(column.type, Integer | LargeBinary | String):
        raise TypeError(f"{column} cannot be written or asked for as it is")
