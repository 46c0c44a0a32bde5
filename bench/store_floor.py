"""What the sending path's own statements cost where sqlite3 runs them by itself.

Messages go the store's way in groups (`store_path`), and what modemctl says to SQLite on the way is
noted. Then sqlite3 alone says the same to a copy of the same file: no rules, no proofs, no sealing,
no Python but a loop. What is left is the least that rows of this shape cost; the ratio tells how
much of the store's time is modemctl's own.

    .venv/bin/python bench/store_floor.py
    .venv/bin/python bench/store_floor.py --groups 64 --messages 2000 --json
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

from store_path import Site, open_site, send

from modemctl.store import Store

_COMMIT: Final = "COMMIT"
_SPARE: Final = 3  # the cards' departments do not take the same share
_PRAGMAS: Final = ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON")
_Values: TypeAlias = Sequence[object]
_Said: TypeAlias = tuple[str, list[_Values], bool]
"""A statement, its values (a row each), and whether it was said once for all rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """What a message costs in groups of this size; CPU and wall in milliseconds."""

    group: int
    n_messages: int
    statements: float
    cpu_ms: float
    bare_cpu_ms: float
    bare_wall_ms: float

    @property
    def ratio(self) -> float:
        """The store's CPU in units of that of its statements alone."""
        return self.cpu_ms / self.bare_cpu_ms


class _Notes:
    """What is said to SQLite while `is_on`."""

    def __init__(self) -> None:
        self.is_on = False
        self.said: list[_Said] = []

    def note(self, statement: str, rows: Iterable[_Values], *, is_many: bool) -> None:
        if self.is_on:
            self.said.append((statement, list(rows), is_many))


_NOTES: Final = _Notes()


class _Cursor(sqlite3.Cursor):
    def execute(self, statement: str, values: _Values = (), /) -> _Cursor:  # type: ignore[override]  # by place only
        _NOTES.note(statement, [values], is_many=False)
        super().execute(statement, values)  # type: ignore[arg-type]  # passed on
        return self

    def executemany(self, statement: str, rows: Iterable[_Values], /) -> _Cursor:  # type: ignore[override]  # by place only
        known = list(rows)
        _NOTES.note(statement, known, is_many=True)
        super().executemany(statement, known)  # type: ignore[arg-type]  # passed on
        return self


class _Connection(sqlite3.Connection):
    def cursor(self, factory: type[sqlite3.Cursor] | None = None) -> _Cursor:  # type: ignore[override]  # ours
        del factory
        return super().cursor(_Cursor)

    def commit(self) -> None:
        _NOTES.note(_COMMIT, [()], is_many=False)
        super().commit()


async def measure(site: Site, store: Store, *, group: int, n_messages: int, copy: Path) -> Floor:
    """Send so many messages in such groups, and say the same to a copy once more."""
    await send(site, store, group=group, n_groups=2)
    with (
        closing(sqlite3.connect(site.database)) as source,
        closing(sqlite3.connect(copy)) as target,
    ):
        source.backup(target)
    _NOTES.said, _NOTES.is_on = [], True
    try:
        cost = await send(site, store, group=group, n_groups=-(-n_messages // group), warm=0)
    finally:
        _NOTES.is_on = False
    cpu, wall = repeat(_NOTES.said, copy)
    return Floor(
        group=group,
        n_messages=cost.n_messages,
        statements=len(_NOTES.said) / cost.n_messages,
        cpu_ms=1000 * cost.cpu_s / cost.n_messages,
        bare_cpu_ms=1000 * cpu / cost.n_messages,
        bare_wall_ms=1000 * wall / cost.n_messages,
    )


def repeat(said: Sequence[_Said], database: Path) -> tuple[float, float]:
    """Say it all to this file, as durably; CPU and wall in seconds."""
    with closing(sqlite3.connect(database, isolation_level=None, cached_statements=512)) as bare:
        for pragma in _PRAGMAS:
            bare.execute(f"PRAGMA {pragma}")
        cursor = bare.cursor()
        began, cpu = time.perf_counter(), _cpu()
        for statement, rows, is_many in said:
            if statement == _COMMIT and not bare.in_transaction:
                continue
            if statement.startswith("BEGIN") and bare.in_transaction:
                continue
            if is_many:
                cursor.executemany(statement, rows)  # type: ignore[arg-type]  # as they came
            else:
                cursor.execute(statement, rows[0])  # type: ignore[arg-type]  # as they came
            if cursor.description is not None:
                cursor.fetchall()
        return _cpu() - cpu, time.perf_counter() - began


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main() -> int:
    """Measure and print; the exit status."""
    options = _options()
    sqlite3.dbapi2.connect = partial(sqlite3.connect, factory=_Connection)
    print(f"load average before: {os.getloadavg()[0]:.2f}", file=sys.stderr, flush=True)
    n_all = _SPARE * sum(options.messages + 3 * group for group in options.groups)

    async def run(site: Site) -> list[Floor]:
        found = []
        async with site.open() as store:
            for group in options.groups:
                copy = site.database.with_name(f"bare-{group}.db")
                found.append(
                    await measure(site, store, group=group, n_messages=options.messages, copy=copy)
                )
                print(f"groups of {group}: done", file=sys.stderr, flush=True)
        return found

    with (
        tempfile.TemporaryDirectory(prefix="store-floor-") as room,
        open_site(Path(room), n_cards=64, n_messages=n_all) as site,
    ):
        found = asyncio.run(run(site))
    if options.json:
        print(json.dumps([{**asdict(one), "ratio": one.ratio} for one in found], indent=2))
    else:
        print(table(found))
    return 0


def table(found: Iterable[Floor]) -> str:
    """The figures as a page shows them."""
    lines = [
        "| messages a group | statements a message | CPU ms | sqlite3 alone, CPU ms | ratio |",
        "|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {one.group} | {one.statements:.1f} | {one.cpu_ms:.2f} | {one.bare_cpu_ms:.2f} "
        f"| {one.ratio:.1f} |"
        for one in found
    ]
    return "\n".join(lines)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0],
        epilog="Example: bench/store_floor.py --groups 16 64 --json",
    )
    parser.add_argument(
        "--groups", type=int, nargs="+", default=[1, 16, 64], help="sizes (default 1 16 64)"
    )
    parser.add_argument("--messages", type=int, default=1000, help="of each size (default 1000)")
    parser.add_argument("--json", action="store_true", help="print JSON; progress goes to stderr")
    options = parser.parse_args()
    if min(options.groups) < 1 or max(options.groups) > 64 or options.messages < 1:
        parser.error("groups of 1 to 64, and at least one message")
    return options


if __name__ == "__main__":
    sys.exit(main())
