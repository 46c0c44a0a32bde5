"""All rows of a database, streamed out of one and into another, exactly as they are.

Rows go as the drivers give them, in blocks: memory stays bounded whatever the tables hold. A
table's fingerprint says whether both hold the same, in whatever order they give it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Final, Protocol, TypeAlias

import msgspec
from sqlalchemy import Table
from sqlalchemy.sql import ColumnElement
from sqlalchemy.types import TypeDecorator

from modemctl.errors import InvalidRequest, StoreError
from modemctl.store.tables import metadata

BLOCK: Final = 1_000
"""Rows that are in memory at a time."""

Cell: TypeAlias = int | str | bytes | None
Row: TypeAlias = tuple[Cell, ...]
Block: TypeAlias = Sequence[Row]

_MODULUS: Final = 1 << 128
_KINDS: Final[Mapping[type, type]] = {int: int, bool: int, date: str, str: str, bytes: bytes}
_ALEMBIC: Final = "alembic_version"
_CURE: Final = "modemctl never wrote it: audit verify may name it; mend or remove the row"


class Stage(StrEnum):
    """What is being done."""

    COPYING = "copying"
    INDEXING = "indexing"
    COMPARING = "comparing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Streamed:
    """How far it is: rows of all tables that are done, of how many."""

    stage: Stage
    table: str
    done: int
    of: int


class End(Protocol):
    """One end of a stream: a database in the middle of one transaction."""

    def tables(self) -> set[str]:
        """The names of its tables."""
        ...

    def count(self, table: Table) -> int:
        """Its rows."""
        ...

    def blocks(self, table: Table) -> Generator[Block, None, None]:
        """All its rows, in any order, in blocks."""
        ...

    def write(self, table: Table, blocks: Iterable[Block]) -> None:
        """Add rows.

        Raises:
            InvalidRequest: a row does not fit this kind of database.
        """
        ...

    def loading(self) -> AbstractContextManager[None]:
        """A block in which rows come: indices and ties between tables are made at its end."""
        ...


class Fingerprint:
    """What rows a table has: their number and a digest that does not depend on their order."""

    def __init__(self) -> None:
        self.n = 0
        self._sum = 0

    def add(self, block: Block) -> None:
        """Take in some rows."""
        self.n += len(block)
        for row in block:
            digest = hashlib.blake2b(msgspec.msgpack.encode(row), digest_size=16).digest()
            self._sum += int.from_bytes(digest)

    @property
    def value(self) -> tuple[int, int]:
        """Equal for equal rows."""
        return self.n, self._sum % _MODULUS


def stream(source: End, target: End, tell: Callable[[Streamed], None]) -> Mapping[str, int]:
    """Copy all tables into an empty target, and compare; returns the rows of each table.

    Raises:
        InvalidRequest: a row that the target cannot hold, or tables that are not modemctl's.
        StoreError: the target holds something else than what was written.
    """
    require_own(source)
    counts = {table.name: source.count(table) for table in metadata.sorted_tables}
    n_all, done = sum(counts.values()), 0
    made: dict[str, Fingerprint] = {}

    def told(
        table: Table, stage: Stage, mark: Fingerprint, blocks: Iterable[Block]
    ) -> Iterator[Block]:
        nonlocal done
        tell(Streamed(stage=stage, table=table.name, done=done, of=n_all))
        for block in blocks:
            mark.add(block)
            yield block
            done += len(block)
            tell(Streamed(stage=stage, table=table.name, done=done, of=n_all))

    with target.loading():
        for table in metadata.sorted_tables:
            mark = made[table.name] = Fingerprint()
            with closing(source.blocks(table)) as blocks:
                rows = told(table, Stage.COPYING, mark, blocks)
                target.write(table, checked(table, rows))
        tell(Streamed(stage=Stage.INDEXING, table="", done=n_all, of=n_all))
    done = 0
    for table in metadata.sorted_tables:
        found = Fingerprint()
        with closing(target.blocks(table)) as blocks:
            for _ in told(table, Stage.COMPARING, found, blocks):
                pass
        if found.value != made[table.name].value:
            raise StoreError(f"table {table.name} is not the same in both databases")
    return {name: mark.n for name, mark in made.items()}


def require_own(source: End) -> None:
    """Refuse a database in which tables are missing, or stand that no modemctl would carry on.

    Raises:
        InvalidRequest: with their names.
    """
    own = {table.name for table in metadata.sorted_tables} | {_ALEMBIC}
    differing = sorted(own ^ source.tables())
    if differing:
        raise InvalidRequest(
            f"its tables are not those of this version: {', '.join(differing[:5])}",
            cure="move foreign tables away; modemctl db upgrade makes missing ones",
        )


def checked(table: Table, blocks: Iterable[Block]) -> Iterator[Block]:
    """The same blocks, as long as each cell is of its column's kind.

    Raises:
        InvalidRequest: one is not: modemctl did not write it.
    """
    kinds = [frozenset({_KINDS[stored_as(one)], type(None)}) for one in table.columns]
    for block in blocks:
        for column, kind, cells in zip(table.columns, kinds, zip(*block, strict=True), strict=True):
            if not kind.issuperset(map(type, cells)):
                n = next(n for n, cell in enumerate(cells) if type(cell) not in kind)
                raise unfit(table, block[n], column.name, "holds a value of another kind")
        yield block


def stored_as(column: ColumnElement[object]) -> type:
    """The kind of value that a column's cells are in a database."""
    kind = column.type
    return (kind.impl_instance if isinstance(kind, TypeDecorator) else kind).python_type


def unfit(table: Table, row: Row, column: str, what: str) -> InvalidRequest:
    """What is told of a row that cannot be copied: its key, never its values."""
    at = [n for n, one in enumerate(table.columns) if one.primary_key]
    key = ", ".join(cell.hex() if isinstance(cell, bytes) else str(cell)[:80]
                    for cell in (row[n] for n in at))  # fmt: skip
    return InvalidRequest(f"{table.name} {key}: column {column} {what}", cure=_CURE)
