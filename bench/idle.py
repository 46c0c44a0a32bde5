"""What a bank costs that has nothing to do: CPU and memory of the daemon with idle, READY modems.

The baseline in the same run is the same daemon on a bank of one modem: what is left is the modems'.

    .venv/bin/python bench/idle.py --modems 64 --seconds 60
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass
from typing import Final

from banks import open_staffed
from meters import cpu_seconds, pss_mb, rss_mb

_SETTLE: Final = 5.0  # seconds after the last modem is READY
_MOST_CORE_SHARE: Final = 0.03
_MOST_RSS_MB: Final = 200.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table; `core_share` of one core."""

    modems: int
    seconds: float
    core_share: float
    rss_mb: float
    pss_mb: float


def main() -> int:
    options = _options()
    rows = [_measure(n, seconds) for n, seconds in ((1, 20.0), (options.modems, options.seconds))]
    if options.json:
        print(json.dumps([asdict(row) for row in rows]))
    else:
        print("| modems | seconds | of one core | RSS MB | PSS MB |\n|---:|---:|---:|---:|---:|")
        for row in rows:
            print(
                f"| {row.modems} | {row.seconds:.0f} | {row.core_share:.2%} "
                f"| {row.rss_mb:.0f} | {row.pss_mb:.0f} |"
            )
        one, many = rows
        n = many.modems - one.modems
        each = (many.core_share - one.core_share) / n, (many.rss_mb - one.rss_mb) / n
        print(f"\neach further modem: {each[0]:.3%} of one core, {each[1]:.2f} MB")
    last = rows[-1]
    is_met = last.core_share < _MOST_CORE_SHARE and last.rss_mb < _MOST_RSS_MB
    verdict = "met" if is_met else "NOT met"
    print(f"target < {_MOST_CORE_SHARE:.0%} and < {_MOST_RSS_MB:.0f} MB: {verdict}",
          file=sys.stderr)  # fmt: skip
    return 0 if is_met else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0],
        epilog="Exit status 1 where the target (64 modems: < 3 %% of a core, < 200 MB) is not met.",
    )
    parser.add_argument("--modems", type=int, default=64, help="size of the bank (default 64)")
    parser.add_argument("--seconds", type=float, default=90.0, help="length of the window")
    parser.add_argument("--json", action="store_true", help="one JSON array instead of a table")
    options = parser.parse_args()
    if options.modems < 2:
        parser.error("--modems: at least 2; 1 is the baseline")
    return options


def _measure(n_modems: int, seconds: float) -> Row:
    with open_staffed(n_modems=n_modems, latency=0.3, seed=1) as staffed:
        pid = staffed.world.daemon_pid
        time.sleep(_SETTLE)
        cpu, begin = cpu_seconds(pid), time.monotonic()
        time.sleep(seconds)
        cpu, lasted = cpu_seconds(pid) - cpu, time.monotonic() - begin
        if staffed.n_ready() != n_modems:
            raise RuntimeError("a modem left READY meanwhile: this was not idle")
        return Row(
            modems=n_modems,
            seconds=lasted,
            core_share=cpu / lasted,
            rss_mb=rss_mb(pid),
            pss_mb=pss_mb(pid),
        )


if __name__ == "__main__":
    sys.exit(main())
