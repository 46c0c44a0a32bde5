"""The door: which account asks, by its API key or its user id on the socket (SEC-02, CC-03)."""

from __future__ import annotations

import hmac
import logging
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from modemctl.errors import NotAuthenticated, StoreError, TamperedError
from modemctl.policy.behaviour import is_registered
from modemctl.service.access_counts import AccessCounts
from modemctl.service.behaviour import Behaviour
from modemctl.service.principal import Principal, scopes_of
from modemctl.store import Connection, Store
from modemctl.store import accounts as rows
from modemctl.store.accounts import (
    Account,
    AccountKind,
    AccountState,
    ApiKey,
    KeyState,
    StoredKey,
)
from modemctl.store.elevations import roles_of

_TOUCH_EVERY: Final = timedelta(minutes=1)
_TOKEN: Final = re.compile(r"mk_([a-z2-7]{16})_[a-z2-7]{52}")
_NEW_KEY: Final = "ask an administrator for a new key"

_log = logging.getLogger(__name__)


class Gate:
    """Finds out who asks; lets in only active accounts with a live key."""

    def __init__(
        self,
        store: Store,
        *,
        peers: Mapping[int, str],
        behaviour: Behaviour | None = None,
        counts: AccessCounts | None = None,
    ) -> None:
        """`peers` maps user ids on the Unix socket to account names; `behaviour` watches them.

        `counts` hears of each use and of each wrong key.
        """
        self._store = store
        self._counts = counts
        self._behaviour = behaviour
        self._peers = dict(peers)

    async def authenticate(self, token: str, source: str) -> Principal:
        """The account behind an API key.

        Raises:
            NotAuthenticated: no such key, or it is expired, frozen or revoked.
            StoreError: the database cannot be read now.
        """
        try:
            account, key, roles = await self._open(token, source)
        except NotAuthenticated as refusal:
            _log.warning("api.refused", extra={"source": source, "rule": refusal.rule})
            raise
        now = self._store.clock.now()
        if key.last_used_at is None or now - key.last_used_at >= _TOUCH_EVERY:
            await self._touch(key.key_id)
        await self._watch(account, source)
        return _principal(account, roles, source)

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
                cure="send an API key (modemctl --key-file FILE), or name an account for it under"
                " api.peers",
                policy="CC-03",
            )
        vault = self._store.vault

        def query(conn: Connection) -> tuple[Account, frozenset[str]] | None:
            account = rows.find_account_named(conn, vault, name)
            return None if account is None else (account, self._roles(conn, account))

        try:
            found = await self._store.read(query)
        except TamperedError:
            raise _tampered() from None
        if found is None:
            raise NotAuthenticated(
                f"user id {uid} acts as account {name}, which does not exist",
                cure="create the account, or change api.peers",
                policy="CC-03",
            )
        account, roles = found
        _require_active(account)
        await self._watch(account, source)
        return _principal(account, roles, source)

    async def _open(self, token: str, source: str) -> tuple[Account, ApiKey, frozenset[str]]:
        match = _TOKEN.fullmatch(token)
        if match is None:
            raise _unknown_key()
        key_id = match[1]
        try:
            found = await self._store.read(lambda conn: self._lookup(conn, key_id))
        except TamperedError:
            raise _tampered() from None
        token_hash = self._store.vault.token_hash(token)
        if found is None:
            raise _unknown_key()
        if not hmac.compare_digest(found[0].hash, token_hash):
            if self._counts is not None:
                self._counts.wrong_key(found[1].name)
            if self._behaviour is not None:
                await self._behaviour.failed(found[1].account_id)
            raise _unknown_key()
        stored, account, roles = found
        state = stored.key.state(self._store.clock.now())
        if state is not KeyState.LIVE:
            raise NotAuthenticated(f"this API key is {state}", cure=_NEW_KEY, policy="SEC-02")
        _require_active(account)
        if not is_registered(source, stored.key.addresses):
            raise NotAuthenticated(
                "this API key is not registered for this address",
                cure="ask an administrator for a key with --address",
                policy="CC-02",
            )
        return account, stored.key, roles

    async def _watch(self, account: Account, source: str) -> None:
        if self._counts is not None:
            self._counts.used(account.name, source)
        if self._behaviour is not None and not await self._behaviour.seen(
            account.account_id, source
        ):
            raise NotAuthenticated(
                f"account {account.name} was at too many places at once and is frozen",
                cure="ask two administrators: modemctl account unfreeze",
                policy="SEC-06",
            )

    def _roles(self, conn: Connection, account: Account) -> frozenset[str]:
        return roles_of(conn, self._store.vault, account, self._store.clock.now())

    def _lookup(
        self, conn: Connection, key_id: str
    ) -> tuple[StoredKey, Account, frozenset[str]] | None:
        stored = rows.find_key(conn, self._store.vault, key_id)
        if stored is None:
            return None
        account = rows.find_account(conn, self._store.vault, stored.key.account_id)
        return None if account is None else (stored, account, self._roles(conn, account))

    async def _touch(self, key_id: str) -> None:
        try:
            await self._store.write(lambda tx: rows.touch_key(tx, key_id))
        except StoreError as error:  # a full disk must not lock out who comes to look
            _log.warning("api.key_use_not_noted", extra={"error": str(error)})


def _principal(account: Account, roles: frozenset[str], source: str) -> Principal:
    return Principal(
        account_id=account.account_id,
        name=account.name,
        department=account.department,
        scopes=scopes_of(roles),
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
