"""How fast approved messages leave: the real daemon on a simulated bank, beside the line's ceiling.

Every row of the table starts a simulated bank and the daemon as processes of their own, brings all
modems to READY, approves and starts batches through the API and measures a window in which every
modem has work. In the same run a raw client that speaks nothing but AT+CMGS drives an equal bank:
the line's ceiling, which `of_ceiling` divides by. At the end store and ledger must agree.

    .venv/bin/python bench/end_to_end.py --modems 1,16,64 --latency 0,1
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from banks import TEXT, Staffed, metrics, open_staffed, wait_until
from meters import LedgerReader, Taken, cpu_seconds, histogram, quantile_bound, rate, rss_mb

from modemctl.demo.world import open_bank

_LAG: Final = "modemctl_loop_lag_seconds"
_WARM_UP: Final = 8.0  # seconds from the first segments: all modems start in lockstep
_MOST: Final = 500  # messages a second that two cores do not exceed: fills the queue
_SEED: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table; of repeated runs the medians."""

    modems: int
    latency_s: float
    messages_per_s: float
    ceiling_per_s: float
    of_ceiling: float
    line_utilisation: float | None
    daemon_cpu_s_per_1000: float
    daemon_cores: float
    simulator_cores: float
    rss_mb: float
    loop_lag_p99_s: float


def main() -> int:
    options = _options()
    cells = [(n, latency) for latency in options.latency for n in options.modems]
    rows: list[Row] = []
    if not options.json:
        print(f"load average before: {os.getloadavg()[0]:.2f} on {os.cpu_count()} cores\n")
        print(_HEAD, flush=True)
    for n_modems, latency in cells:
        runs = [_run(n_modems, latency, options.seconds) for _ in range(options.repeat)]
        rows.append(_median(runs))
        if not options.json:
            print(_line(rows[-1]), flush=True)
    if options.json:
        print(json.dumps([asdict(row) for row in rows]))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0], epilog="About 5 minutes as it stands."
    )
    parser.add_argument("--modems", type=_integers, default=[1, 16, 64], help="such as 1,16,64")
    parser.add_argument("--latency", type=_seconds, default=[0.0, 1.0], help="such as 0,1 (s)")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of each window")
    parser.add_argument("--repeat", type=int, default=1, help="runs a row; medians are shown")
    parser.add_argument("--json", action="store_true", help="one JSON array instead of a table")
    return parser.parse_args()


def _integers(text: str) -> list[int]:
    return [int(one) for one in text.split(",")]


def _seconds(text: str) -> list[float]:
    return [float(one) for one in text.split(",")]


def _run(n_modems: int, latency: float, seconds: float) -> Row:
    ceiling = _ceiling(n_modems, latency, seconds / 2)
    with open_staffed(n_modems=n_modems, latency=latency, seed=_SEED) as staffed:
        return _measure(staffed, latency, seconds, ceiling)


def _ceiling(n_modems: int, latency: float, seconds: float) -> float:
    """What the raw client reaches on an equal bank, in segments a second."""
    with tempfile.TemporaryDirectory(prefix="modemctl-bench-") as name:
        folder = Path(name)
        with open_bank(folder, n_modems=n_modems, latency=latency, seed=_SEED) as bank:
            span = seconds + 2 + 3 * latency
            done = subprocess.run(
                [sys.executable, Path(__file__).with_name("raw_client.py"), bank, str(span), TEXT],
                stdout=subprocess.DEVNULL,
                check=False,
                timeout=span + 60,
            )
            if done.returncode:
                raise RuntimeError("the raw client failed")
            taken = LedgerReader(bank / "ledger.jsonl").read()
        first = max(min(one.at for one in taken if one.modem == name) for name in _names(taken))
        return rate(taken, begin=first + 0.5, end=first + 0.5 + seconds)


def _names(taken: Sequence[Taken]) -> set[str]:
    return {one.modem for one in taken}


def _measure(staffed: Staffed, latency: float, seconds: float, ceiling: float) -> Row:
    world, n_modems = staffed.world, staffed.n_modems
    ledger = LedgerReader(world.bank / "ledger.jsonl")
    most = min(_MOST, n_modems / latency) if latency else _MOST
    batch_ids = staffed.start(int(most * (seconds + _WARM_UP + 6)) + 3 * n_modems)
    wait_until(lambda: len(_names(ledger.read())) == n_modems, what="all modems sending")
    time.sleep(_WARM_UP)
    lag, begin, cpu = histogram(metrics(world), _LAG), time.time(), _cpu(staffed)
    time.sleep(seconds)
    end, cpu_after = time.time(), _cpu(staffed)
    rss = rss_mb(world.daemon_pid)
    lag_after = histogram(metrics(world), _LAG)
    time.sleep(latency + 1)
    per_second = rate(ledger.read(), begin=begin, end=end)
    _agree(staffed, batch_ids, ledger)
    n_messages = per_second * (end - begin)
    return Row(
        modems=n_modems,
        latency_s=latency,
        messages_per_s=per_second,
        ceiling_per_s=ceiling,
        of_ceiling=per_second / ceiling,
        line_utilisation=per_second * latency / n_modems if latency else None,
        daemon_cpu_s_per_1000=(cpu_after[0] - cpu[0]) / n_messages * 1000,
        daemon_cores=(cpu_after[0] - cpu[0]) / (end - begin),
        simulator_cores=(cpu_after[1] - cpu[1]) / (end - begin),
        rss_mb=rss,
        loop_lag_p99_s=quantile_bound(lag, lag_after, 0.99),
    )


def _cpu(staffed: Staffed) -> tuple[float, float]:
    return cpu_seconds(staffed.world.daemon_pid), cpu_seconds(staffed.world.simulator_pid)


def _agree(staffed: Staffed, batch_ids: list[str], ledger: LedgerReader) -> None:
    """Stop the batches; what left must be what the store says that left.

    Raises:
        RuntimeError: it is not, or the queue had run empty.
    """
    if not staffed.progress(batch_ids)["queued"]:
        raise RuntimeError("the queue ran empty: the window does not count")
    staffed.hold(batch_ids)

    def at_rest() -> bool:
        counts = staffed.progress(batch_ids)
        return not counts["leased"] and not counts["submitting"]

    wait_until(at_rest, what="nothing in flight")
    counts = staffed.progress(batch_ids)
    n_left = counts["sent"] + counts["delivered"]
    if n_left != len(ledger.read()):
        raise RuntimeError(f"the store says {n_left} left, the ledger {len(ledger.read())}")


def _median(runs: list[Row]) -> Row:
    def of(name: str) -> float | None:
        values = [getattr(run, name) for run in runs]
        return None if None in values else statistics.median(values)

    return Row(**{name: of(name) for name in Row.__dataclass_fields__})  # type: ignore[arg-type]  # None where the field has it


_HEAD: Final = (
    "| modems | latency s | messages/s | ceiling/s | of ceiling | line utilisation "
    "| CPU s/1,000 | daemon cores | simulator cores | RSS MB | loop lag p99 |\n"
    "|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
)


def _line(row: Row) -> str:
    utilisation = "–" if row.line_utilisation is None else f"{row.line_utilisation:.3f}"
    return (
        f"| {row.modems} | {row.latency_s:g} | {row.messages_per_s:.1f} | {row.ceiling_per_s:.1f} "
        f"| {row.of_ceiling:.3f} | {utilisation} | {row.daemon_cpu_s_per_1000:.2f} "
        f"| {row.daemon_cores:.2f} | {row.simulator_cores:.2f} | {row.rss_mb:.0f} "
        f"| ≤ {row.loop_lag_p99_s * 1000:g} ms |"
    )


if __name__ == "__main__":
    sys.exit(main())
