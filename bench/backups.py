"""What a backup takes, and what others feel of it: beside a plain copy of the file, same run.

A store of the given size commits all the time; measured are the time, how late the event loop
turns and how long a commit takes: with nothing else, beside `cp`, beside a backup.

    .venv/bin/python bench/backups.py --megabytes 1024
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pyrage

from modemctl.clock import SystemClock
from modemctl.service.backup_child import Job
from modemctl.service.backup_rules import run_job
from modemctl.store import Store
from modemctl.store.migrate import upgrade
from modemctl.vault import AuditKey, Vault

_IDLE: Final = 5.0  # seconds without anything beside the commits
_TURN: Final = 0.005  # seconds between two looks at the loop
_ROW: Final = 4_000  # octets


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table: milliseconds at the 99th of a hundred, and the worst."""

    what: str
    seconds: float
    commits: int
    commit_p99_ms: float
    commit_max_ms: float
    lag_p99_ms: float
    lag_max_ms: float


async def _measure(store: Store, what: str, act: Callable[[], Awaitable[object]]) -> Row:
    """Run `act` while two writers commit and somebody watches the loop."""
    commits: list[float] = []
    lags: list[float] = []

    async def write() -> None:
        while True:
            began = time.perf_counter()
            await store.write(lambda tx: tx.audit("bench", "bench", "bench", {}))
            commits.append(time.perf_counter() - began)
            await asyncio.sleep(_TURN)

    async def watch() -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(_TURN)
            lags.append(time.perf_counter() - began - _TURN)

    async with asyncio.TaskGroup() as group:
        others = [group.create_task(one) for one in (write(), write(), watch())]
        began = time.perf_counter()
        await act()
        seconds = time.perf_counter() - began
        for task in others:
            task.cancel()
    return Row(
        what=what,
        seconds=seconds,
        commits=len(commits),
        commit_p99_ms=_share(commits, 0.99),
        commit_max_ms=_share(commits, 1.0),
        lag_p99_ms=_share(lags, 0.99),
        lag_max_ms=_share(lags, 1.0),
    )


def _share(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return 1_000 * ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def _fill(database: Path, megabytes: int) -> None:
    with closing(sqlite3.connect(database, isolation_level=None)) as db:
        db.execute("PRAGMA synchronous=OFF")
        db.execute("BEGIN")
        for n in range(megabytes * 1_048_576 // _ROW):
            db.execute(
                "INSERT INTO event (at, kind, subject, data) VALUES (?, 'alarm', 'bench', ?)",
                (n, os.urandom(_ROW // 2).hex()),
            )
        db.execute("COMMIT")


async def _copy(source: Path, target: Path) -> None:
    """`cp` and a flush, as who copies files by hand does."""
    for command in (["cp", str(source), str(target)], ["sync", str(target)]):
        process = await asyncio.create_subprocess_exec(*command)
        await process.wait()


async def _run(folder: Path, megabytes: int) -> list[Row]:
    vault, now = Vault(os.urandom(32)), datetime.now(UTC)
    database = folder / "modemctl.db"
    url = f"sqlite+pysqlite:///{database}"
    upgrade(url, vault=vault, site_id="bench", now=now)
    _fill(database, megabytes)
    target = folder / "target"
    target.mkdir()
    job = Job(
        folder=str(target),
        name="bench.tar.age",
        url=url,
        scratch=str(folder / "scratch"),
        recipients=(str(pyrage.x25519.Identity.generate().to_public()),),
        site="bench",
        node="n1",
        at=now,
    )

    async def back_up() -> None:
        made = await run_job(job)
        if made.rule:
            raise RuntimeError(made.rule)

    async with Store(
        url,
        vault=vault,
        audit_key=AuditKey(os.urandom(32)),
        clock=SystemClock(),
        node_id="n1",
    ) as store:
        return [
            await _measure(store, "nothing beside", lambda: asyncio.sleep(_IDLE)),
            await _measure(store, "cp and sync", lambda: _copy(database, folder / "copy")),
            await _measure(store, "backup", back_up),
        ]


def main() -> int:
    """Measure and print; ratios are to the plain copy of the same run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=1_024)
    parser.add_argument("--folder", type=Path, help="Where the files lie; default: a scratch one.")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        rows = asyncio.run(_run(Path(folder), options.megabytes))
    if options.json:
        print(json.dumps([asdict(row) for row in rows]))
        return 0
    print("| beside it | seconds | commits | commit p99 / max ms | loop late p99 / max ms |")
    print("|---|---:|---:|---:|---:|")
    for row in rows:
        print(
            f"| {row.what} | {row.seconds:.1f} | {row.commits} "
            f"| {row.commit_p99_ms:.1f} / {row.commit_max_ms:.0f} "
            f"| {row.lag_p99_ms:.1f} / {row.lag_max_ms:.0f} |"
        )
    _, copied, made = rows
    print(
        f"\na backup of {options.megabytes} MB takes {made.seconds / copied.seconds:.1f} times"
        f" a plain copy's time",
        file=sys.stderr,
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
