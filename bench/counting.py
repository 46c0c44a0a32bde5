"""What the side-by-side benchmark counts: the ledger against what was asked, and cost."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from meters import Taken, pss_mb

_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """The ledger against what was asked; each message has a number of its own."""

    asked: int
    missing: int  # never taken by the network
    doubled: int  # taken more than once
    copies: int  # taken beyond the first time, of all of them
    most: int  # how often the worst one was taken
    wrong: int  # taken, but never asked for, or with another text


def tally(asked: Mapping[str, str], taken: Iterable[Taken]) -> Tally:
    """Compare what was asked (number → text) with what the network took."""
    times: Counter[str] = Counter()
    wrong = 0
    for one in taken:
        if asked.get(one.to) == one.text:
            times[one.to] += 1
        else:
            wrong += 1
    return Tally(
        asked=len(asked),
        missing=len(asked) - len(times),
        doubled=sum(n > 1 for n in times.values()),
        copies=sum(n - 1 for n in times.values()),
        most=max(times.values(), default=0),
        wrong=wrong,
    )


def window_rate(taken: Sequence[Taken], *, begin: float, end: float) -> float:
    """Segments a second between two moments, each modem's counted as growing evenly.

    So it makes no difference where between two segments a window of a slow network ends. A modem
    that took nothing before or after the window is counted segment by segment: a stall counts in
    full.
    """
    by_modem: dict[str, list[float]] = {}
    for one in taken:
        by_modem.setdefault(one.modem, []).append(one.at)
    total = 0.0
    for times in map(sorted, by_modem.values()):
        if times[0] <= begin and times[-1] > end:
            total += _grown(times, end) - _grown(times, begin)
        else:
            total += sum(begin < at <= end for at in times)
    return total / (end - begin)


def _grown(times: Sequence[float], moment: float) -> float:
    after = next(place for place, at in enumerate(times) if at > moment)
    return after + (moment - times[after - 1]) / (times[after] - times[after - 1])


def members(sessions: Collection[int]) -> list[int]:
    """The processes that belong to any of these sessions now."""
    found = []
    for folder in Path("/proc").iterdir():
        fields = _stat(int(folder.name)) if folder.name.isdigit() else []
        if fields and fields[0] != "Z" and int(fields[3]) in sessions:
            found.append(int(folder.name))
    return found


def session_cpu_seconds(sessions: Collection[int]) -> float:
    """User and system time of all processes of these sessions, with children that ended."""
    total = 0
    for pid in members(sessions):
        if fields := _stat(pid):
            total += sum(int(field) for field in fields[11:15])
    return total / _TICKS


def session_pss_mb(sessions: Collection[int]) -> float:
    """Their resident memory, shared pages divided among their users (10^6 octets)."""
    total = 0.0
    for pid in members(sessions):
        try:
            total += pss_mb(pid)
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile
    return total


def _stat(pid: int) -> list[str]:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text.rpartition(")")[2].split()
