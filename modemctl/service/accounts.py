"""Accounts and API keys: who exists, who may do what, and who asks (SEC-01, SEC-02, CC-03)."""

from __future__ import annotations

import base64
import hmac
import logging
import re
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from modemctl.errors import (
    Conflict,
    NotAuthenticated,
    NotFound,
    NotPermitted,
    PolicyRefused,
    StoreError,
    TamperedError,
)
from modemctl.model import EventKind, Topic
from modemctl.service.account_fields import (
    check_department,
    check_name,
    check_reason,
    check_roles,
)
from modemctl.service.pages import Page, decode_text, encode_cursor
from modemctl.service.principal import Principal, Scope, scopes_of
from modemctl.store import Connection, Store, Tx, stops
from modemctl.store import accounts as rows
from modemctl.store.accounts import (
    Account,
    AccountKind,
    AccountState,
    ApiKey,
    KeyState,
    StoredKey,
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
_NEW_KEY: Final = "ask an administrator for a new key"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedKey:
    """A new key with its secret, which is shown this once and stored nowhere."""

    key: ApiKey
    token: str


class Accounts:
    """Keeps the accounts and their keys; finds out who asks."""

    def __init__(self, store: Store, *, peers: Mapping[int, str], general_department: str) -> None:
        """`peers` maps user ids on the Unix socket to account names."""
        self._store = store
        self._general = general_department
        self._peers = dict(peers)

    # ------------------------------------------------------------ who asks

    async def authenticate(self, token: str, source: str) -> Principal:
        """The account behind an API key.

        Raises:
            NotAuthenticated: no such key, or it is expired, frozen or revoked.
            StoreError: the database cannot be read now.
        """
        try:
            account, key = await self._open(token)
        except NotAuthenticated as refusal:
            _log.warning("api.refused", extra={"source": source, "rule": refusal.rule})
            raise
        now = self._store.clock.now()
        if key.last_used_at is None or now - key.last_used_at >= _TOUCH_EVERY:
            await self._touch(key.key_id)
        return _principal(account, source)

    async def peer(self, uid: int, source: str) -> Principal:
        """The account that a user id on the Unix socket acts as.

        Raises:
            NotAuthenticated: the configuration maps the user id to no active account.
            StoreError: the database cannot be read now.
        """
        name = self._peers.get(uid)
        if name is None:
            raise NotAuthenticated(
                f"user id {uid} acts as no account",
                cure="send an API key, or name an account for it under api.peers",
                policy="CC-03",
            )
        vault = self._store.vault
        try:
            found = await self._store.read(lambda conn: rows.find_account_named(conn, vault, name))
        except TamperedError:
            raise _tampered() from None
        if found is None:
            raise NotAuthenticated(
                f"user id {uid} acts as account {name}, which does not exist",
                cure="create the account, or change api.peers",
                policy="CC-03",
            )
        _require_active(found)
        return _principal(found, source)

    async def _open(self, token: str) -> tuple[Account, ApiKey]:
        match = _TOKEN.fullmatch(token)
        if match is None:
            raise _unknown_key()
        key_id = match[1]
        try:
            found = await self._store.read(lambda conn: self._lookup(conn, key_id))
        except TamperedError:
            raise _tampered() from None
        token_hash = self._store.vault.token_hash(token)
        if found is None or not hmac.compare_digest(found[0].hash, token_hash):
            raise _unknown_key()
        stored, account = found
        state = stored.key.state(self._store.clock.now())
        if state is not KeyState.LIVE:
            raise NotAuthenticated(f"this API key is {state}", cure=_NEW_KEY, policy="SEC-02")
        _require_active(account)
        return account, stored.key

    def _lookup(self, conn: Connection, key_id: str) -> tuple[StoredKey, Account] | None:
        stored = rows.find_key(conn, self._store.vault, key_id)
        if stored is None:
            return None
        account = rows.find_account(conn, self._store.vault, stored.key.account_id)
        return None if account is None else (stored, account)

    async def _touch(self, key_id: str) -> None:
        try:
            await self._store.write(lambda tx: rows.touch_key(tx, key_id))
        except StoreError as error:  # a full disk must not lock out who comes to look
            _log.warning("api.key_use_not_noted", extra={"error": str(error)})

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

        Raises:
            NotPermitted: without `accounts:write`, or outside one's own department.
            InvalidRequest: a name, department or role that cannot be.
            Conflict: the name is taken.
        """
        who.require(Scope.ACCOUNTS_WRITE)
        check_name(name, node_id=self._store.node_id)
        check_department(department)
        check_roles(roles)
        _require_sees(who, department)

        def act(tx: Tx) -> Account:
            if rows.find_account_named(tx.conn, tx.vault, name) is not None:
                raise Conflict("an account of this name exists", field="name", value=name)
            new = rows.add_account(tx, name=name, kind=kind, department=department, roles=roles)
            tx.audit(
                who.name,
                "account.create",
                name,
                {
                    "kind": str(kind),
                    "department": department,
                    "roles": list(new.roles),
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
            PolicyRefused: SEC-01, one's own account.
        """
        who.require(Scope.ACCOUNTS_WRITE)
        check_department(department)
        check_roles(roles or ())
        if department is not None:
            _require_sees(who, department)
        _not_oneself(who, account_id)

        def act(tx: Tx) -> Account:
            before = self._visible(tx.conn, who, account_id)
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
        """Freeze, reactivate or revoke an account; revoked is for ever.

        Unless it becomes active, what runs on it as operator or approver is held.

        Raises:
            NotPermitted: without `accounts:write`.
            NotFound: no such account, or of a department that one does not see.
            InvalidRequest: no reason.
            Conflict: the account is revoked.
            PolicyRefused: SEC-01, one's own account.
        """
        who.require(Scope.ACCOUNTS_WRITE)
        check_reason(reason)
        _not_oneself(who, account_id)

        def act(tx: Tx) -> Account:
            before = self._visible(tx.conn, who, account_id)
            if before.state is AccountState.REVOKED:
                raise Conflict(f"account {before.name} is revoked", cure="create a new one")
            after = rows.change_account(tx, before, state=state)
            details = {"before": str(before.state), "after": str(state), "reason": reason}
            tx.audit(who.name, "account.state", after.name, details | {"source": who.source})
            if state is not AccountState.ACTIVE:
                tx.event(EventKind.ALARM, f"account:{after.name}", {"account": str(state)})
                tx.wake(Topic.STOP)
                stops.hold_resting_on(
                    tx,
                    account_id,
                    general_department=self._general,
                    by=who.name,
                    reason=f"account {after.name} is {state}",
                )
            return after

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

    async def issue_key(self, who: Principal, account_id: str) -> IssuedKey:
        """A new key, good for 90 days; one renews one's own without any scope.

        Raises:
            NotPermitted: another's, without `accounts:write`.
            NotFound: no such account, or of a department that one does not see.
            Conflict: the account is not active, or has two live keys.
        """
        if account_id != who.account_id:
            who.require(Scope.ACCOUNTS_WRITE)

        def act(tx: Tx) -> IssuedKey:
            account = self._visible(tx.conn, who, account_id)
            if account.state is not AccountState.ACTIVE:
                raise Conflict(f"account {account.name} is {account.state}", cure="reactivate it")
            held = rows.list_keys(tx.conn, tx.vault, account_id)
            if sum(key.state(tx.now) is KeyState.LIVE for key in held) >= MAX_LIVE_KEYS:
                raise Conflict(
                    f"account {account.name} has {MAX_LIVE_KEYS} live keys",
                    cure="revoke one first",
                    policy="SEC-02",
                )
            return _issue(tx, account, by=who.name, source=who.source)

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

    def _visible(self, conn: Connection, who: Principal, account_id: str) -> Account:
        account = rows.find_account(conn, self._store.vault, account_id)
        is_own = account_id == who.account_id
        if account is not None and (is_own or who.sees(account.department)):
            return account
        raise NotFound("no such account", field="account_id", value=account_id)


def bootstrap(tx: Tx, *, name: str) -> IssuedKey:
    """The first administrator and its key; only while no account exists.

    Raises:
        InvalidRequest: a name that cannot be.
        Conflict: there are accounts.
    """
    check_name(name, node_id=tx.node_id)
    if rows.has_accounts(tx.conn):
        raise Conflict("there are accounts already", cure=_NEW_KEY)
    account = rows.add_account(
        tx, name=name, kind=AccountKind.PERSON, department=None, roles=["administrator"]
    )
    tx.audit("bootstrap", "account.create", name, {"roles": list(account.roles)})
    return _issue(tx, account, by="bootstrap", source="local")


def _issue(tx: Tx, account: Account, *, by: str, source: str) -> IssuedKey:
    key_id = _base32(10)
    token = f"mk_{key_id}_{_base32(32)}"
    key = rows.add_key(
        tx,
        key_id=key_id,
        account_id=account.account_id,
        token_hash=tx.vault.token_hash(token),
        expires_at=tx.now + KEY_LIFE,
    )
    details = {"account": account.name, "expires": _iso(key.expires_at), "source": source}
    tx.audit(by, "key.issue", key_id, details)
    return IssuedKey(key=key, token=token)


def _base32(n_octets: int) -> str:
    return base64.b32encode(secrets.token_bytes(n_octets)).decode().rstrip("=").lower()


def _iso(at: datetime) -> str:
    return at.isoformat(timespec="seconds")


def _principal(account: Account, source: str) -> Principal:
    return Principal(
        account_id=account.account_id,
        name=account.name,
        department=account.department,
        scopes=scopes_of(frozenset(account.roles)),
        source=source,
        is_person=account.kind is AccountKind.PERSON,
    )


def _unknown_key() -> NotAuthenticated:
    return NotAuthenticated("the API key is not known", cure=_NEW_KEY)


def _tampered() -> NotAuthenticated:
    _log.error("api.account_tampered")
    return NotAuthenticated(
        "what is stored of this account was changed outside the controller",
        cure="tell the auditor; run: modemctl audit verify",
        policy="SEC-05",
    )


def _require_active(account: Account) -> None:
    if account.state is not AccountState.ACTIVE:
        rule = f"account {account.name} is {account.state}"
        raise NotAuthenticated(rule, cure="ask an administrator", policy="SEC-02")


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
