"""Accounts and API keys: who exists and who may do what (SEC-01, SEC-02, CC-03)."""

from __future__ import annotations

import base64
import logging
import re
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from modemctl.errors import (
    Conflict,
    InvalidRequest,
    NotFound,
    NotPermitted,
    PolicyRefused,
)
from modemctl.model import AccountId, EventKind, Topic
from modemctl.service.account_fields import (
    check_addresses,
    check_department,
    check_name,
    check_reason,
    check_roles,
)
from modemctl.service.departments import require_department
from modemctl.service.freezing import put_state
from modemctl.service.pages import Page, decode_text, encode_cursor
from modemctl.service.principal import ADMINISTRATOR, Principal, Scope
from modemctl.store import Connection, Store, Tx
from modemctl.store import accounts as rows
from modemctl.store.accounts import (
    Account,
    AccountKind,
    AccountState,
    ApiKey,
    KeyState,
)

__all__ = [
    "KEY_LIFE",
    "MAX_LIVE_KEYS",
    "Account",
    "AccountKind",
    "AccountState",
    "Accounts",
    "ApiKey",
    "IssuedKey",
    "KeyState",
    "bootstrap",
]

KEY_LIFE: Final = timedelta(days=90)
"""After which a key must have been renewed (SEC-02)."""
MAX_LIVE_KEYS: Final = 2
"""Live keys of one account: enough to change over without a gap."""

_TOUCH_EVERY: Final = timedelta(minutes=1)
_TOKEN: Final = re.compile(r"mk_([a-z2-7]{16})_[a-z2-7]{52}")
_CERTIFICATE_MAX: Final = 200
_NEW_KEY: Final = "ask an administrator for a new key"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedKey:
    """A new key with its secret, which is shown this once and stored nowhere."""

    key: ApiKey
    token: str


class Accounts:
    """Keeps the accounts and their keys."""

    def __init__(
        self, store: Store, *, general_department: str, needs_training: bool = False
    ) -> None:
        """With `needs_training` a person's account waits until it is on record (SEC-14)."""
        self._needs_training = needs_training
        self._store = store
        self._general = general_department

    # ------------------------------------------------------------ accounts

    async def create(
        self,
        who: Principal,
        *,
        name: str,
        kind: AccountKind,
        department: str | None,
        roles: Collection[str],
    ) -> Account:
        """Add an account that names one person or one machine (CC-03).

        Where training is asked for, a person's account waits for it (SEC-14).
        Nobody is made an administrator here: two administrators do that (`Grants.promote`).

        Raises:
            NotPermitted: without `accounts:write`, or outside one's own department.
            InvalidRequest: a name, department or role that cannot be.
            Conflict: the name is taken.
            PolicyRefused: SEC-01, an administrator.
        """
        who.require(Scope.ACCOUNTS_WRITE)
        check_name(name, node_id=self._store.node_id)
        check_department(department)
        check_roles(roles)
        _require_no_administrator(name, roles)
        _require_sees(who, department)

        def act(tx: Tx) -> Account:
            if department is not None:
                require_department(tx.conn, tx.vault, department, policy="SEC-01")
            if rows.find_account_named(tx.conn, tx.vault, name) is not None:
                raise Conflict("an account of this name exists", field="name", value=name)
            is_waiting = self._needs_training and kind is AccountKind.PERSON
            state = AccountState.PENDING if is_waiting else AccountState.ACTIVE
            new = rows.add_account(
                tx, name=name, kind=kind, department=department, roles=roles, state=state
            )
            tx.audit(
                who.name,
                "account.create",
                name,
                {
                    "kind": str(kind),
                    "department": department,
                    "roles": list(new.roles),
                    "state": str(new.state),
                    "source": who.source,
                },
            )
            return new

        return await self._store.write(act)

    async def list(
        self, who: Principal, *, name: str | None = None, cursor: str | None = None, limit: int
    ) -> Page[Account]:
        """Accounts by name, of one's own department or of all.

        Raises:
            NotPermitted: without `accounts:read`.
            InvalidRequest: a cursor that is not ours.
        """
        who.require(Scope.ACCOUNTS_READ)
        after, vault = decode_text(cursor), self._store.vault
        found = await self._store.read(
            lambda conn: rows.list_accounts(
                conn, vault, name=name, department=who.department, after=after, limit=limit
            )
        )
        more = len(found) == limit
        return Page(items=found, next=encode_cursor(found[-1].name) if more else None)

    async def get(self, who: Principal, account_id: str) -> Account:
        """One account; one's own without any scope.

        Raises:
            NotPermitted: another's, without `accounts:read`.
            NotFound: no such account, or of a department that one does not see.
        """
        if account_id != who.account_id:
            who.require(Scope.ACCOUNTS_READ)
        return await self._store.read(lambda conn: self._visible(conn, who, account_id))

    async def change(
        self,
        who: Principal,
        account_id: str,
        *,
        roles: Collection[str] | None = None,
        department: str | None = None,
    ) -> Account:
        """Give an account other roles or another department; never one's own (SEC-01).

        Raises:
            NotPermitted: without `accounts:write`.
            NotFound: no such account, or of a department that one does not see.
            InvalidRequest: a department or role that cannot be.
            PolicyRefused: SEC-01, one's own account, or a new administrator.
        """
        who.require(Scope.ACCOUNTS_WRITE)
        check_department(department)
        check_roles(roles or ())
        if department is not None:
            _require_sees(who, department)
        _not_oneself(who, account_id)

        def act(tx: Tx) -> Account:
            before = self._visible(tx.conn, who, account_id)
            if department is not None and department != before.department:
                require_department(tx.conn, tx.vault, department, policy="SEC-01")
            _require_no_administrator(before.name, set(roles or ()) - set(before.roles))
            after = rows.change_account(tx, before, roles=roles, department=department)
            tx.audit(
                who.name,
                "account.change",
                after.name,
                {
                    "before": {"department": before.department, "roles": list(before.roles)},
                    "after": {"department": after.department, "roles": list(after.roles)},
                    "source": who.source,
                },
            )
            tx.wake(Topic.STOP)  # whoever relied on the old authority looks again
            return after

        return await self._store.write(act)

    async def set_state(
        self, who: Principal, account_id: str, state: AccountState, *, reason: str
    ) -> Account:
        """Freeze or revoke an account; revoked is for ever, a freeze is ended by two (`Freezing`).

        What runs on it as operator or approver is held.

        Raises:
            NotPermitted: without `accounts:write`.
            NotFound: no such account, or of a department that one does not see.
            InvalidRequest: no reason.
            Conflict: the account is revoked.
            PolicyRefused: SEC-01, one's own account; SEC-06, it would become active.
        """
        who.require(Scope.ACCOUNTS_WRITE)
        check_reason(reason)
        _not_oneself(who, account_id)
        if state is AccountState.ACTIVE:
            raise PolicyRefused(
                "SEC-06", "two persons end a freeze", cure="modemctl account unfreeze NAME"
            )

        def act(tx: Tx) -> Account:
            before = self._visible(tx.conn, who, account_id)
            if before.state is AccountState.REVOKED:
                raise Conflict(f"account {before.name} is revoked", cure="create a new one")
            return put_state(
                tx,
                before,
                state,
                by=who.name,
                general_department=self._general,
                details={"reason": reason, "source": who.source},
            )

        return await self._store.write(act)

    # ------------------------------------------------------------ keys

    async def keys(self, who: Principal, account_id: str) -> Sequence[ApiKey]:
        """All keys of an account without their secrets; one's own without any scope.

        Raises:
            NotPermitted: another's, without `accounts:read`.
            NotFound: no such account, or of a department that one does not see.
        """
        if account_id != who.account_id:
            who.require(Scope.ACCOUNTS_READ)

        def query(conn: Connection) -> Sequence[ApiKey]:
            self._visible(conn, who, account_id)
            return rows.list_keys(conn, self._store.vault, account_id)

        return await self._store.read(query)

    async def issue_key(
        self, who: Principal, account_id: str, *, addresses: Sequence[str] = ()
    ) -> IssuedKey:
        """A new key, good for 90 days; one renews one's own without any scope.

        It counts at the registered `addresses` (CIDR, or `unix` for the socket; CC-02), without
        any on the socket and the machine's loopback only. One's own new key keeps those of the
        newest one.

        Raises:
            NotPermitted: another's, without `accounts:write`, or other addresses for one's own.
            InvalidRequest: an address that is none.
            NotFound: no such account, or of a department that one does not see.
            Conflict: the account is not active, or has two live keys.
        """
        if account_id != who.account_id or addresses:
            who.require(Scope.ACCOUNTS_WRITE)
        checked = check_addresses(addresses)

        def act(tx: Tx) -> IssuedKey:
            account = self._visible(tx.conn, who, account_id)
            if account.state is not AccountState.ACTIVE:
                raise Conflict(f"account {account.name} is {account.state}", cure="reactivate it")
            held = rows.list_keys(tx.conn, tx.vault, account_id)
            places = checked if checked or not held else held[-1].addresses
            if sum(key.state(tx.now) is KeyState.LIVE for key in held) >= MAX_LIVE_KEYS:
                raise Conflict(
                    f"account {account.name} has {MAX_LIVE_KEYS} live keys",
                    cure="revoke one first",
                    policy="SEC-02",
                )
            is_renewal = account_id == who.account_id and held
            hands = held[-1].issued_by if is_renewal else who.account_id
            return _issue(
                tx, account, by=who.name, source=who.source, addresses=places, issued_by=hands
            )

        return await self._store.write(act)

    async def revoke_key(self, who: Principal, key_id: str, *, reason: str) -> ApiKey:
        """End a key now; one ends one's own without any scope. `stolen` raises an alarm.

        Raises:
            NotPermitted: another's, without `accounts:write`.
            NotFound: no such key, or of a department that one does not see.
            InvalidRequest: no reason.
        """
        check_reason(reason)

        def act(tx: Tx) -> ApiKey:
            stored = rows.find_key(tx.conn, tx.vault, key_id)
            if stored is None or stored.key.account_id != who.account_id:
                who.require(Scope.ACCOUNTS_WRITE)
            if stored is None:
                raise NotFound("no such key", field="key_id", value=key_id)
            account = self._visible(tx.conn, who, stored.key.account_id)
            if stored.key.revoked_at is not None:
                return stored.key
            details = {"account": account.name, "reason": reason, "source": who.source}
            tx.audit(who.name, "key.revoke", key_id, details)
            if reason == "stolen":
                tx.event(EventKind.ALARM, f"account:{account.name}", {"key": "stolen"})
            return rows.revoke_key(tx, stored)

        return await self._store.write(act)

    async def reissue(
        self, who: Principal, account_id: str, *, certificate: str, is_stolen: bool = False
    ) -> IssuedKey:
        """End all keys of an account that lost them and give it one new key, in one act (SMS-10).

        `certificate` names what the department has certified of the loss. `is_stolen` raises an
        alarm at once (SEC-02). The new key counts where the newest one did.

        Raises:
            NotPermitted: without `accounts:write`.
            NotFound: no such account, or of a department that one does not see.
            InvalidRequest: SMS-10, no certificate.
            Conflict: the account is not active.
            PolicyRefused: SEC-01, one's own account.
        """
        who.require(Scope.ACCOUNTS_WRITE)
        _not_oneself(who, account_id)
        if not 0 < len(certificate.strip()) <= _CERTIFICATE_MAX:
            raise InvalidRequest(
                "must name the department's certificate of the loss",
                field="certificate",
                policy="SMS-10",
            )
        reason = "stolen" if is_stolen else "lost"

        def act(tx: Tx) -> IssuedKey:
            account = self._visible(tx.conn, who, account_id)
            if account.state is not AccountState.ACTIVE:
                raise Conflict(f"account {account.name} is {account.state}", cure="reactivate it")
            details = {"account": account.name, "reason": reason, "source": who.source}
            details |= {"certificate": certificate.strip(), "policy": "SMS-10"}
            held = rows.list_keys(tx.conn, tx.vault, account_id)
            _end_all(tx, held, by=who.name, details=details)
            if is_stolen:
                tx.event(EventKind.ALARM, f"account:{account.name}", {"key": "stolen"})
            places = held[-1].addresses if held else ()
            issued = _issue(
                tx,
                account,
                by=who.name,
                source=who.source,
                addresses=places,
                issued_by=who.account_id,
            )
            tx.audit(who.name, "key.reissue", issued.key.key_id, details)
            return issued

        return await self._store.write(act)

    def _visible(self, conn: Connection, who: Principal, account_id: str) -> Account:
        account = rows.find_account(conn, self._store.vault, account_id)
        is_own = account_id == who.account_id
        if account is not None and (is_own or who.sees(account.department)):
            return account
        raise NotFound("no such account", field="account_id", value=account_id)


def bootstrap(tx: Tx, *, name: str) -> IssuedKey:
    """One of the first two administrators, and its key; one who was locked out gets a new one.

    Two, since neither grants authority alone. Whoever may call this holds the keys of the database.

    Raises:
        InvalidRequest: a name that cannot be.
        Conflict: there are two administrators, or other accounts, already.
    """
    check_name(name, node_id=tx.node_id)
    held = rows.list_accounts(tx.conn, tx.vault, department=None, after="", limit=2)
    known = rows.find_account_named(tx.conn, tx.vault, name)
    if known is not None and ADMINISTRATOR in known.roles:
        if known.state is AccountState.FROZEN:
            details = {"before": str(known.state), "after": str(AccountState.ACTIVE)}
            known = rows.change_account(tx, known, state=AccountState.ACTIVE)
            tx.audit("bootstrap", "account.state", name, {**details, "source": "local"})
        elif has_live_key(tx, known) or known.state is not AccountState.ACTIVE:
            raise Conflict(f"administrator {name} has a key, or is {known.state}", cure=_NEW_KEY)
        return _issue(tx, known, by="bootstrap", source="local")
    if known is not None or len(held) > 1 or any(ADMINISTRATOR not in one.roles for one in held):
        raise Conflict("there are accounts already", cure=_NEW_KEY)
    account = rows.add_account(
        tx, name=name, kind=AccountKind.PERSON, department=None, roles=[ADMINISTRATOR]
    )
    tx.audit("bootstrap", "account.create", name, {"roles": list(account.roles)})
    return _issue(tx, account, by="bootstrap", source="local")


def has_live_key(tx: Tx, account: Account) -> bool:
    """Whether any key of the account opens the door now."""
    keys = rows.list_keys(tx.conn, tx.vault, account.account_id)
    return any(key.state(tx.now) is KeyState.LIVE for key in keys)


def _end_all(tx: Tx, held: Sequence[ApiKey], *, by: str, details: Mapping[str, str]) -> None:
    for one in held:
        stored = rows.find_key(tx.conn, tx.vault, one.key_id)
        if stored is not None and one.revoked_at is None:
            tx.audit(by, "key.revoke", one.key_id, {**details})
            rows.revoke_key(tx, stored)


def _issue(
    tx: Tx,
    account: Account,
    *,
    by: str,
    source: str,
    addresses: Sequence[str] = (),
    issued_by: AccountId | None = None,
) -> IssuedKey:
    key_id = _base32(10)
    token = f"mk_{key_id}_{_base32(32)}"
    key = rows.add_key(
        tx,
        key_id=key_id,
        account_id=account.account_id,
        token_hash=tx.vault.token_hash(token),
        expires_at=tx.now + KEY_LIFE,
        addresses=addresses,
        issued_by=issued_by,
    )
    details = {"account": account.name, "expires": _iso(key.expires_at), "source": source}
    tx.audit(by, "key.issue", key_id, {**details, "addresses": list(addresses)})
    return IssuedKey(key=key, token=token)


def _base32(n_octets: int) -> str:
    return base64.b32encode(secrets.token_bytes(n_octets)).decode().rstrip("=").lower()


def _iso(at: datetime) -> str:
    return at.isoformat(timespec="seconds")


def _require_no_administrator(name: str, roles: Collection[str]) -> None:
    if ADMINISTRATOR in roles:
        raise PolicyRefused(
            "SEC-01",
            "two administrators make a third one",
            field="roles",
            cure=f"make the account without this role, then: modemctl account promote {name}",
        )


def _not_oneself(who: Principal, account_id: str) -> None:
    if account_id == who.account_id:
        rule = "nobody changes his own account"
        raise PolicyRefused("SEC-01", rule, cure="ask another administrator")


def _require_sees(who: Principal, department: str | None) -> None:
    if not who.sees(department):
        raise NotPermitted(
            f"account {who.name} keeps accounts of department {who.department} only",
            field="department",
            cure="ask an administrator of all departments",
            policy="SEC-01",
        )
