"""Authority is granted by two administrators: one asks, the other confirms (SEC-01, SEC-04).

An authorisation for a step of a chain, an approver's key, and the role of an administrator: none of
them is one person's to give, so that nobody makes a whole chain of approvals by himself.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from modemctl.errors import Conflict, InvalidRequest, NotFound, PolicyRefused
from modemctl.model import Topic
from modemctl.service import dual
from modemctl.service.authority_fields import (
    LATEST,
    base64url,
    check_public_key,
    check_reference,
    check_span,
    iso,
    require_person,
    thumbprint,
)
from modemctl.service.departments import require_department
from modemctl.service.dual import DualKind, DualView
from modemctl.service.principal import ADMINISTRATOR, Principal, Scope
from modemctl.store import Store, Tx
from modemctl.store import authorities as rows
from modemctl.store.accounts import Account, change_account, find_account, find_account_named
from modemctl.store.authorities import ALL_DEPARTMENTS, OPERATOR
from modemctl.store.dual import DualRequest

_KEY_LIFE: Final = timedelta(days=365)


class Act(StrEnum):
    """What a request of the kind `grant` gives."""

    AUTHORISE = "authorise"
    APPROVER_KEY = "approver_key"
    ADMINISTRATOR = "administrator"


class Grants:
    """Asks for authority, and gives it when a second administrator confirms."""

    def __init__(
        self, store: Store, *, steps: Collection[str], life: timedelta = dual.LIFE
    ) -> None:
        """`steps` are the words of all configured chains; `life` is how long a request lasts."""
        self._store = store
        self._kinds = frozenset(steps)
        self._life = life

    async def authorise(
        self,
        who: Principal,
        *,
        account_id: str,
        kind: str,
        department: str,
        valid_from: datetime | None,
        valid_until: datetime,
        reference: str,
    ) -> DualView:
        """Ask that an account may act as `kind`, a step of a chain, for a department (`*`: all).

        It counts from now where `valid_from` is None. `reference` names the signed form.

        Raises:
            NotPermitted: without `accounts:write`.
            NotFound: no such account, or of a department that one does not see.
            InvalidRequest: an unknown kind, a department or span that cannot be, no reference.
            Conflict: the account is not an active person.
            PolicyRefused: SEC-01, oneself; SMS-06, an operator; SEC-04, a machine asks.
        """
        self._check_kind(kind, department)
        form = check_reference(reference)
        if not who.sees(department):
            raise NotFound("no such department", field="department", value=department[:80])

        def act(tx: Tx) -> DualView:
            if department != ALL_DEPARTMENTS:
                require_department(tx.conn, tx.vault, department, policy="SEC-01")
            begin = valid_from or tx.now
            check_span(begin, valid_until, tx.now)
            account = self._subject(tx, who, account_id)
            details = {
                "act": Act.AUTHORISE.value,
                "kind": kind,
                "department": department,
                "from": begin.isoformat(),
                "until": valid_until.isoformat(),
                "reference": form,
            }
            return self._ask(tx, who, account, details, reason=form)

        return await self._store.write(act)

    async def register_key(
        self,
        who: Principal,
        account_id: str,
        *,
        public_key: bytes,
        valid_from: datetime | None = None,
        valid_until: datetime | None = None,
    ) -> DualView:
        """Ask that a person signs with an Ed25519 public key (32 octets).

        Its `kid` is its RFC 7638 thumbprint. It counts from now and for a year, unless told
        otherwise.

        Raises:
            NotPermitted: without `accounts:write`.
            NotFound: no such account, or of a department that one does not see.
            InvalidRequest: not a public key, or a span that cannot be.
            Conflict: the key is registered already, or the account is not an active person.
            PolicyRefused: SEC-01, one's own account; SEC-04, a machine asks.
        """
        who.require(Scope.ACCOUNTS_WRITE)
        if account_id == who.account_id:
            raise _not_oneself()
        check_public_key(public_key)
        kid = thumbprint(public_key)

        def act(tx: Tx) -> DualView:
            begin = valid_from or tx.now
            end = valid_until or min(begin, LATEST) + _KEY_LIFE
            check_span(begin, end, tx.now)
            account = self._subject(tx, who, account_id)
            _require_new_key(tx, kid)
            details = {
                "act": Act.APPROVER_KEY.value,
                "kid": kid,
                "public_key": base64url(public_key),
                "from": begin.isoformat(),
                "until": end.isoformat(),
            }
            return self._ask(tx, who, account, details, reason=f"public key {kid}")

        return await self._store.write(act)

    async def promote(self, who: Principal, account_id: str, *, reason: str) -> DualView:
        """Ask that a person becomes an administrator.

        Raises:
            NotPermitted: without `accounts:write`.
            NotFound: no such account, or of a department that one does not see.
            InvalidRequest: no reason.
            Conflict: the account is not an active person, or an administrator already.
            PolicyRefused: SEC-01, oneself; SEC-04, a machine asks.
        """

        def act(tx: Tx) -> DualView:
            account = self._subject(tx, who, account_id)
            _require_no_administrator(account)
            return self._ask(tx, who, account, {"act": Act.ADMINISTRATOR.value}, reason=reason)

        return await self._store.write(act)

    def perform(self, tx: Tx, request: DualRequest) -> None:
        """Give what two administrators have agreed on, in the transaction that confirms it.

        Raises:
            NotFound, InvalidRequest, Conflict: it cannot be given any more.
            PolicyRefused: SEC-01, one of the two is the one whom it is given to.
        """
        account = find_account_named(tx.conn, tx.vault, request.subject)
        if account is None:
            raise NotFound("no such account", field="subject", value=request.subject)
        require_person(account)
        if account.account_id in {request.asked_by, request.decided_by}:
            raise _not_oneself()
        match Act(request.details["act"]):
            case Act.AUTHORISE:
                self._authorise(tx, request, account)
            case Act.APPROVER_KEY:
                _register(tx, request, account)
            case Act.ADMINISTRATOR:
                _promote(tx, request, account)

    def _authorise(self, tx: Tx, request: DualRequest, account: Account) -> None:
        details = request.details
        begin, end = _span_of(details, tx.now)
        self._check_kind(details["kind"], details["department"])
        new = rows.add_authorisation(
            tx,
            kind=details["kind"],
            department=details["department"],
            account_id=account.account_id,
            valid_from=begin,
            valid_until=end,
            granted_by=request.asked_by,
            request_id=request.request_id,
        )
        facts = {name: details[name] for name in ("kind", "department", "reference")}
        span = {"from": iso(begin), "until": iso(end)}
        _audit(tx, request, "authorisation.grant", str(new.authorisation_id), facts | span)

    def _check_kind(self, kind: str, department: str) -> None:
        if kind == OPERATOR:
            raise PolicyRefused(
                "SMS-06",
                "an operator is applied for by the department and filed by the general department",
                field="kind",
                cure="the department's manager: modemctl operator apply NAME …",
            )
        if kind not in self._kinds:
            raise InvalidRequest(
                "no such kind of authorisation",
                field="kind",
                value=kind[:80],
                cure=f"choose from {', '.join(sorted(self._kinds))}",
            )
        if not (0 < len(department) <= 128 and department.isprintable()):
            raise InvalidRequest("must be 1 to 128 printable characters", field="department")

    def _subject(self, tx: Tx, who: Principal, account_id: str) -> Account:
        who.require(Scope.ACCOUNTS_WRITE)
        if account_id == who.account_id:
            raise _not_oneself()
        account = find_account(tx.conn, tx.vault, account_id)
        if account is None or not who.sees(account.department):
            raise NotFound("no such account", field="account_id", value=account_id[:80])
        return require_person(account)

    def _ask(
        self,
        tx: Tx,
        who: Principal,
        account: Account,
        details: Mapping[str, str],
        *,
        reason: str,
    ) -> DualView:
        asked = dual.ask(
            tx,
            who,
            kind=DualKind.GRANT,
            subject=account.name,
            details=details,
            reason=reason,
            life=self._life,
        )
        return dual.view(asked, tx.now)


def _register(tx: Tx, request: DualRequest, account: Account) -> None:
    octets = base64.urlsafe_b64decode(request.details["public_key"] + "=")
    begin, end = _span_of(request.details, tx.now)
    kid = thumbprint(octets)
    _require_new_key(tx, kid)
    rows.add_approver_key(
        tx,
        kid=kid,
        account_id=account.account_id,
        public_key=octets,
        valid_from=begin,
        valid_until=end,
    )
    _audit(tx, request, "approver_key.register", kid, {"until": iso(end)})


def _promote(tx: Tx, request: DualRequest, account: Account) -> None:
    _require_no_administrator(account)
    after = change_account(tx, account, roles=[*account.roles, ADMINISTRATOR])
    tx.audit(
        request.decided_name or "",
        "account.change",
        after.name,
        {
            "before": {"department": account.department, "roles": list(account.roles)},
            "after": {"department": after.department, "roles": list(after.roles)},
            "request": request.request_id,
            "asked_by": request.asked_name,
            "policy": "SEC-01",
        },
    )
    tx.wake(Topic.STOP)


def _require_new_key(tx: Tx, kid: str) -> None:
    if rows.find_approver_key(tx.conn, tx.vault, kid) is not None:
        raise Conflict(
            "this public key is registered already",
            field="public_key",
            cure="make a key pair that nobody else holds",
            policy="CC-03",
        )


def _require_no_administrator(account: Account) -> None:
    if ADMINISTRATOR in account.roles:
        raise Conflict(f"account {account.name} is an administrator already")


def _span_of(details: Mapping[str, str], now: datetime) -> tuple[datetime, datetime]:
    begin, end = (datetime.fromisoformat(details[name]) for name in ("from", "until"))
    check_span(begin, end, now)
    return begin, end


def _not_oneself() -> PolicyRefused:
    return PolicyRefused("SEC-01", "nobody authorises himself", cure="ask another administrator")


def _audit(
    tx: Tx, request: DualRequest, action: str, subject: str, facts: Mapping[str, str]
) -> None:
    """The entry is the confirmer's; who asked, and by which request, stands in it (SEC-11)."""
    details = {"account": request.subject, "asked_by": request.asked_name, **facts}
    request_id = {"request": request.request_id, "policy": "SEC-01"}
    tx.audit(request.decided_name or "", action, subject, {**details, **request_id})
