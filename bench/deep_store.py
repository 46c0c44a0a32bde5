"""A store that already holds ten million segments: what the sending path's store part costs then.

A site is made over the API (`store_path`) and copied; the one is filled by bulk inserts with
batches that are done (a message, a recipient, a segment, two rows of the journal and a report
each), and at each depth timed in turn with the other one, which stays empty. Every statement's plan
is SQLite's own.

    .venv/bin/python bench/deep_store.py          # ten million: 10 GB, a quarter of an hour
    .venv/bin/python bench/deep_store.py --segments 200000 --json
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from store_path import STEPS, Cost, Site, open_site, send

from modemctl.store import Tx

_OCTETS_EACH: Final = 1_000
"""Of disk for a segment and all that goes with it."""
_GROUPS: Final = (16, 64)
_SLICE: Final = 100_000
"""Messages of a batch that is over."""
_BIG: Final = ("message", "recipient", "segment", "segment_journal", "report", "event")
_QUICK: Final = (
    "PRAGMA journal_mode = OFF", "PRAGMA synchronous = OFF", "PRAGMA cache_size = -400000",
    "PRAGMA temp_store = FILE",
)  # fmt: skip
_DAY_MS: Final = 86_400_000
_FILL: Final = (
    "INSERT INTO message (message_id, batch_id, line_no, recipient_bidx, line_enc, n_segments,"
    " iccid) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :n)"
    " SELECT :first + i, :batch, i, spread(:done + i, 1), randomblob(:line), 1, card(i) FROM n",
    "INSERT INTO recipient (recipient_bidx, batch_id, line_no)"
    " SELECT recipient_bidx, batch_id, line_no FROM message WHERE message_id > :first",
    "INSERT INTO segment (segment_id, message_id, batch_id, seq, state, tries, iccid, bay, node_id,"
    " mr, submitting_at, sent_at, final_at)"
    " SELECT message_id, message_id, batch_id, 1, 'delivered', 1, iccid, 'bench-' || iccid, 'n1',"
    " (line_no / :cards) % 256, :at + line_no, :at + line_no + 900, :at + line_no + 5000"
    " FROM message WHERE message_id > :first",
    "INSERT INTO segment_journal (segment_id, at, before, after, actor)"
    " SELECT segment_id, submitting_at, 'leased', 'submitting', 'n1' FROM segment"
    " WHERE segment_id > :first UNION ALL"
    " SELECT segment_id, sent_at, 'submitting', 'sent', 'n1' FROM segment"
    " WHERE segment_id > :first",
    "INSERT INTO report (iccid, bay, received_at, recipient_bidx, mr, st, fingerprint, segment_id,"
    " matching) SELECT segment.iccid, bay, final_at, recipient_bidx, mr, 0,"
    " spread(:done + line_no, 2), segment_id, 'matched' FROM segment JOIN message"
    " USING (message_id) WHERE segment.segment_id > :first",
)
_READ: Final = re.compile(r"^(?:SCAN|SEARCH) (\w+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table; `scans` are steps of plans that read through a large table."""

    segments: int
    gigabytes: float
    group: int
    ms_each: float
    ms_by_step: dict[str, float]
    cpu_ms_each: float
    empty_ms_each: float
    of_empty: float
    statements: int
    scans: list[str]


def main() -> int:
    options = _options()
    load = os.getloadavg()[0]
    print(f"load average before: {load:.2f} on {os.cpu_count()} cores", file=sys.stderr)
    folder = options.folder or Path(tempfile.gettempdir())
    needed, free = options.segments * _OCTETS_EACH * 1.2, shutil.disk_usage(folder).free
    if free < needed:
        print(f"{needed / 1e9:.0f} GB are needed in {folder}, {free / 1e9:.0f} are free: --folder,"
              " or fewer --segments", file=sys.stderr)  # fmt: skip
        return 2
    with tempfile.TemporaryDirectory(prefix="deep-", dir=folder) as room:
        rows = list(_measure(Path(room), options))
    print(f"load average after: {os.getloadavg()[0]:.2f}", file=sys.stderr)
    if options.json:
        print(json.dumps([asdict(row) for row in rows]))
    else:
        print(_table(rows))
    scans = sorted({scan for row in rows for scan in row.scans})
    print("\n".join(scans) or "no statement reads through a large table", file=sys.stderr)
    return 1 if scans else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0],
        epilog="Exit status 1 where a plan reads through a large table, 2 where the disk is too"
        " small. Example: bench/deep_store.py --segments 1000000 --groups 20",
    )
    parser.add_argument("--segments", type=int, default=10_000_000, help="default 10,000,000")
    parser.add_argument("--groups", type=int, default=30, help="timed at each size (default 30)")
    parser.add_argument("--repeat", type=int, default=3, help="the median counts (default 3)")
    parser.add_argument("--cards", type=int, default=64, help="in bays (default 64)")
    parser.add_argument("--folder", type=Path, help="where the disk is (default: the usual /tmp)")
    parser.add_argument("--json", action="store_true", help="print one JSON array")
    options = parser.parse_args()
    if options.segments < 1 or options.groups < 1 or options.repeat < 1 or options.cards < 2:
        parser.error("all of them at least 1, and two cards")
    return options


def _measure(room: Path, options: argparse.Namespace) -> Iterator[Row]:
    sizes = [n for n in _GROUPS if n <= options.cards] or [options.cards]
    depths = sorted({0, options.segments // 10, options.segments})
    each = sum(sizes) * (options.groups + 2) * options.repeat + max(sizes)
    n_messages = each * len(depths) * 5 // 4  # the departments' cards do not share evenly
    with open_site(room / "site", n_cards=options.cards, n_messages=n_messages) as site:
        empty = room / "empty.db"
        shutil.copy(site.database, empty)  # nobody has it open: all of it is in the file
        filled = 0
        for depth in depths:
            _fill(site, filled, depth)
            filled = depth
            plans = asyncio.run(_plans(site, sizes[0]))
            for size in sizes:
                deep, other = asyncio.run(_time(site, empty, size, options))
                yield _row(site, depth, size, deep, other, plans)


def _row(
    site: Site,
    depth: int,
    size: int,
    deep: Sequence[Cost],
    other: Sequence[Cost],
    plans: tuple[int, list[str]],
) -> Row:
    each = statistics.median(cost.ms_each for cost in deep)
    empty = statistics.median(cost.ms_each for cost in other)
    row = Row(
        segments=depth,
        gigabytes=site.database.stat().st_size / 1e9,
        group=size,
        ms_each=each,
        ms_by_step={
            step: statistics.median(1000 * cost.seconds[step] / cost.n_messages for cost in deep)
            for step in STEPS
        },
        cpu_ms_each=statistics.median(1000 * cost.cpu_s / cost.n_messages for cost in deep),
        empty_ms_each=empty,
        of_empty=each / empty,
        statements=plans[0],
        scans=plans[1],
    )
    print(_line(row), file=sys.stderr, flush=True)
    return row


async def _time(
    site: Site, empty: Path, size: int, options: argparse.Namespace
) -> tuple[list[Cost], list[Cost]]:
    deep, other = [], []
    async with site.open() as store, site.open(f"sqlite:///{empty}") as control:
        for _ in range(options.repeat):
            deep.append(await send(site, store, group=size, n_groups=options.groups))
            other.append(await send(site, control, group=size, n_groups=options.groups))
    return deep, other


# ---------------------------------------------------------------- filling


def _fill(site: Site, done: int, wanted: int) -> None:
    """Put batches that are over into the store, until it holds `wanted` segments of them."""
    if wanted <= done:
        return
    began, total = time.perf_counter(), wanted - done
    cards = list(site.cards)
    with closing(sqlite3.connect(site.database, isolation_level=None)) as db:
        for pragma in _QUICK:
            db.execute(pragma)
        db.create_function("card", 1, lambda i: cards[i % len(cards)], deterministic=True)
        db.create_function("spread", 2, lambda i, salt: _spread(i, total, salt), deterministic=True)
        db.row_factory = sqlite3.Row
        one = dict(db.execute("SELECT * FROM batch LIMIT 1").fetchone())
        (line,) = db.execute("SELECT max(length(line_enc)) FROM message").fetchone()
        for at in range(0, total, _SLICE):
            n = min(_SLICE, total - at)
            (first,) = db.execute("SELECT max(message_id) FROM message").fetchone()
            batch_id = f"deep-{done + at:012}-{'0' * 18}"
            when = one["created_at"] - _DAY_MS * 30 + done + at
            facts = {"n": n, "first": first, "batch": batch_id, "done": at, "line": line,
                     "cards": len(cards), "at": when}  # fmt: skip
            db.execute("BEGIN")
            names = ", ".join(f'"{name}"' for name in one)
            values = {**one, "batch_id": batch_id, "state": "done", "n_lines": n}
            db.execute(
                f"INSERT INTO batch ({names}) VALUES ({', '.join('?' * len(one))})",
                list(values.values()),
            )
            for statement in _FILL:
                db.execute(statement, {k: v for k, v in facts.items() if f":{k}" in statement})
            db.execute("COMMIT")
        db.execute("PRAGMA journal_mode = WAL")
    print(f"{total} filled in {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)


def _spread(i: int, total: int, salt: int) -> bytes:
    """A hash's place for the i-th of so many in order: evenly over all of them, distinct."""
    return ((i << 248) // (total + 1)).to_bytes(31, "big") + bytes((salt,))


# ---------------------------------------------------------------- plans


async def _plans(site: Site, size: int) -> tuple[int, list[str]]:
    """How many statements ran for a group, and what of their plans reads through large tables."""
    async with site.open() as store:
        seen: list[str] = []
        await store.write(lambda tx: _trace(tx, seen))
        await send(site, store, group=size, n_groups=1, warm=0)
    asked = [one for one in dict.fromkeys(seen) if re.match(r"SELECT|UPDATE|DELETE|WITH", one)]
    scans = []
    with closing(sqlite3.connect(site.database)) as db:
        for statement in asked:
            for row in db.execute(f"EXPLAIN QUERY PLAN {statement}"):
                step = str(row[3])
                read = _READ.match(step)
                if step.startswith("SCAN") and read and read[1] in _BIG and not _is_small(step):
                    scans.append(f"{step} ← {statement[:200]}")
    return len(asked), scans


def _is_small(step: str) -> bool:
    """Whether it walks an index of what is open alone."""
    return "ix_segment_open" in step


def _trace(tx: Tx, seen: list[str]) -> None:
    """Keep every statement of the writer from now on, with its values, as SQLite tells it."""
    connection = tx.conn.connection.dbapi_connection  # the writer's pool has this one alone
    assert isinstance(connection, sqlite3.Connection)
    connection.set_trace_callback(seen.append)


# ---------------------------------------------------------------- the table

_HEAD: Final = (
    "| segments | GB | group | ms a message | lease | clearance | outcome | report | CPU ms |"
    " empty: ms | of empty |\n|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
)


def _line(row: Row) -> str:
    steps = " | ".join(f"{row.ms_by_step[step]:.3f}" for step in STEPS)
    return (
        f"| {row.segments:,} | {row.gigabytes:.2f} | {row.group} | {row.ms_each:.2f} | {steps} |"
        f" {row.cpu_ms_each:.2f} | {row.empty_ms_each:.2f} | {row.of_empty:.2f} |"
    )


def _table(rows: Sequence[Row]) -> str:
    return "\n".join([_HEAD, *map(_line, rows)])


if __name__ == "__main__":
    sys.exit(main())
