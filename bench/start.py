"""How long a whole bank takes to be READY, and what it costs once it is.

Two starts: `import` is a new site (the daemon runs, then the cards with their PINs are imported:
one canary, then 2, 4, 8 … at a time); `restart` is a server that comes up again: every modem gets
its power at the moment in which the daemon starts, so that the models' own boot time is in it. The
baseline in the same run is the same on a bank of one modem.

    .venv/bin/python bench/start.py --modems 512
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from banks import Staffed, metrics, open_staffed, wait_until
from meters import cpu_seconds, histogram, quantile_bound, rss_mb

from modemctl.cli.errors import ApiProblem, NoDaemon

_PATIENCE: Final = 600.0
_LAG: Final = "modemctl_loop_lag_seconds"
_MOST: Final = {"restart_s": 60.0, "core_share": 0.10, "rss_mb": 350.0, "loop_lag_p99_s": 0.02}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table; what follows `restart_cpu_s` is of the READY bank at rest."""

    modems: int
    import_s: float
    restart_s: float
    restart_cpu_s: float
    core_share: float
    rss_mb: float
    loop_lag_p99_s: float


def main() -> int:
    options = _options()
    rows = [_measure(n, options.seconds) for n in (1, options.modems)]
    if options.json:
        print(json.dumps([asdict(row) for row in rows]))
    else:
        _print(rows)
    missed = [name for name, most in _MOST.items() if asdict(rows[-1])[name] > most]
    print(f"target: {', '.join(missed) + ' NOT met' if missed else 'met'}", file=sys.stderr)
    return 1 if missed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0],
        epilog="Exit status 1 where the target (512 modems: READY in < 60 s; then < 10 %% of a "
        "core, < 350 MB, loop lag p99 < 20 ms) is not met.",
    )
    parser.add_argument("--modems", type=int, default=512, help="size of the bank (default 512)")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of the window at rest")
    parser.add_argument("--json", action="store_true", help="one JSON array instead of a table")
    options = parser.parse_args()
    if options.modems < 2:
        parser.error("--modems: at least 2; 1 is the baseline")
    return options


def _print(rows: list[Row]) -> None:
    print("| modems | import s | restart s | its CPU s | of one core | RSS MB | loop lag p99 |")
    print("|---:|---:|---:|---:|---:|---:|---:|")
    for row in rows:
        print(
            f"| {row.modems} | {row.import_s:.1f} | {row.restart_s:.1f} | {row.restart_cpu_s:.1f} "
            f"| {row.core_share:.2%} | {row.rss_mb:.0f} | ≤ {row.loop_lag_p99_s * 1000:.0f} ms |"
        )


def _measure(n_modems: int, seconds: float) -> Row:
    with open_staffed(n_modems=n_modems, latency=0.3, seed=1, patience=_PATIENCE) as staffed:
        _end(staffed.world.daemon_pid)
        for at in range(1, n_modems + 1):
            staffed.world.control(do="unplug", modem=at)
        begin = time.monotonic()
        with _daemon(staffed) as pid:
            for at in range(1, n_modems + 1):
                staffed.world.control(do="plug", modem=at)
            wait_until(lambda: _n_ready(staffed) == n_modems, what="READY", seconds=_PATIENCE)
            lasted, cpu_of_start = time.monotonic() - begin, cpu_seconds(pid)
            time.sleep(5)
            lag, cpu, begin = histogram(metrics(staffed.world), _LAG), cpu_seconds(pid), time.time()
            time.sleep(seconds)
            share = (cpu_seconds(pid) - cpu) / (time.time() - begin)
            if _n_ready(staffed) != n_modems:
                raise RuntimeError("a modem left READY meanwhile: this was not rest")
            return Row(
                modems=n_modems,
                import_s=staffed.import_seconds,
                restart_s=lasted,
                restart_cpu_s=cpu_of_start,
                core_share=share,
                rss_mb=rss_mb(pid),
                loop_lag_p99_s=quantile_bound(lag, histogram(metrics(staffed.world), _LAG), 0.99),
            )


def _n_ready(staffed: Staffed) -> int:
    try:
        return staffed.n_ready()
    except (ApiProblem, NoDaemon):
        return 0  # it is not up yet


@contextmanager
def _daemon(staffed: Staffed) -> Iterator[int]:
    """Another daemon on the same site; yields its process id."""
    config = staffed.world.connection.config_path
    log = staffed.world.folder / "daemon.log"
    with log.open("a") as stderr:
        daemon = subprocess.Popen(
            [sys.executable, "-m", "modemctl", "--config", str(config), "run"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            start_new_session=True,
        )
    try:
        yield daemon.pid
    finally:
        daemon.terminate()
        daemon.wait(timeout=_PATIENCE)


def _end(pid: int) -> None:
    """End the first daemon in order; its parent waits for it later."""
    os.kill(pid, signal.SIGTERM)
    stat = Path(f"/proc/{pid}/stat")
    wait_until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "Z", what="its end")


if __name__ == "__main__":
    sys.exit(main())
