"""Which backups are kept, and what their files are called (SEC-07)."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Final

SUFFIX: Final = ".tar.age"
"""How a whole backup's name ends."""
PART: Final = ".part"
"""What a name has at its end until the file is whole."""

_N_TIME: Final = len("20260101T000000Z")
_NAME: Final = re.compile(r"modemctl-[A-Za-z0-9_.-]{1,140}-\d{8}T\d{6}Z\.tar\.age")


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """Of how many days, weeks and months the last backup is kept; days are the site's."""

    days: int
    weeks: int
    months: int
    zone: tzinfo


def name_of(site: str, node: str, at: datetime) -> str:
    """The name of a backup's file."""
    return f"modemctl-{site}-{node}-{at.astimezone(UTC):%Y%m%dT%H%M%SZ}{SUFFIX}"


def is_of(name: str, site: str, node: str) -> bool:
    """Whether this node made the file of this name."""
    start = f"modemctl-{site}-{node}-"
    return name.startswith(start) and len(name) == len(start) + _N_TIME + len(SUFFIX)


def is_name(name: str) -> bool:
    """Whether a file of this name may be a backup of ours: no other is ever removed."""
    return _NAME.fullmatch(name) is not None


def outdated(made_at: Iterable[datetime], keeping: Keeping) -> frozenset[datetime]:
    """Those that no rule keeps; the newest is always kept.

    Days, weeks and months count that have a backup: a server that was off for a month keeps what it
    had before.
    """
    newest_first = sorted(set(made_at), reverse=True)
    kept = set(newest_first[:1])
    periods: tuple[tuple[int, Callable[[datetime], Hashable]], ...] = (
        (keeping.days, lambda at: at.date()),
        (keeping.weeks, lambda at: at.isocalendar()[:2]),
        (keeping.months, lambda at: (at.year, at.month)),
    )
    for n, period in periods:
        seen: set[Hashable] = set()
        for at in newest_first:
            own = period(at.astimezone(keeping.zone))
            if own in seen:
                continue
            if len(seen) >= n:
                break
            seen.add(own)
            kept.add(at)
    return frozenset(newest_first) - kept
