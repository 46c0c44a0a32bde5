"""How long from the last word over the API to the first byte of AT+CMGS, on a bank at rest.

Batches of one message are approved beforehand. Then, one at a time, the request that lets one go is
written to the API's socket: its named operator's start, or the last signature of one that starts by
itself. The end is the first byte of `AT+CMGS` at a tap on the modem's line (`taps.py`), by the same
clock in the same process. The baseline in the same run, through the same taps: a bare client that
writes `AT+CMGS` when a line comes in over a Unix socket (`raw_client.py`).

    .venv/bin/python bench/first_byte.py --modems 8 --sends 200
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Final

from banks import CHAINS, OPERATORS, TEXT, Staffed, open_staffed
from taps import Announced, tapped

from modemctl.demo.world import open_bank

_SEED: Final = 1
_PATIENCE: Final = 30.0
_TARGET: Final = (0.010, 0.050)  # p50, p99 of a start
_SETTLE: Final = 10.0  # seconds after the last batch was approved
_CHECK: Final = re.compile(r"CCID|SCID|CRSM|CSIM")  # the families' ways to read the card


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table, in milliseconds. `card_read`: share of sends that read it just before.

    `of_bare`: p50 by the bare client's.
    """

    asked: str
    modems: int
    sends: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    answer_p50_ms: float
    card_read: float | None
    of_bare: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shot:
    seconds: float
    answered: float
    read_card: bool


def main() -> int:
    options = _options()
    if not options.json:
        print(f"load average before: {os.getloadavg()[0]:.2f} on {os.cpu_count()} cores\n")
    shots = {"bare client": _bare(options)}
    shots |= _daemon(options)
    bare = statistics.median(one.seconds for one in shots["bare client"])
    rows = [_row(asked, options.modems, some, bare) for asked, some in shots.items()]
    if options.json:
        print(json.dumps([asdict(row) for row in rows]))
    else:
        print(_HEAD)
        for row in rows:
            print(_line(row))
    started = rows[1]
    is_met = started.p50_ms < _TARGET[0] * 1000 and started.p99_ms < _TARGET[1] * 1000
    print(f"target of a start, p50 < 10 ms and p99 < 50 ms: {'met' if is_met else 'NOT met'}",
          file=sys.stderr)  # fmt: skip
    return 0 if is_met else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0], epilog="About 10 minutes as it stands."
    )
    parser.add_argument("--modems", type=int, default=8)
    parser.add_argument("--sends", type=int, default=200, help="of each kind")
    parser.add_argument("--pause", type=float, default=1.0, help="seconds between two, on average")
    parser.add_argument("--json", action="store_true", help="one JSON array instead of a table")
    return parser.parse_args()


def _bare(options: argparse.Namespace) -> list[_Shot]:
    with (
        tempfile.TemporaryDirectory(prefix="modemctl-bench-") as name,
        tapped(Path(name) / "bank", Path(name) / "ports", n_modems=options.modems) as seen,
        open_bank(Path(name), n_modems=options.modems, latency=0.0, seed=_SEED) as bank,
    ):
        links, address = Path(name) / "ports", Path(name) / "bare.sock"
        command: list[str | Path] = [
            sys.executable, Path(__file__).with_name("raw_client.py"), bank,
            "--ports", links, "--asked-at", address, TEXT,
        ]  # fmt: skip
        with subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            text=True,
        ) as client:
            assert client.stdout is not None
            if client.stdout.readline() != "ready\n":
                raise RuntimeError("the raw client did not start")
            modems = sorted(one.name for one in links.iterdir())
            _drain(seen)

            def fire(place: int) -> _Shot:
                line = f"{modems[place % len(modems)]}\n".encode()
                return _shoot(address, line, seen, is_http=False)

            shots = [fire(place) for place in _paced(options.sends, options.pause / 10)]
            client.terminate()
        return shots


def _daemon(options: argparse.Namespace) -> dict[str, list[_Shot]]:
    with tempfile.TemporaryDirectory(prefix="modemctl-bench-") as name:
        folder, links = Path(name) / "world", Path(name) / "ports"
        with (
            tapped(folder / "bank", links, n_modems=options.modems) as seen,
            open_staffed(
                n_modems=options.modems,
                latency=0.0,
                seed=_SEED,
                keep=folder,
                settings={"bank.ports": json.dumps([str(links / "*")])},
            ) as staffed,
        ):
            return {
                "start": _shots(staffed, seen, options, _starts(staffed, options.sends)),
                "last signature": _shots(staffed, seen, options, _signs(staffed, options.sends)),
            }


def _starts(staffed: Staffed, n_sends: int) -> list[bytes]:
    """The operator's start of each of so many approved batches, as it stands on the wire."""
    token = _token(staffed, OPERATORS["notice"])
    ids = [staffed.approved("notice", 1, block=9, first=place) for place in range(n_sends)]
    return [_request(f"/v1/batches/{one}/start", token, {}) for one in ids]


def _signs(staffed: Staffed, n_sends: int) -> list[bytes]:
    """The last signature of each of so many batches that start by themselves."""
    [approver] = CHAINS["notice"]
    token, found = _token(staffed, approver), []
    for place in range(n_sends):
        one = staffed.submit("notice", 1, block=6, first=place, starts=True)
        digest = staffed.confirm(one)
        jws = staffed.cast.signers[approver].sign(digest=digest, batch_id=one, step=1)
        found.append(_request(f"/v1/batches/{one}/approve", token, {"jws": jws}))
    return found


def _token(staffed: Staffed, name: str) -> str:
    return (staffed.world.folder / "keys" / name).read_text(encoding="ascii").strip()


def _request(path: str, token: str, body: dict[str, str]) -> bytes:
    content = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: modemctl\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


def _shots(
    staffed: Staffed, seen: SimpleQueue[Announced], options: argparse.Namespace,
    requests: Sequence[bytes],
) -> list[_Shot]:  # fmt: skip
    time.sleep(_SETTLE)
    _drain(seen)
    address = staffed.world.connection.socket_path
    return [
        _shoot(address, requests[place], seen, is_http=True)
        for place in _paced(len(requests), options.pause)
    ]


def _paced(n: int, pause: float) -> Iterator[int]:
    """0 … n - 1, at moments that keep no step with anybody's timers."""
    dice = random.Random(_SEED)
    for place in range(n):
        time.sleep(pause * (0.5 + dice.random()))
        yield place


def _shoot(address: Path, asked: bytes, seen: SimpleQueue[Announced], *, is_http: bool) -> _Shot:
    """Ask on a connection that is open already; returns when the modem's line has heard of it."""
    with _connected(address) as link:
        begun = time.monotonic()
        link.sendall(asked)
        try:
            announced = seen.get(timeout=_PATIENCE)
        except Empty:
            raise RuntimeError(f"nothing left: {link.recv(4096)[:400]!r}") from None
        answer = link.recv(65536)
        answered = time.monotonic()
        if is_http and not answer.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"the daemon refused: {answer[:400]!r}")
    return _Shot(
        seconds=announced.at - begun,
        answered=answered - begun,
        read_card=_CHECK.search(announced.last_command) is not None and announced.since < 1.0,
    )


@contextmanager
def _connected(address: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.settimeout(_PATIENCE)
        link.connect(str(address))
        time.sleep(0.05)  # accepted, and quiet again
        yield link


def _drain(seen: SimpleQueue[Announced]) -> None:
    while not seen.empty():
        seen.get()


def _row(asked: str, n_modems: int, shots: Sequence[_Shot], bare: float) -> Row:
    of = partial(_quantile, [one.seconds for one in shots])
    return Row(
        asked=asked,
        modems=n_modems,
        sends=len(shots),
        p50_ms=of(0.5) * 1000,
        p99_ms=of(0.99) * 1000,
        max_ms=of(1.0) * 1000,
        answer_p50_ms=_quantile([one.answered for one in shots], 0.5) * 1000,
        card_read=sum(one.read_card for one in shots) / len(shots),
        of_bare=of(0.5) / bare,
    )


def _quantile(values: Sequence[float], share: float) -> float:
    """The smallest value below or at which `share` of them lie."""
    return sorted(values)[max(0, -int(-share * len(values) // 1) - 1)]


_HEAD: Final = (
    "| asked | modems | sends | p50 ms | p99 ms | max ms | answer p50 ms | card read | of bare |\n"
    "|---|---:|---:|---:|---:|---:|---:|---:|---:|"
)


def _line(row: Row) -> str:
    read = "–" if row.asked == "bare client" else f"{row.card_read:.0%}"
    return (
        f"| {row.asked} | {row.modems} | {row.sends} | {row.p50_ms:.2f} | {row.p99_ms:.2f} "
        f"| {row.max_ms:.2f} | {row.answer_p50_ms:.2f} | {read} | {row.of_bare:.1f} |"
    )


if __name__ == "__main__":
    sys.exit(main())
