"""What the screening of the log looks at (SEC-05): which acts call for a second look, and why."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class Finding(StrEnum):
    """Why an entry of the log is looked at."""

    REFUSED = "refused"
    ACCOUNT = "account"
    FROZEN = "frozen"
    TWO_PERSONS = "two_persons"
    ELEVATION = "elevation"
    EXPORT = "export"
    PIN = "pin"
    RULES = "rules"
    EMERGENCY = "emergency"
    STOP = "stop"
    REMOVAL = "removal"
    ALTERED = "altered"
    ODD_HOURS = "odd_hours"


_BY_ACT: Final[Mapping[str, Finding]] = {
    "modem.at.refused": Finding.REFUSED,
    "request.refuse": Finding.REFUSED,
    "batch.refused": Finding.REFUSED,
    "batch.reject": Finding.REFUSED,
    "batch.disapprove": Finding.REFUSED,
    "key.unfreeze": Finding.FROZEN,
    "audit.export": Finding.EXPORT,
    "pin.reveal": Finding.PIN,
    "pin_import.add": Finding.PIN,
    "pin_import.resume": Finding.PIN,
    "batch.emergency": Finding.EMERGENCY,
    "batch.emergency_reviewed": Finding.EMERGENCY,
    "batch.emergency_refused": Finding.EMERGENCY,
    "batch.emergency_overdue": Finding.EMERGENCY,
    "opt_out.remove": Finding.REMOVAL,
    "store.altered": Finding.ALTERED,
    "evidence.package": Finding.EXPORT,
}
_BY_FAMILY: Final[Mapping[str, Finding]] = {
    "account": Finding.ACCOUNT,
    "key": Finding.ACCOUNT,
    "authorisation": Finding.ACCOUNT,
    "approver_key": Finding.ACCOUNT,
    "request": Finding.TWO_PERSONS,
    "elevation": Finding.ELEVATION,
    "export": Finding.EXPORT,
    "puk": Finding.PIN,
    "policy": Finding.RULES,
    "party": Finding.RULES,
    "vault": Finding.RULES,
    "stop": Finding.STOP,
    "purge": Finding.REMOVAL,
    "erasure": Finding.REMOVAL,
    "hold": Finding.REMOVAL,
}
"""The family of acts (what stands before the point) → why each of them is looked at."""

AUDIT_PAPERS: Final = frozenset({"screening", "spot_check", "month_audit", "year_audit", "access"})
"""Kinds of reports whose making is the audit's own work."""
COUNTED: Final = "access.counted"
"""The daemon's own count of refusals, and of who came from where."""
_OWN_WORK: Final = frozenset({"audit.sample", "audit.verify"})


def findings(
    action: str, details: Mapping[str, object], *, is_odd_hour: bool
) -> tuple[Finding, ...]:
    """Why an entry is looked at; none for what is usual.

    `is_odd_hour`: a person did it while nobody works.
    """
    family, _, _ = action.partition(".")
    found = _BY_ACT.get(action) or _BY_FAMILY.get(family)
    if action == "account.state" and details.get("after") == "frozen":
        found = Finding.FROZEN
    if action.startswith("report.") and details.get("is_masked") is False:
        found = Finding.EXPORT
    return (*(() if found is None else (found,)), *((Finding.ODD_HOURS,) if is_odd_hour else ()))


def is_audit_work(action: str, details: Mapping[str, object]) -> bool:
    """Whether an act is the audit's own: who screens the log stands in it, too.

    Taking out a report with personal data, or one of another kind, is none.
    """
    if action in _OWN_WORK:
        return True
    is_paper = action.startswith("report.") and details.get("kind") in AUDIT_PAPERS
    return is_paper and details.get("is_masked") is not False
