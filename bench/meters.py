"""What the benchmarks read: processes from /proc, the daemon's metrics, the simulator's ledger."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

_BUCKET: Final = re.compile(r'^(\w+)_bucket\{.*le="([^"]+)".*\} (\S+)$', re.MULTILINE)


def cpu_seconds(pid: int) -> float:
    """User and system time that a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mb(pid: int) -> float:
    """Resident memory (10^6 octets)."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def pss_mb(pid: int) -> float:
    """Resident memory with shared pages divided among their users (10^6 octets)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise ValueError("this kernel tells no PSS")


def histogram(metrics: str, name: str) -> dict[float, float]:
    """A histogram of the exporter's text: upper bound → cumulated count."""
    return {
        float(bound): float(count)
        for found, bound, count in _BUCKET.findall(metrics)
        if found == name
    }


def quantile_bound(
    before: Mapping[float, float], after: Mapping[float, float], quantile: float
) -> float:
    """The bucket's upper bound under which `quantile` of what was observed between lies."""
    grown = {bound: count - before.get(bound, 0.0) for bound, count in sorted(after.items())}
    total = grown.get(math.inf, 0.0)
    if total == 0:
        return math.nan
    return next(bound for bound, count in grown.items() if count >= quantile * total)


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """One segment that the simulated network took; `at` in seconds since 1970."""

    at: float
    modem: str
    to: str
    text: str


class LedgerReader:
    """Follows a ledger file without reading it anew each time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self.taken: list[Taken] = []

    def read(self) -> Sequence[Taken]:
        """All segments taken so far."""
        with self._path.open("rb") as file:
            file.seek(self._offset)
            new = file.read()
        new = new[: new.rfind(b"\n") + 1]
        self._offset += len(new)
        for line in new.splitlines():
            fact = json.loads(line)
            if fact["kind"] == "submit":
                at = datetime.fromisoformat(fact["time"]).timestamp()
                self.taken.append(
                    Taken(at=at, modem=fact["modem"], to=fact["destination"], text=fact["text"])
                )
        return self.taken


def rate(taken: Sequence[Taken], *, begin: float, end: float) -> float:
    """Segments a second between two moments at which every modem was at work.

    Each modem's count is taken as growing evenly from one segment to its next, so that it makes no
    difference where between two segments the window begins and ends; a stall counts in full.

    Raises:
        ValueError: a modem took nothing before `begin` or after `end`: the queue was not full.
    """
    by_modem: dict[str, list[float]] = {}
    for one in taken:
        by_modem.setdefault(one.modem, []).append(one.at)
    total = sum(
        _count_at(sorted(times), end) - _count_at(sorted(times), begin)
        for times in by_modem.values()
    )
    return total / (end - begin)


def _count_at(times: Sequence[float], moment: float) -> float:
    after = next((place for place, at in enumerate(times) if at > moment), None)
    if not after:  # nothing after, or nothing before
        raise ValueError("a modem had nothing to do at an end of the window")
    return after + (moment - times[after - 1]) / (times[after] - times[after - 1])
