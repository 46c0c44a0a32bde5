"""Each part alone, as a ratio to what the machine does for as much: no part hides another.

- accepted: a batch's recipients a second through the API, to bare rows in one commit
- sms, ports: incoming SMS a second from the simulated network to the disk, on all modems at once
- sms, store and calls, store: the same acts without modems, in groups, to a bare row a commit
- metrics: a scrape of a bank, to as many octets of still text from the same server
- sending, PostgreSQL: lease, clearance, outcome and report of a group, to SQLite's time for them

    .venv/bin/python bench/alone.py                       # 512 modems for the scrape: 10 minutes
    .venv/bin/python bench/alone.py --modems 16 --only metrics --only accepted
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import httpx2
from banks import NOTICE_BLOCK, Staffed, metrics, open_staffed, wait_until
from fastapi import FastAPI, Response
from store_path import Site, open_site, send

from api.server import serve
from modemctl.config import ApiSettings
from modemctl.policy.incoming import InboxKind
from modemctl.store import Store, calls, inbox
from modemctl.store.site_streams import end_of, filling, reading
from modemctl.store.streams import Streamed, stream

PARTS: Final = ("accepted", "sms-ports", "metrics", "sms-store", "calls-store", "postgresql")
_OF_BANK: Final = frozenset({"accepted", "sms-ports", "metrics"})
_STRANGER: Final = "+8613700000001"
_GROUPS: Final = (16, 64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line: `value` and `baseline` in `unit`; `ratio` of the first to the second."""

    part: str
    what: str
    value: float
    baseline: float
    unit: str

    @property
    def ratio(self) -> float:
        """How much of the baseline it is."""
        return self.value / self.baseline


def main() -> int:
    options = _options()
    load = os.getloadavg()[0]
    print(f"load average before: {load:.2f} on {os.cpu_count()} cores", file=sys.stderr)
    rows = []
    for row in _measure(options):
        print(_line(row), file=sys.stderr, flush=True)
        rows.append(row)
    print(f"load average after: {os.getloadavg()[0]:.2f}", file=sys.stderr)
    if options.json:
        print(json.dumps([{**asdict(row), "ratio": row.ratio} for row in rows]))
    else:
        print("\n".join([_HEAD, *map(_line, rows)]))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0],
        epilog="Example: bench/alone.py --modems 64 --recipients 5000 --only accepted",
    )
    parser.add_argument("--modems", type=int, default=512, help="of the bank (default 512)")
    parser.add_argument("--recipients", type=int, default=20_000, help="of the batch")
    parser.add_argument("--messages", type=int, default=2_000, help="SMS, and twice as many calls")
    parser.add_argument("--scrapes", type=int, default=20, help="the median counts")
    parser.add_argument("--groups", type=int, default=20, help="of the sending path, each database")
    parser.add_argument("--cards", type=int, default=64, help="of the site without a bank")
    parser.add_argument("--only", action="append", choices=PARTS, help="a part; several times")
    parser.add_argument("--json", action="store_true", help="print one JSON array")
    options = parser.parse_args()
    counts = (options.modems, options.recipients, options.messages, options.scrapes, options.groups)
    if min(counts) < 1 or min(options.modems, options.cards) < 2:
        parser.error("all of them at least 1, and two modems, two cards")
    return options


def _measure(options: argparse.Namespace) -> Iterator[Row]:
    parts = options.only or PARTS
    with tempfile.TemporaryDirectory(prefix="alone-") as room:
        folder = Path(room)
        if _OF_BANK & set(parts):
            with open_staffed(
                n_modems=options.modems, latency=1.0, seed=1, patience=900.0
            ) as staffed:
                if "metrics" in parts:
                    yield _scrape(staffed, options.scrapes, folder)
                if "accepted" in parts:
                    yield _accept(staffed, options.recipients, folder)
                if "sms-ports" in parts:
                    yield _receive(staffed, options.messages, folder)
        if set(parts) - _OF_BANK:
            n = 3 * sum(_GROUPS) * (options.groups + 2)
            with open_site(folder / "site", n_cards=options.cards, n_messages=n) as site:
                yield from asyncio.run(_store_parts(site, options, parts, folder))
                if "postgresql" in parts:
                    yield from _databases(site, options.groups)


# ---------------------------------------------------------------- with a bank


def _accept(staffed: Staffed, n: int, folder: Path) -> Row:
    """Submit a batch, which is checked, cut into segments, sealed and stored before the answer."""
    staffed.submit("notice", 1, block=NOTICE_BLOCK)  # what is made once is made
    began = time.perf_counter()
    staffed.submit("notice", n, block=NOTICE_BLOCK, first=1)
    taken = n / (time.perf_counter() - began)
    return Row(part="accepted", what=f"a batch of {n} through the API", value=taken,
               baseline=_bare(folder, n, group=n), unit="recipients/s")  # fmt: skip


def _receive(staffed: Staffed, n: int, folder: Path) -> Row:
    """Send SMS to all cards at once; the last one is in the store, none is missing or twice."""
    world = staffed.world

    def stored() -> int:
        with closing(sqlite3.connect(f"file:{world.database}?mode=ro", uri=True)) as db:
            return int(db.execute("SELECT count(*) FROM inbox").fetchone()[0])

    modems = sorted(port.name for port in (world.bank / "ports").iterdir())
    before, began = stored(), time.perf_counter()
    _inject(world.bank / "control.sock", modems, n)
    wait_until(lambda: stored() >= before + n, what="all SMS", seconds=600.0)
    seconds = time.perf_counter() - began
    if stored() != before + n:
        raise RuntimeError(f"{stored() - before} stored of {n}")
    return Row(part="sms-ports", what=f"{n} on {len(modems)} modems", value=n / seconds,
               baseline=_bare(folder, min(n, 2_000), group=1), unit="SMS/s")  # fmt: skip


def _inject(control: Path, modems: Sequence[str], n: int) -> None:
    """Send one SMS after the other to the modems' cards, in turn."""
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(str(control))
        answers = link.makefile(encoding="utf-8")
        for i in range(n):
            wish = {"id": i, "do": "inject_sms", "to": modems[i % len(modems)], "text": f"in {i}",
                    "from": _STRANGER}  # fmt: skip
            link.sendall(json.dumps(wish).encode() + b"\n")
            answer = json.loads(answers.readline())
            if not answer.get("ok"):
                raise RuntimeError(f"the simulator refused: {answer}")


def _scrape(staffed: Staffed, n: int, folder: Path) -> Row:
    """The median of `n` scrapes, one each time between two of still text."""
    world = staffed.world
    text = metrics(world).encode()
    socket = folder / "still.sock"
    with _StillPage(text, socket) as ask:
        ours, still = [], []
        for _ in range(n):
            still.append(_seconds(ask))
            ours.append(_seconds(lambda: _get(world.connection.socket_path, "/metrics")))
    what = f"{staffed.n_modems} modems, {len(text) / 1e3:.0f} kB"
    return Row(part="metrics", what=what, value=1000 * statistics.median(ours),
               baseline=1000 * statistics.median(still), unit="ms")  # fmt: skip


class _StillPage:
    """The API's server with one page that never changes, in a thread."""

    def __init__(self, text: bytes, socket: Path) -> None:
        self._app = FastAPI()
        self._socket = socket
        self._ready = threading.Event()
        self._stop = asyncio.Event()

        @self._app.get("/still")
        async def page() -> Response:
            return Response(text, media_type="text/plain")

    def __enter__(self) -> Callable[[], object]:
        self._loop = asyncio.new_event_loop()
        settings = ApiSettings(unix_socket=self._socket, tcp_port=0)
        served = serve(self._app, settings, stop=self._stop, on_listening=self._ready.set)
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(served,))
        self._thread.start()
        if not self._ready.wait(30):
            raise TimeoutError("the still page is not served")
        return lambda: _get(self._socket, "/still")

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)
        self._loop.close()


def _get(socket: Path, path: str) -> bytes:
    transport = httpx2.HTTPTransport(uds=str(socket), verify=False)
    with httpx2.Client(transport=transport, base_url="http://modemctl", timeout=30) as http:
        return http.get(path).raise_for_status().content


def _seconds(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


# ---------------------------------------------------------------- the store alone


async def _store_parts(
    site: Site, options: argparse.Namespace, parts: Sequence[str], folder: Path
) -> list[Row]:
    rows = []
    async with site.open() as store:
        for size in (1, *_GROUPS):
            n = options.messages // size * size or size
            base = _bare(folder, n, group=size)
            if "sms-store" in parts:
                rate = await _incoming(site, store, n, size)
                rows.append(Row(part="sms-store", what=f"{size} a commit", value=rate,
                                baseline=base, unit="SMS/s"))  # fmt: skip
            if "calls-store" in parts:
                rate = await _ringing(site, store, n, size)
                rows.append(Row(part="calls-store", what=f"{size} a commit", value=rate,
                                baseline=base, unit="events/s"))  # fmt: skip
    return rows


async def _incoming(site: Site, store: Store, n: int, size: int) -> float:
    def message(i: int) -> inbox.NewMessage:
        return inbox.NewMessage(
            iccid=site.cards[i % len(site.cards)], bay="bench", sender=_STRANGER,
            is_sender_number=True, scts=store.clock.now(), text=f"in {size} {i}", concat=None,
            tpdu=f"{size} {i}".encode(), kind=InboxKind.TEXT,
        )  # fmt: skip

    began = time.perf_counter()
    for at in range(0, n, size):
        items = [message(i) for i in range(at, at + size)]
        await store.write(lambda tx, items=items: inbox.add(tx, items))
    return n / (time.perf_counter() - began)


async def _ringing(site: Site, store: Store, n: int, size: int) -> float:
    """Two events a call: it rings, it ends."""
    day = datetime.now(UTC) - timedelta(days=size)

    def state(i: int, ended: datetime | None) -> calls.CallState:
        return calls.CallState(
            iccid=site.cards[i % len(site.cards)], bay=f"bench-{i % 64}", is_incoming=True,
            number=_STRANGER, started_at=day + timedelta(seconds=i), answered_at=None,
            ended_at=ended, n_rings=1, cause="missed" if ended else None,
        )  # fmt: skip

    began = time.perf_counter()
    for at in range(0, n, size):
        for ended in (None, store.clock.now()):
            items = [state(i, ended) for i in range(at, at + size)]
            await store.write(lambda tx, items=items: calls.save(tx, items))
    return 2 * n / (time.perf_counter() - began)


def _bare(folder: Path, n: int, *, group: int) -> float:
    """Rows a second of SQLite itself, durable, so many a commit, of some 200 octets each."""
    path = folder / f"bare-{time.monotonic_ns()}.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("CREATE TABLE bare (id INTEGER PRIMARY KEY, batch TEXT, line INT, a BLOB,"
                   " b BLOB)")  # fmt: skip
        began = time.perf_counter()
        for at in range(0, n, group):
            rows = [("b" * 36, i, os.urandom(32), bytes(130)) for i in range(at, at + group)]
            db.execute("BEGIN IMMEDIATE")
            db.executemany("INSERT INTO bare (batch, line, a, b) VALUES (?, ?, ?, ?)", rows)
            db.execute("COMMIT")
        return n / (time.perf_counter() - began)


# ---------------------------------------------------------------- SQLite and PostgreSQL


def _databases(site: Site, n_groups: int) -> Iterator[Row]:
    """The same site on both, each group size in turn."""
    from tests.support import postgres

    cluster = postgres.cluster()
    try:
        url = cluster.url(cluster.create())
        with reading(f"sqlite:///{site.database}") as old, filling(url) as new:
            stream(end_of(old), end_of(new), _untold)
        for size in (n for n in _GROUPS if n <= len(site.cards)):
            here, there = asyncio.run(_both(site, url, size, n_groups))
            yield Row(part="postgresql", what=f"groups of {size}, to SQLite", value=there,
                      baseline=here, unit="ms/message")  # fmt: skip
    finally:
        postgres.end()


def _untold(_told: Streamed) -> None:
    """Nobody watches this copy."""


async def _both(site: Site, url: str, size: int, n_groups: int) -> tuple[float, float]:
    async with site.open() as here, site.open(url) as there:
        costs = [
            (await send(site, here, group=size, n_groups=n_groups // 2 or 1),
             await send(site, there, group=size, n_groups=n_groups // 2 or 1))
            for _ in range(2)
        ]  # fmt: skip
    return (
        statistics.mean(one.ms_each for one, _ in costs),
        statistics.mean(other.ms_each for _, other in costs),
    )


_HEAD: Final = "| part | of | value | baseline | | ratio |\n|---|---|---:|---:|---|---:|"


def _line(row: Row) -> str:
    return (
        f"| {row.part} | {row.what} | {row.value:,.5g} | {row.baseline:,.5g} | {row.unit} |"
        f" {row.ratio:.3f} |"
    )


if __name__ == "__main__":
    sys.exit(main())
