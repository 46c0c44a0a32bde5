"""modemctl beside gammu-smsd, smstools3 and Kannel, on equal simulated banks, in one run.

Each side is started as processes of its own on a bank of its own (same seed, same models), fed
its own way and counted by the simulated network's ledger, never by its own word. In the second
table modems withhold the answer to some payloads that the network took: who loses, who doubles.

    .venv/bin/python bench/peers.py --modems 8 --latency 50 --peers smstools3
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

from contest import FAULT_RATE, Faulty, Opener, Row, Times, measure, median, withhold
from side_modemctl import open_modemctl
from sides import PEERS, SMSTOOLS_MOST, package_missing

_OURS: Final = "modemctl"
_FAULT_MODEMS: Final = 8
_FAULT_EACH: Final = 10


def main() -> int:
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so what was started is ended too
    peers = _present(options.peers)
    sides: dict[str, Opener] = {_OURS: open_modemctl}
    sides.update((peer, PEERS[peer][2]) for peer in peers)
    times = Times(
        warm_up=options.warm_up, window=options.seconds, rest=options.rest, quiet=options.quiet
    )
    if not options.json:
        print(f"load average before: {os.getloadavg()[0]:.2f} on {os.cpu_count()} cores\n")
    rows = _speed(options, sides, times) if options.speed else []
    faults = _faults(options, sides, times) if options.faults else []
    if options.json:
        rows_json = [{**asdict(row), **ratios(row, rows)} for row in rows]
        print(json.dumps({"speed": rows_json, "withheld": [asdict(row) for row in faults]}))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0],
        epilog="As it stands (15 cells, 4 sides) it takes more than an hour; name cells for less.",
    )
    parser.add_argument("--modems", type=_integers, default=[1, 8, 64, 256, 512], help="1,8,64")
    parser.add_argument("--latency", type=_integers, default=[0, 50, 1000], help="ms: 0,50,1000")
    parser.add_argument("--peers", type=_peers, default=list(PEERS), help=", ".join(PEERS))
    parser.add_argument("--seconds", type=float, default=15.0, help="length of each window")
    parser.add_argument("--warm-up", type=float, default=5.0, help="before it (s)")
    parser.add_argument("--rest", type=float, default=10.0, help="length of the idle window (s)")
    parser.add_argument("--quiet", type=float, default=200.0, help="with withheld answers: the end "
                        "is where nothing came for so long (s)")  # fmt: skip
    parser.add_argument("--repeat", type=int, default=1, help="runs a row; the median is shown")
    parser.add_argument("--persona", default="generic", help="the bank's models")
    parser.add_argument("--no-speed", dest="speed", action="store_false", help="second table only")
    parser.add_argument("--no-faults", dest="faults", action="store_false", help="first one only")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of tables")
    return parser.parse_args()


def _integers(text: str) -> list[int]:
    return [int(one) for one in text.split(",")]


def _peers(text: str) -> list[str]:
    names = text.split(",")
    if unknown := set(names) - set(PEERS):
        raise argparse.ArgumentTypeError(f"no such peer: {', '.join(unknown)}")
    return names


def _present(wanted: Sequence[str]) -> list[str]:
    found = []
    for peer in wanted:
        if package := package_missing(peer):
            print(f"{peer} is not installed (Debian: apt install {package})", file=sys.stderr)
        else:
            found.append(peer)
    return found


def _speed(options: argparse.Namespace, sides: dict[str, Opener], times: Times) -> list[Row]:
    rows: list[Row] = []
    if not options.json:
        print(HEAD, flush=True)
    for latency in options.latency:
        for n_modems in options.modems:
            for name, opener in sides.items():
                if name == "smstools3" and n_modems > SMSTOOLS_MOST:
                    _say(f"smstools3 takes {SMSTOOLS_MOST} devices a process, not {n_modems}")
                    continue
                arguments = (name, opener, n_modems, latency / 1000, options.persona, times)
                try:
                    rows.append(median([measure(*arguments) for _ in range(options.repeat)]))
                except (RuntimeError, TimeoutError) as error:
                    _say(f"{name}, {n_modems} modems, {latency} ms: {error}")
                    continue
                if not options.json:
                    print(line(rows[-1], rows), flush=True)
    return rows


def _faults(options: argparse.Namespace, sides: dict[str, Opener], times: Times) -> list[Faulty]:
    rows = []
    if not options.json:
        print(f"\nof the answers to payloads {FAULT_RATE:.0%} withheld\n\n{FAULT_HEAD}", flush=True)
    for name, opener in sides.items():
        n_modems = _FAULT_MODEMS
        rows.append(withhold(name, opener, n_modems, _FAULT_EACH, options.persona, times))
        if not options.json:
            print(fault_line(rows[-1]), flush=True)
    return rows


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def ratios(row: Row, rows: Sequence[Row]) -> dict[str, float | None]:
    """modemctl : this side, in the same cell of the same run."""
    cell = (row.modems, row.latency_s)
    ours = next(
        (one for one in rows if one.side == _OURS and (one.modems, one.latency_s) == cell), None
    )
    if ours is None or row.side == _OURS:
        return {"messages_ratio": None, "cpu_ratio": None, "memory_ratio": None}
    return {
        "messages_ratio": _ratio(ours.messages_per_s, row.messages_per_s),
        "cpu_ratio": _ratio(ours.cpu_s_per_1000, row.cpu_s_per_1000),
        "memory_ratio": _ratio(ours.pss_mb, row.pss_mb),
    }


def _ratio(ours: float, theirs: float) -> float | None:
    return ours / theirs if theirs else None


HEAD: Final = (
    "| side | modems | latency ms | sending | messages/s | ours : theirs | line utilisation "
    "| CPU s/1,000 | ours : theirs | PSS MB | a modem | ours : theirs | start s | cores at rest "
    "| asked | lost | left | doubled | wrong |\n"
    "|---|" + "---:|" * 18
)


def line(row: Row, rows: Sequence[Row]) -> str:
    """A row of the first table."""
    ratio = ratios(row, rows)
    return (
        f"| {row.side} | {row.modems} | {row.latency_s * 1000:.0f} | {row.modems_sending} "
        f"| {row.messages_per_s:.1f} | {_shown(ratio['messages_ratio'])} "
        f"| {_shown(row.line_utilisation, 3)} | {row.cpu_s_per_1000:.2f} "
        f"| {_shown(ratio['cpu_ratio'])} | {row.pss_mb:.0f} | {row.pss_mb / row.modems:.1f} "
        f"| {_shown(ratio['memory_ratio'])} | {row.start_s:.1f} | {row.rest_cores:.3f} "
        f"| {row.asked} | {row.lost} | {row.left} | {row.doubled} | {row.wrong} |"
    )


def _shown(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


FAULT_HEAD: Final = (
    "| side | modems | asked | answers withheld | never sent | sent more than once "
    "| copies too many | worst | over after s | all quiet |\n|---|" + "---:|" * 8 + "---|"
)


def fault_line(row: Faulty) -> str:
    """A row of the second table."""
    return (
        f"| {row.side} | {row.modems} | {row.asked} | {row.withheld} | {row.lost} | {row.doubled} "
        f"| {row.copies} | {row.most} | {row.seconds:.0f} | {'yes' if row.settled else 'no'} |"
    )


if __name__ == "__main__":
    sys.exit(main())
