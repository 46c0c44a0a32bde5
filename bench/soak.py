"""Half an hour of a bank in turmoil with people at work: nothing lost, nothing twice, no growth.

256 simulated modems, half of which meet faults all the time (answers withheld, spoiled and late,
resets, ports gone, hubs and cards pulled, no coverage, a database that stalls); reports, SMS and
calls come in; people keep an approved queue fed over the API, look at everything in turn and
scrape the metrics. It is `tests/chaos/test_soak.py` at full length: the same judge compares the
store with the network's ledger as in the short tests.

    .venv/bin/python bench/soak.py
    .venv/bin/python bench/soak.py --modems 32 --minutes 3 --seed 7
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).parents[1]
_SETTLE: Final = 2400.0
"""Seconds beside the soak itself: the bank's start, what is left to send, the judgement."""


def main() -> int:
    options = _options()
    print(f"load average before: {os.getloadavg()[0]:.2f} on {os.cpu_count()} cores", flush=True)
    room = Path(tempfile.mkdtemp(prefix="soak-"))
    out = room / "soak.json"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider",
         "--basetemp", str(room / "t"), "tests/chaos/test_soak.py"],
        cwd=_ROOT,
        env={**os.environ, "PYTHONPATH": str(_ROOT), "SOAK_MODEMS": str(options.modems),
             "SOAK_MINUTES": str(options.minutes), "MODEMCTL_SEED": str(options.seed),
             "SOAK_JSON": str(out)},
        stdout=sys.stderr if options.json else None,
        check=False,
        timeout=options.minutes * 120 + _SETTLE,
    )  # fmt: skip
    if options.json and out.exists():
        print(out.read_text())
    if options.keep and out.exists():
        options.keep.write_text(out.read_text())
    print(f"load average after: {os.getloadavg()[0]:.2f}", file=sys.stderr)
    if done.returncode:
        print(f"store, ledger and logs are kept: {room}", file=sys.stderr)
        return 1
    shutil.rmtree(room)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0],
        epilog="Exit status 1 where anything is found: a segment twice, without end, in doubt with"
        " no cause, an SMS or a call missing, memory or tasks that grew by 5 % after warm-up."
        " Example: bench/soak.py --modems 32 --minutes 3 --json",
    )
    parser.add_argument("--modems", type=int, default=256, help="of the bank (default 256)")
    parser.add_argument("--minutes", type=float, default=30.0, help="of turmoil (default 30)")
    parser.add_argument("--seed", type=int, default=20261123, help="another one, another story")
    parser.add_argument("--json", action="store_true", help="print JSON; the rest to stderr")
    parser.add_argument("--keep", type=Path, help="write the JSON, all samples in it, here")
    options = parser.parse_args()
    if options.modems < 12 or options.minutes <= 0:
        parser.error("at least 12 modems (hubs are pulled) and more than 0 minutes")
    return options


if __name__ == "__main__":
    sys.exit(main())
