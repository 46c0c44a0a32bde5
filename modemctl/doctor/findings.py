"""What a check says: a verdict, what was seen, and the cure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"  # works now, or cannot be judged from here
    FAIL = "fail"  # the daemon, or one of its ports, does not work like this


_GRAVITY = {Verdict.OK: 0, Verdict.WARN: 1, Verdict.FAIL: 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One fact judged. `check` names what was looked at; `cure` is empty where all is well."""

    check: str
    verdict: Verdict
    seen: str
    cure: str = ""


def ok(check: str, seen: str) -> Finding:
    """All is well."""
    return Finding(check=check, verdict=Verdict.OK, seen=seen)


def warn(check: str, seen: str, cure: str) -> Finding:
    """It works now, or nobody can tell from here."""
    return Finding(check=check, verdict=Verdict.WARN, seen=seen, cure=cure)


def fail(check: str, seen: str, cure: str) -> Finding:
    """It does not work like this."""
    return Finding(check=check, verdict=Verdict.FAIL, seen=seen, cure=cure)


def exit_status(findings: Iterable[Finding]) -> int:
    """0 all is well, 1 there are warnings, 2 something fails; as monitoring plug-ins say it."""
    return max((_GRAVITY[finding.verdict] for finding in findings), default=0)


def some(names: Iterable[str], most: int = 6) -> str:
    """The first names of a list and how many more there are: a bank has hundreds of ports."""
    every = list(names)
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more
