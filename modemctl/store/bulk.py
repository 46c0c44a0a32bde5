"""Many like rows at once, without SQLAlchemy's work for each value: a quarter of a long list's."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, Table, insert
from sqlalchemy.types import Integer, LargeBinary, String


def insert_rows(
    conn: Connection, table: Table, names: Sequence[str], rows: Sequence[tuple[object, ...]]
) -> None:
    """Insert rows whose values stand in the order of `names`.

    Raises:
        TypeError: a column whose values would need a conversion.
    """
    if not rows:
        return
    for name in names:
        if not isinstance(table.c[name].type, Integer | LargeBinary | String):
            raise TypeError(f"{table.name}.{name} cannot be inserted as it is")
    compiled = insert(table).compile(dialect=conn.dialect, column_keys=list(names))
    if compiled.positiontup is None:
        conn.exec_driver_sql(str(compiled), [dict(zip(names, row, strict=True)) for row in rows])
        return
    places = [names.index(name) for name in compiled.positiontup]
    conn.exec_driver_sql(str(compiled), [tuple(row[place] for place in places) for row in rows])
