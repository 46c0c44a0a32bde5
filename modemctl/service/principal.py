"""Who asks, and what roles let them do (SEC-01)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from modemctl.errors import NotPermitted, PolicyRefused
from modemctl.model import AccountId


class Scope(StrEnum):
    """One kind of act. A role is a set of them."""

    BATCHES_SUBMIT = "batches:submit"
    BATCHES_CONFIRM = "batches:confirm"
    BATCHES_APPROVE = "batches:approve"
    BATCHES_OPERATE = "batches:operate"  # start, hold, resume, cancel
    BATCHES_READ = "batches:read"
    DOUBT_DECIDE = "doubt:decide"
    STOPS_PLACE = "stops:place"
    STOPS_LIFT = "stops:lift"
    CASES_READ = "cases:read"
    CASES_WRITE = "cases:write"  # violation cases: open, decide, review
    INCIDENTS_READ = "incidents:read"
    INCIDENTS_WRITE = "incidents:write"  # open, isolate, note, close
    INCIDENTS_ACKNOWLEDGE = "incidents:acknowledge"
    MODEMS_READ = "modems:read"
    MODEMS_OPERATE = "modems:operate"  # pause, reset, release, AT commands that read
    MODEMS_CONFIGURE = "modems:configure"  # AT commands that set
    SIMS_READ = "sims:read"
    SIMS_WRITE = "sims:write"
    SIMS_REQUEST = "sims:request"
    SIMS_REVIEW = "sims:review"  # sales: who asks, for what, in whose name
    SIMS_APPROVE = "sims:approve"  # the head of the card's department
    SIMS_PROVISION = "sims:provision"  # IT
    SIMS_ISSUE = "sims:issue"  # hand out; end a suspension
    INBOX_READ = "inbox:read"
    CALLS_READ = "calls:read"
    OPT_OUTS_WRITE = "opt_outs:write"
    CUSTOMERS_READ = "customers:read"
    CUSTOMERS_WRITE = "customers:write"  # whom a department's notices may go to (SMS-02)
    ACCOUNTS_READ = "accounts:read"
    ACCOUNTS_WRITE = "accounts:write"
    EVENTS_READ = "events:read"
    AUDIT_READ = "audit:read"
    RECORDS_WRITE = "records:write"  # legal holds, purge, erasure
    BACKUPS_KEEP = "backups:keep"  # make, copy, try (SEC-07)
    METRICS_READ = "metrics:read"
    WEBHOOKS_READ = "webhooks:read"
    WEBHOOKS_WRITE = "webhooks:write"  # where events are sent to
    EXPORTS_MAKE = "exports:make"  # SEC-09: no role of the working day holds it
    REPORTS_MAKE = "reports:make"  # of what one may read (SMS-05, SIM-15, SEC-05)
    REQUESTS_USE = "requests:use"  # acts of two persons: ask, decide; each kind has its own scope
    PII_READ = "pii:read"  # unmasked numbers and texts (TEL-11)
    SECRETS_READ = "secrets:read"  # incoming verification codes (SMS-12)


_READ: Final = frozenset(
    {Scope.BATCHES_READ, Scope.MODEMS_READ, Scope.SIMS_READ, Scope.CALLS_READ, Scope.EVENTS_READ,
     Scope.METRICS_READ, Scope.INCIDENTS_READ, Scope.REPORTS_MAKE}
)  # fmt: skip

ADMINISTRATOR: Final = "administrator"
"""The role that keeps accounts; two administrators give it together."""

ROLES: Final[Mapping[str, frozenset[Scope]]] = {
    ADMINISTRATOR: _READ
    | {Scope.ACCOUNTS_READ, Scope.ACCOUNTS_WRITE, Scope.MODEMS_OPERATE, Scope.SIMS_WRITE,
       Scope.REQUESTS_USE, Scope.STOPS_PLACE, Scope.STOPS_LIFT, Scope.INCIDENTS_WRITE,
       Scope.INCIDENTS_ACKNOWLEDGE, Scope.CASES_WRITE, Scope.WEBHOOKS_READ, Scope.WEBHOOKS_WRITE,
       Scope.BACKUPS_KEEP},
    "submitter": frozenset({Scope.BATCHES_SUBMIT, Scope.BATCHES_READ, Scope.EVENTS_READ}),
    "checker": frozenset({Scope.BATCHES_CONFIRM, Scope.BATCHES_READ, Scope.PII_READ}),
    "approver": frozenset(
        {Scope.BATCHES_APPROVE, Scope.BATCHES_READ, Scope.PII_READ, Scope.REQUESTS_USE,
         Scope.STOPS_PLACE, Scope.STOPS_LIFT, Scope.INCIDENTS_READ, Scope.INCIDENTS_WRITE,
         Scope.INCIDENTS_ACKNOWLEDGE, Scope.CASES_WRITE}
    ),
    "operator": _READ
    | {Scope.BATCHES_OPERATE, Scope.DOUBT_DECIDE, Scope.INBOX_READ, Scope.OPT_OUTS_WRITE,
       Scope.PII_READ, Scope.REQUESTS_USE, Scope.STOPS_PLACE, Scope.STOPS_LIFT,
       Scope.INCIDENTS_WRITE},
    "maintainer": _READ
    | {Scope.MODEMS_OPERATE, Scope.MODEMS_CONFIGURE, Scope.STOPS_PLACE, Scope.INCIDENTS_WRITE,
       Scope.BACKUPS_KEEP},
    "technician": _READ
    | {Scope.MODEMS_OPERATE, Scope.SIMS_WRITE, Scope.SIMS_PROVISION, Scope.SIMS_ISSUE,
       Scope.REQUESTS_USE, Scope.STOPS_PLACE, Scope.INCIDENTS_WRITE},
    "card_requester": frozenset({Scope.SIMS_READ, Scope.SIMS_REQUEST}),
    "sales": frozenset(
        {Scope.SIMS_READ, Scope.SIMS_WRITE, Scope.SIMS_REVIEW, Scope.SIMS_ISSUE, Scope.PII_READ,
         Scope.EVENTS_READ, Scope.REQUESTS_USE}
    ),
    "department_head": frozenset({Scope.SIMS_READ, Scope.SIMS_APPROVE, Scope.PII_READ}),
    "records": frozenset(
        {Scope.RECORDS_WRITE, Scope.REQUESTS_USE, Scope.AUDIT_READ, Scope.BATCHES_READ,
         Scope.EVENTS_READ}
    ),
    "exporter": frozenset({Scope.EXPORTS_MAKE, Scope.REPORTS_MAKE, Scope.REQUESTS_USE}),
    "customer_keeper": frozenset({Scope.CUSTOMERS_READ, Scope.CUSTOMERS_WRITE}),
    "auditor": _READ
    | {Scope.ACCOUNTS_READ, Scope.AUDIT_READ, Scope.INBOX_READ, Scope.REQUESTS_USE,
       Scope.CASES_READ, Scope.CASES_WRITE, Scope.CUSTOMERS_READ, Scope.WEBHOOKS_READ},
    "code_reader": frozenset({Scope.INBOX_READ, Scope.PII_READ, Scope.SECRETS_READ}),
    "monitor": frozenset({Scope.METRICS_READ, Scope.MODEMS_READ, Scope.EVENTS_READ}),
}  # fmt: skip
"""Roles and their scopes; an account may hold several."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """An authenticated account. `department` None sees all departments.

    `is_person` is whether it names a person; what persons decide is closed to a machine.
    `source` is where the request came from (`unix:uid=1000`, `tcp:127.0.0.1`), for the audit log.
    """

    account_id: AccountId
    name: str
    department: str | None
    scopes: frozenset[Scope]
    source: str
    is_person: bool = False

    def require(self, scope: Scope) -> None:
        """Refuse what the roles do not allow.

        Raises:
            NotPermitted: the scope is missing.
        """
        if scope not in self.scopes:
            raise NotPermitted(
                f"account {self.name} lacks {scope}",
                cure="ask an administrator for a role that holds it: "
                + ", ".join(sorted(name for name, held in ROLES.items() if scope in held)),
                policy="SEC-01",
            )

    def require_person(self, policy: str) -> None:
        """Refuse a machine's account what a person has to decide; `policy` says so.

        Raises:
            PolicyRefused: the account names a machine.
        """
        if not self.is_person:
            raise PolicyRefused(
                policy,
                f"a person decides this, and account {self.name} is a machine's",
                cure="let a person do it with his own account",
            )

    def require_all_departments(self) -> None:
        """Refuse what shows all departments to an account that sees one.

        Raises:
            NotPermitted: the account is of one department.
        """
        if self.department is not None:
            raise NotPermitted(
                f"account {self.name} sees department {self.department} only",
                cure="ask somebody whose account sees all departments",
                policy="SEC-01",
            )

    def sees(self, department: str | None) -> bool:
        """Whether data of this department may be shown to the account."""
        return self.department is None or department == self.department


def scopes_of(roles: frozenset[str]) -> frozenset[Scope]:
    """The union of the roles' scopes; unknown roles give none."""
    return frozenset(scope for role in roles for scope in ROLES.get(role, frozenset()))
