"""How problems read on a terminal, and the exit statuses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from modemctl.errors import ModemctlError, RequestError

EXIT_REFUSED: Final = 1
"""The daemon refused, or something asked for is not so."""
EXIT_CONFIG: Final = 78
"""The daemon cannot start as configured (sysexits: EX_CONFIG)."""
EXIT_INTERRUPTED: Final = 130
"""Ctrl-C."""


class ApiProblem(ModemctlError):
    """A problem+json answer of the daemon (RFC 9457)."""

    def __init__(self, status: int, problem: Mapping[str, object]) -> None:
        self.status = status
        self.problem = problem
        super().__init__(self._text())

    def _text(self) -> str:
        problem = self.problem
        faults = problem.get("errors")
        each = (
            [one for one in faults if isinstance(one, Mapping)] if isinstance(faults, list) else []
        )
        cures = dict.fromkeys(str(one["cure"]) for one in (*each, problem) if one.get("cure"))
        told = [_fault(one) for one in each] if len(each) > 1 else [_fault(problem)]
        if len(each) > 1:
            told.insert(0, f"{len(each)} things are wrong:")
        return printable("\n  ".join([*told, *(f"→ {cure}" for cure in cures)]))


class NoDaemon(ModemctlError):
    """Nobody answers on the socket."""


class Refusal(ModemctlError):
    """The command itself refuses, before the daemon is asked; `cure` says what to do."""

    def __init__(self, rule: str, *, cure: str = "") -> None:
        super().__init__(rule + (f"\n  → {cure}" if cure else ""))


def explain(error: ModemctlError) -> str:
    """One line (and a cure below it) for a person."""
    if isinstance(error, RequestError) and error.cure:
        return str(error).replace(f"; {error.cure}", "", 1) + f"\n  → {error.cure}"
    return str(error)


def printable(text: str) -> str:
    """Text from outside without what would command the terminal; tabs and line ends stay.

    Control characters and such that turn the direction of writing are shown by their numbers.
    """
    return "".join(
        char if char.isprintable() or char in _HARMLESS else _escaped(char) for char in text
    )


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode()


_HARMLESS: Final = frozenset("\n\t\u00a0\u2002\u2003\u2009\u200a\u200c\u200d\u202f\u3000")
"""Not printable in Python's eyes, yet they command nothing: gaps, and what joins emoji."""


def _fault(one: Mapping[str, object]) -> str:
    where = f"{one['field']}: " if one.get("field") else ""
    what = one.get("rule") or one.get("detail") or one.get("title") or "refused"
    value = f" (got {one['value']})" if one.get("value") not in {None, ""} else ""
    policy = f" [policy: {one['policy']}]" if one.get("policy") else ""
    return f"{where}{what}{value}{policy}"
