"""Accounts and keys are frozen at once, and unfrozen by two persons (SEC-02, SEC-06)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from modemctl.errors import Conflict, NotFound, PolicyRefused
from modemctl.model import EventKind, Topic
from modemctl.policy.training import is_suspended
from modemctl.service import dual
from modemctl.service.account_fields import check_reason
from modemctl.service.dual import DualKind, DualView
from modemctl.service.principal import Principal, Scope
from modemctl.store import Store, Tx, qualifications, stops
from modemctl.store import accounts as rows
from modemctl.store.accounts import Account, AccountState, KeyState
from modemctl.store.dual import DualRequest


def put_state(
    tx: Tx,
    before: Account,
    state: AccountState,
    *,
    by: str,
    general_department: str,
    details: Mapping[str, str],
) -> Account:
    """Give an account another state; unless it becomes active, what runs on it is held."""
    after = rows.change_account(tx, before, state=state)
    change = {"before": str(before.state), "after": str(state)}
    tx.audit(by, "account.state", after.name, {**change, **details})
    if state is not AccountState.ACTIVE:
        tx.event(EventKind.ALARM, f"account:{after.name}", {"account": str(state), **details})
        tx.wake(Topic.STOP)
        stops.hold_resting_on(
            tx,
            after.account_id,
            general_department=general_department,
            by=by,
            reason=f"account {after.name} is {state}",
        )
    return after


class Freezing:
    """Asks for the end of a freeze, and ends it when a second person confirms."""

    def __init__(
        self, store: Store, *, general_department: str, life: timedelta = dual.LIFE
    ) -> None:
        """`life` is how long a request lasts."""
        self._store = store
        self._general = general_department
        self._life = life

    async def ask_account(self, who: Principal, account_id: str, *, reason: str) -> DualView:
        """Ask that a frozen account may act again.

        Raises:
            NotPermitted: without `accounts:write`.
            NotFound: no such account, or of a department that one does not see.
            InvalidRequest: no reason.
            Conflict: the account is not frozen.
            PolicyRefused: SEC-01, one's own account; SEC-04, a machine asks; SEC-14, drills.
        """
        who.require(Scope.ACCOUNTS_WRITE)
        check_reason(reason)

        def act(tx: Tx) -> DualView:
            account = _account(tx, who, account_id)
            _require_frozen(account)
            _require_no_failed_drills(tx, account)
            return self._ask(tx, who, account, {}, reason=reason)

        return await self._store.write(act)

    async def ask_key(self, who: Principal, key_id: str, *, reason: str) -> DualView:
        """Ask that an API key which lay idle opens the door again.

        Raises:
            NotPermitted: without `accounts:write`.
            NotFound: no such key, or of a department that one does not see.
            InvalidRequest: no reason.
            Conflict: the key is not frozen.
            PolicyRefused: SEC-01, one's own key; SEC-04, a machine asks.
        """
        who.require(Scope.ACCOUNTS_WRITE)
        check_reason(reason)

        def act(tx: Tx) -> DualView:
            stored = rows.find_key(tx.conn, tx.vault, key_id)
            if stored is None:
                raise NotFound("no such key", field="key_id", value=key_id[:80])
            account = _account(tx, who, stored.key.account_id)
            _require_idle(stored.key.state(tx.now))
            return self._ask(tx, who, account, {"key": key_id}, reason=reason)

        return await self._store.write(act)

    def perform(self, tx: Tx, request: DualRequest) -> None:
        """End the freeze, in the transaction that confirms it.

        Raises:
            NotFound, Conflict: there is none any more.
            PolicyRefused: SEC-01, one of the two is the one who was frozen.
        """
        account = rows.find_account_named(tx.conn, tx.vault, request.subject)
        if account is None:
            raise NotFound("no such account", field="subject", value=request.subject)
        if account.account_id in {request.asked_by, request.decided_by}:
            raise _not_oneself()
        by, key_id = request.decided_name or "", request.details.get("key")
        facts = {"reason": request.reason, "asked_by": request.asked_name}
        details = {**facts, "request": request.request_id, "policy": "SEC-06"}
        if key_id is None:
            _require_frozen(account)
            _require_no_failed_drills(tx, account)
            put_state(
                tx,
                account,
                AccountState.ACTIVE,
                by=by,
                general_department=self._general,
                details=details,
            )
            return
        stored = rows.find_key(tx.conn, tx.vault, key_id)
        assert stored is not None, "keys are not deleted"
        _require_idle(stored.key.state(tx.now))
        rows.touch_key(tx, key_id)
        tx.audit(by, "key.unfreeze", key_id, {**details, "account": account.name})

    def _ask(
        self, tx: Tx, who: Principal, account: Account, details: Mapping[str, str], *, reason: str
    ) -> DualView:
        asked = dual.ask(
            tx,
            who,
            kind=DualKind.UNFREEZE,
            subject=account.name,
            details=details,
            reason=reason,
            life=self._life,
        )
        return dual.view(asked, tx.now)


def _account(tx: Tx, who: Principal, account_id: str) -> Account:
    if account_id == who.account_id:
        raise _not_oneself()
    account = rows.find_account(tx.conn, tx.vault, account_id)
    if account is None or not who.sees(account.department):
        raise NotFound("no such account", field="account_id", value=account_id[:80])
    return account


def _require_frozen(account: Account) -> None:
    if account.state is not AccountState.FROZEN:
        cure = "create a new one" if account.state is AccountState.REVOKED else ""
        raise Conflict(f"account {account.name} is {account.state}", cure=cure)


def _require_no_failed_drills(tx: Tx, account: Account) -> None:
    held = qualifications.find(tx.conn, tx.vault, account.account_id)
    if held is not None and is_suspended(held.failed_drills):
        raise PolicyRefused(
            "SEC-14",
            f"account {account.name} is suspended for failed drills",
            cure="train anew, then: modemctl training record",
        )


def _require_idle(state: KeyState) -> None:
    if state is not KeyState.FROZEN:
        raise Conflict(f"the key is {state}", cure="issue a new one", policy="SEC-02")


def _not_oneself() -> PolicyRefused:
    return PolicyRefused("SEC-01", "nobody unfreezes himself", cure="ask another administrator")
