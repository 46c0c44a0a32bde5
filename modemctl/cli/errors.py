"""How problems read on a terminal, and the exit statuses."""

from __future__ import annotations

from typing import Final

from modemctl.errors import ModemctlError, RequestError

EXIT_REFUSED: Final = 1
"""The daemon refused, or something asked for is not so."""
EXIT_CONFIG: Final = 78
"""The daemon cannot start as configured (sysexits: EX_CONFIG)."""


class ApiProblem(ModemctlError):
    """A problem+json answer of the daemon (RFC 9457)."""

    def __init__(self, status: int, problem: dict[str, str | None]) -> None:
        self.status = status
        self.problem = problem
        super().__init__(self._text())

    def _text(self) -> str:
        problem = self.problem
        where = f"{problem['field']}: " if problem.get("field") else ""
        what = problem.get("rule") or problem.get("detail") or problem.get("title") or "refused"
        value = f" (got {problem['value']})" if problem.get("value") else ""
        policy = f" [policy: {problem['policy']}]" if problem.get("policy") else ""
        cure = f"\n  → {problem['cure']}" if problem.get("cure") else ""
        return f"{where}{what}{value}{policy}{cure}"


class NoDaemon(ModemctlError):
    """Nobody answers on the socket."""


def explain(error: ModemctlError) -> str:
    """One line (and a cure below it) for a person."""
    if isinstance(error, RequestError) and error.cure:
        return str(error).replace(f"; {error.cure}", "", 1) + f"\n  → {error.cure}"
    return str(error)
