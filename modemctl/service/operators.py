"""A department's operator: two managers sign, the general department files (SMS-06)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from modemctl.errors import InvalidRequest, NotFound, NotPermitted, PolicyRefused
from modemctl.service import dual
from modemctl.service.authority_fields import (
    check_reference,
    check_span,
    iso,
    require_person,
)
from modemctl.service.departments import require_department
from modemctl.service.dual import DualKind, DualView
from modemctl.service.principal import Principal, Scope
from modemctl.store import Store, Tx
from modemctl.store import authorities as rows
from modemctl.store.accounts import Account, find_account_named
from modemctl.store.authorities import ALL_DEPARTMENTS, OPERATOR, Authorisation
from modemctl.store.dual import DualRequest

__all__ = ["DEPARTMENT_MANAGER", "MANAGER_IN_CHARGE", "Operators"]

DEPARTMENT_MANAGER: Final = "department_manager"
"""The step of whoever authorises a department's operator."""
MANAGER_IN_CHARGE: Final = "manager_in_charge"
"""The step of whoever signs the application as well."""

_UNDERTAKING_MAX: Final = 80


class Operators:
    """Takes applications (《操作员申请表》) and files them once both managers have signed."""

    def __init__(
        self, store: Store, *, general_department: str, life: timedelta = dual.LIFE
    ) -> None:
        """`life` is how long an application waits for the second signature and for filing."""
        self._store = store
        self._general = general_department
        self._life = life

    async def apply(
        self,
        who: Principal,
        *,
        account: str,
        department: str,
        valid_from: datetime | None,
        valid_until: datetime,
        reference: str,
        undertaking: str,
        is_hand_over: bool = False,
    ) -> DualView:
        """The department's manager authorises an operator, by the name of the account.

        `undertaking` is the version of the undertaking that the operator has signed. With
        `is_hand_over` the operator of now ends when this one begins. The manager in charge
        confirms the request; then the general department files it.

        Raises:
            NotPermitted: without `batches:approve`.
            NotFound: no such account, or of a department that one does not see.
            InvalidRequest: a department or span that cannot be, no reference or undertaking.
            Conflict: the account is not an active person.
            PolicyRefused: SMS-06, not the department's manager, oneself, or the department has an
                operator in that time; SEC-04, a machine applies.
        """
        who.require(Scope.BATCHES_APPROVE)
        who.require_person("SEC-04")
        form = check_reference(reference)
        _check_department(department)
        if not 0 < len(undertaking.strip()) <= _UNDERTAKING_MAX:
            raise InvalidRequest(
                "must name the version of the undertaking that was signed",
                field="undertaking",
                policy="SMS-06",
            )

        def act(tx: Tx) -> DualView:
            require_department(tx.conn, tx.vault, department, policy="SMS-06")
            begin = valid_from or tx.now
            check_span(begin, valid_until, tx.now)
            operator = _operator(tx, account)
            if not who.sees(operator.department):
                raise NotFound("no such account", field="account", value=account[:80])
            _require_other(operator, who.account_id)
            _require_step(tx, who.account_id, DEPARTMENT_MANAGER, department)
            _make_room(tx, operator, department, begin, valid_until, cut=False, ok=is_hand_over)
            details = {
                "department": department,
                "from": begin.isoformat(),
                "until": valid_until.isoformat(),
                "reference": form,
                "undertaking": undertaking.strip(),
                "hand_over": "yes" if is_hand_over else "no",
            }
            asked = dual.ask(
                tx, who, kind=DualKind.OPERATOR, subject=operator.name, details=details,
                reason=form, life=self._life,
            )  # fmt: skip
            return dual.view(asked, tx.now)

        return await self._store.write(act)

    async def file(self, who: Principal, request_id: str) -> Authorisation:
        """File an application that both managers have signed: from now the operator may send.

        Raises:
            NotPermitted: without `accounts:write`, or not of the general department.
            NotFound: the account is gone.
            Conflict: the account is not an active person.
            InvalidRequest: its time is over.
            PolicyRefused: SMS-06, a signature is missing or no longer counts, or the department
                has an operator in that time; SEC-04, one of those who signed files it himself.
        """
        who.require(Scope.ACCOUNTS_WRITE)
        if who.department not in {None, self._general}:
            raise NotPermitted(
                "the general department files operators",
                cure=f"ask an administrator of {self._general}",
                policy="SMS-06",
            )

        def act(tx: Tx) -> Authorisation:
            signed = dual.take_from(tx, who, request_id, kind=DualKind.OPERATOR)
            department = signed.details["department"]
            operator = _operator(tx, signed.subject)
            for one in (who.account_id, signed.asked_by, signed.decided_by):
                _require_other(operator, one)
            _require_step(tx, signed.asked_by, DEPARTMENT_MANAGER, department)
            _require_step(tx, signed.decided_by or "", MANAGER_IN_CHARGE, department)
            return _file(tx, who, signed, operator)

        return await self._store.write(act)


def _file(tx: Tx, who: Principal, signed: DualRequest, operator: Account) -> Authorisation:
    details = signed.details
    begin, end = (datetime.fromisoformat(details[name]) for name in ("from", "until"))
    check_span(begin, end, tx.now)
    department, ok = details["department"], details["hand_over"] == "yes"
    _make_room(tx, operator, department, begin, end, cut=True, ok=ok, by=who.name)
    new = rows.add_authorisation(
        tx,
        kind=OPERATOR,
        department=department,
        account_id=operator.account_id,
        valid_from=begin,
        valid_until=end,
        granted_by=signed.asked_by,
        request_id=signed.request_id,
    )
    facts = {name: details[name] for name in ("department", "reference", "undertaking")}
    signers = f"{signed.asked_name}, {signed.decided_name}"
    span = {"kind": OPERATOR, "from": iso(begin), "until": iso(end), "source": who.source}
    tx.audit(
        who.name,
        "authorisation.grant",
        str(new.authorisation_id),
        {
            "account": operator.name,
            "request": signed.request_id,
            "policy": "SMS-06",
            **facts,
            "signed_by": signers,
            **span,
        },
    )
    return new


def _operator(tx: Tx, name: str) -> Account:
    account = find_account_named(tx.conn, tx.vault, name)
    if account is None:
        raise NotFound("no such account", field="account", value=name[:80])
    return require_person(account)


def _require_other(operator: Account, account_id: str | None) -> None:
    if account_id == operator.account_id:
        raise PolicyRefused("SMS-06", "nobody makes himself an operator", cure="ask a colleague")


def _require_step(tx: Tx, account_id: str, step: str, department: str) -> None:
    if not rows.is_authorised(
        tx.conn, tx.vault, account_id=account_id, kind=step, department=department, at=tx.now
    ):
        raise PolicyRefused(
            "SMS-06",
            f"an operator of {department} needs the word of its {step}",
            cure=f"let somebody sign who is authorised as {step} for it",
        )


def _check_department(department: str) -> None:
    if not (0 < len(department) <= 128 and department.isprintable()):
        raise InvalidRequest("must be 1 to 128 printable characters", field="department")
    if department == ALL_DEPARTMENTS:
        raise InvalidRequest(
            "an operator is authorised for one department", field="department", policy="SMS-06"
        )


def _make_room(
    tx: Tx,
    operator: Account,
    department: str,
    begin: datetime,
    end: datetime,
    *,
    cut: bool,
    ok: bool,
    by: str = "",
) -> None:
    """One operator a department at a time; a deputy takes over by a dated hand-over.

    `ok` says that there is one: with `cut` the operator of then ends where this one begins.
    """
    for one in rows.list_authorisations(tx.conn, tx.vault, kind=OPERATOR, department=department):
        is_overlap = one.valid_from < end and begin < one.valid_until
        if one.revoked_at is not None or one.account_id == operator.account_id or not is_overlap:
            continue
        if not ok or one.valid_from >= begin:
            raise PolicyRefused(
                "SMS-06",
                f"department {department} has an operator until {iso(one.valid_until)}",
                field="department",
                cure=f"withdraw authorisation {one.authorisation_id}, begin after it ends, or "
                "apply for a hand-over that begins after it began",
            )
        if cut:
            rows.end_at(tx, one, begin)
            facts: Mapping[str, str] = {"department": department, "to": operator.name}
            number = str(one.authorisation_id)
            tx.audit(
                by, "authorisation.hand_over", number,
                {**facts, "before": iso(one.valid_until), "until": iso(begin), "policy": "SMS-06"},
            )  # fmt: skip
