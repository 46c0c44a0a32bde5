"""What a caller cannot go on with. Expected outcomes are values, not exceptions.

Each refusal names the field, the value (masked where personal), the rule and the cure; one that
serves a company rule names the rule's id (`modemctl.policy.rules`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

_LISTED: Final[Mapping[str, str]] = {
    "account": "modemctl account list",
    "account_id": "modemctl account list",
    "backup_id": "modemctl backup list",
    "batch_id": "modemctl batch list",
    "case_id": "modemctl case list",
    "elevation_id": "modemctl elevation list",
    "evidence": "modemctl audit list",
    "export_id": "modemctl export list",
    "handover_id": "modemctl handover list",
    "hold_id": "modemctl hold list",
    "iccid": "modemctl sims list",
    "import_id": "modemctl sims pin-imports",
    "inbox_id": "modemctl inbox",
    "incident_id": "modemctl incident list --all",
    "key_id": "modemctl key list ACCOUNT",
    "kid": "modemctl account show NAME",
    "message_id": "modemctl message list",
    "person": "modemctl account list",
    "report_id": "modemctl report list",
    "request_id": "modemctl request list",
    "stop_id": "modemctl stops list --all",
    "subject": "modemctl account list",
    "webhook": "modemctl webhook list",
}
"""What lists the things that a field names."""


class ModemctlError(Exception):
    """Root of everything that the controller raises on purpose."""


class RequestError(ModemctlError):
    """Root of refusals that go back to whoever asked.

    Args:
        rule: what is asked of the value, in one clause.
        cure: what to do about it.
        field: the field or parameter it is about.
        value: the offending value; masked by the caller where it is personal.
        policy: id of the company rule that it serves (`SMS-03`).
    """

    _cures: ClassVar[Mapping[str, str]] = {}
    """By field, what to do where the refusal names no cure of its own."""

    def __init__(
        self,
        rule: str,
        *,
        cure: str = "",
        field: str | None = None,
        value: str | None = None,
        policy: str | None = None,
    ) -> None:
        cure = cure or self._cures.get(field or "", "")
        where = "" if field is None else f"{field}: "
        what = "" if value is None else f" (got {value!r})"
        tail = f"; {cure}" if cure else ""
        mark = f" [policy: {policy}]" if policy else ""
        super().__init__(f"{where}{rule}{what}{tail}{mark}")
        self.rule = rule
        self.cure = cure
        self.field = field
        self.value = value
        self.policy = policy


class InvalidRequest(RequestError):
    """The request itself is wrong; asking again unchanged cannot help (HTTP 422)."""


class NotFound(RequestError):
    """No such thing, or not visible to who asks (HTTP 404).

    Without a cure of its own it names the command that lists what there is.
    """

    _cures: ClassVar[Mapping[str, str]] = {
        field: f"those that you may see: {known}" for field, known in _LISTED.items()
    }


class Conflict(RequestError):
    """Right in itself, but not in the present state (HTTP 409)."""


class PolicyRefused(RequestError):
    """A company rule forbids it (HTTP 403); `policy` is always set."""

    def __init__(
        self,
        policy: str,
        rule: str,
        *,
        cure: str = "",
        field: str | None = None,
        value: str | None = None,
    ) -> None:
        super().__init__(rule, cure=cure, field=field, value=value, policy=policy)


class NotPermitted(RequestError):
    """Who asks lacks the scope or the role (HTTP 403)."""


class NotAuthenticated(RequestError):
    """Nobody known asks: no key, a wrong, expired or frozen one (HTTP 401)."""


class StoreError(ModemctlError):
    """The database cannot be written or read now; what was asked did not happen."""


class CommitUnanswered(StoreError):
    """The COMMIT had no answer: what was asked may have happened, and the rows tell."""


class NameTaken(StoreError):
    """Another daemon works on the database under this node's name, or keeps others out."""


class ConfigError(ModemctlError):
    """The daemon cannot start as configured; all problems at once. Exit status 78."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class TamperedError(ModemctlError):
    """Stored bytes do not open, or a MAC or signature does not fit: build nothing on them."""
