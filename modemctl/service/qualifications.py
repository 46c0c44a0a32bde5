"""Nobody has access without training and a confidentiality agreement; drills keep it (SEC-14)."""

from __future__ import annotations

from datetime import date
from zoneinfo import ZoneInfo

from modemctl.errors import Conflict, InvalidRequest, NotFound, PolicyRefused
from modemctl.policy.training import is_suspended, training_fault
from modemctl.service.authority_fields import check_reference
from modemctl.service.freezing import put_state
from modemctl.service.principal import Principal, Scope
from modemctl.store import Connection, Store, Tx
from modemctl.store import qualifications as rows
from modemctl.store.accounts import Account, AccountKind, AccountState, find_account
from modemctl.store.qualifications import Qualification
from modemctl.store.transaction import Json

__all__ = ["Qualification", "Qualifications"]


class Qualifications:
    """Keeps what persons have learnt and signed; takes access from who fails drills."""

    def __init__(self, store: Store, *, general_department: str, zone: ZoneInfo) -> None:
        """`zone` is the site's, whose calendar the dates are of."""
        self._store = store
        self._general = general_department
        self._zone = zone

    async def record(
        self,
        who: Principal,
        account_id: str,
        *,
        hours: int,
        score: int,
        trained_on: date,
        agreement_on: date,
        reference: str,
    ) -> Qualification:
        """Put a person's training and confidentiality agreement on record.

        An account that waited for it becomes active; drills that failed before are forgiven.

        Raises:
            NotPermitted: without `accounts:write`.
            NotFound: no such account, or of a department that one does not see.
            InvalidRequest: SEC-14, too few hours or points, a date to come, no reference.
            Conflict: the account is a machine's, or revoked.
            PolicyRefused: SEC-14, one's own account.
        """
        who.require(Scope.ACCOUNTS_WRITE)
        form = check_reference(reference)

        def act(tx: Tx) -> Qualification:
            person = _person(tx, who, account_id)
            today = tx.now.astimezone(self._zone).date()
            fault = training_fault(
                hours=hours, score=score, trained_on=trained_on, agreement_on=agreement_on,
                today=today,
            )  # fmt: skip
            if fault is not None:
                raise InvalidRequest(fault[1], field=fault[0], policy="SEC-14")
            one = rows.put(
                tx,
                Qualification(
                    account_id=person.account_id,
                    hours=hours,
                    score=score,
                    trained_on=trained_on,
                    agreement_on=agreement_on,
                    reference=form,
                    failed_drills=0,
                ),
            )
            _audit(tx, who, "qualification.record", person, one)
            if person.state is AccountState.PENDING:
                self._put_state(tx, who, person, AccountState.ACTIVE, "trained")
            return one

        return await self._store.write(act)

    async def drill(self, who: Principal, account_id: str, *, is_passed: bool) -> Qualification:
        """Note a drill; the second that fails in a row freezes the account until the next training.

        Raises:
            NotPermitted: without `accounts:write`.
            NotFound: no such account, or of a department that one does not see.
            Conflict: the account is a machine's, or revoked, or was never trained.
            PolicyRefused: SEC-14, one's own account.
        """
        who.require(Scope.ACCOUNTS_WRITE)

        def act(tx: Tx) -> Qualification:
            person = _person(tx, who, account_id)
            before = rows.find(tx.conn, tx.vault, account_id)
            if before is None:
                raise Conflict(
                    f"no training of {person.name} is on record",
                    cure="modemctl training record",
                    policy="SEC-14",
                )
            after = rows.note_drill(tx, before, is_passed=is_passed)
            _audit(tx, who, "qualification.drill", person, after)
            if is_suspended(after.failed_drills) and person.state is AccountState.ACTIVE:
                self._put_state(tx, who, person, AccountState.FROZEN, "failed drills")
            return after

        return await self._store.write(act)

    async def get(self, who: Principal, account_id: str) -> Qualification:
        """What is on record of an account; of one's own without any scope.

        Raises:
            NotPermitted: another's, without `accounts:read`.
            NotFound: no such account, none on record, or of a department that one does not see.
        """
        if account_id != who.account_id:
            who.require(Scope.ACCOUNTS_READ)
        vault = self._store.vault

        def query(conn: Connection) -> Qualification:
            person = find_account(conn, vault, account_id)
            is_own = account_id == who.account_id
            if person is None or not (is_own or who.sees(person.department)):
                raise NotFound("no such account", field="account_id", value=account_id[:80])
            found = rows.find(conn, vault, account_id)
            if found is None:
                raise NotFound("no training is on record", field="account_id")
            return found

        return await self._store.read(query)

    def _put_state(
        self, tx: Tx, who: Principal, person: Account, state: AccountState, reason: str
    ) -> None:
        put_state(
            tx,
            person,
            state,
            by=who.name,
            general_department=self._general,
            details={"reason": reason, "source": who.source, "policy": "SEC-14"},
        )


def _person(tx: Tx, who: Principal, account_id: str) -> Account:
    if account_id == who.account_id:
        raise PolicyRefused("SEC-14", "nobody examines himself", cure="ask another administrator")
    account = find_account(tx.conn, tx.vault, account_id)
    if account is None or not who.sees(account.department):
        raise NotFound("no such account", field="account_id", value=account_id[:80])
    if account.kind is not AccountKind.PERSON:
        raise Conflict(f"account {account.name} is not a person", policy="SEC-14")
    if account.state is AccountState.REVOKED:
        raise Conflict(f"account {account.name} is revoked", cure="create a new one")
    return account


def _audit(tx: Tx, who: Principal, action: str, person: Account, one: Qualification) -> None:
    details: dict[str, Json] = {
        "account": person.name,
        "hours": one.hours,
        "score": one.score,
        "trained_on": one.trained_on.isoformat(),
        "agreement_on": one.agreement_on.isoformat(),
        "reference": one.reference,
        "failed_drills": one.failed_drills,
        "source": who.source,
        "policy": "SEC-14",
    }
    tx.audit(who.name, action, person.account_id, details)
