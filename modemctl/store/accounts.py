"""Accounts and API keys: rows that authorise, each with a MAC that is checked at every reading."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from sqlalchemy import Connection, Row, bindparam, exists, insert, or_, select, update

from modemctl.model import AccountId
from modemctl.store.prepared import Prepared
from modemctl.store.tables import account as account_table
from modemctl.store.tables import api_key as key_table
from modemctl.store.tables import to_ms
from modemctl.store.transaction import Tx
from modemctl.vault import Vault

KEY_IDLE: Final = timedelta(days=15)
"""A key that was not used for longer is frozen (SEC-02)."""


class AccountKind(StrEnum):
    """Whom an account names: one person or one machine (CC-03)."""

    PERSON = "person"
    SYSTEM = "system"


class AccountState(StrEnum):
    """Whether an account may act."""

    PENDING = "pending"  # waits for training (SEC-14)
    ACTIVE = "active"
    FROZEN = "frozen"
    REVOKED = "revoked"


class KeyState(StrEnum):
    """Whether an API key opens the door."""

    LIVE = "live"
    EXPIRED = "expired"
    FROZEN = "frozen"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Who may ask; `department` None sees all departments. Roles are sorted."""

    account_id: AccountId
    name: str
    kind: AccountKind
    department: str | None
    roles: tuple[str, ...]
    state: AccountState
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """An API key without its secret."""

    key_id: str
    account_id: AccountId
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None
    addresses: tuple[str, ...] = ()
    """Networks (CIDR) where it counts, `unix` for the socket; none: socket and loopback."""
    issued_by: AccountId | None = None
    """Who had it in his hands first; a key that its owner renews hands this on. None: the machine's
    own administrator, or a time when this was not kept."""

    def state(self, now: datetime) -> KeyState:
        """What the key is worth at `now`."""
        if self.revoked_at is not None:
            return KeyState.REVOKED
        if now >= self.expires_at:
            return KeyState.EXPIRED
        if now - (self.last_used_at or self.created_at) > KEY_IDLE:
            return KeyState.FROZEN
        return KeyState.LIVE

    def opened_after(self, at: datetime) -> bool:
        """Whether it was neither revoked nor expired yet at `at`."""
        return self.expires_at > at and (self.revoked_at is None or self.revoked_at >= at)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredKey:
    """An API key with the keyed hash that stands for its secret."""

    key: ApiKey
    hash: bytes


# ---------------------------------------------------------------- accounts


def has_accounts(conn: Connection) -> bool:
    """Whether any account exists, whatever its state."""
    return bool(conn.scalar(select(exists(select(account_table.c.account_id)))))


def add_account(
    tx: Tx,
    *,
    name: str,
    kind: AccountKind,
    department: str | None,
    roles: Iterable[str],
    state: AccountState = AccountState.ACTIVE,
) -> Account:
    """Add an account under a new id; its name must be free."""
    new = Account(
        account_id=AccountId(str(uuid.uuid4())),
        name=name,
        kind=kind,
        department=department,
        roles=tuple(sorted(set(roles))),
        state=state,
        created_at=tx.now,
    )
    tx.conn.execute(
        insert(account_table).values(
            account_id=new.account_id,
            name=new.name,
            kind=new.kind,
            created_at=new.created_at,
            **_account_columns(new, tx.vault),
        )
    )
    return new


def find_account(conn: Connection, vault: Vault, account_id: str) -> Account | None:
    """The account of this id.

    Raises:
        TamperedError: its row carries no valid MAC.
    """
    row = _ACCOUNT.first(conn, {"id": account_id})
    return None if row is None else _account(row, vault)


def find_account_named(conn: Connection, vault: Vault, name: str) -> Account | None:
    """The account of this name.

    Raises:
        TamperedError: its row carries no valid MAC.
    """
    row = conn.execute(select(account_table).where(account_table.c.name == name)).first()
    return None if row is None else _account(row, vault)


def list_accounts(
    conn: Connection,
    vault: Vault,
    *,
    name: str | None = None,
    department: str | None,
    after: str,
    limit: int,
) -> Sequence[Account]:
    """Accounts by name, those after `after`; of one name or department unless they are None.

    Raises:
        TamperedError: a row carries no valid MAC.
    """
    query = select(account_table).where(account_table.c.name > after)
    if name is not None:
        query = query.where(account_table.c.name == name)
    if department is not None:
        query = query.where(account_table.c.department == department)
    rows = conn.execute(query.order_by(account_table.c.name).limit(limit))
    return [_account(row, vault) for row in rows]


def change_account(
    tx: Tx,
    before: Account,
    *,
    roles: Iterable[str] | None = None,
    department: str | None = None,
    state: AccountState | None = None,
) -> Account:
    """Change what is given and keep the rest; one writer makes reading first safe."""
    after = replace(
        before,
        roles=before.roles if roles is None else tuple(sorted(set(roles))),
        department=before.department if department is None else department,
        state=before.state if state is None else state,
    )
    tx.conn.execute(
        update(account_table)
        .where(account_table.c.account_id == after.account_id)
        .values(**_account_columns(after, tx.vault))
    )
    return after


# ---------------------------------------------------------------- API keys


def add_key(
    tx: Tx,
    *,
    key_id: str,
    account_id: AccountId,
    token_hash: bytes,
    expires_at: datetime,
    addresses: Sequence[str] = (),
    issued_by: AccountId | None = None,
) -> ApiKey:
    """Add a key of which only the keyed hash is kept."""
    new = ApiKey(
        key_id=key_id,
        account_id=account_id,
        created_at=tx.now,
        expires_at=expires_at,
        last_used_at=None,
        revoked_at=None,
        addresses=tuple(addresses),
        issued_by=issued_by,
    )
    tx.conn.execute(
        insert(key_table).values(
            addresses=json.dumps(new.addresses) if addresses else None,
            issued_by=issued_by,
            key_id=key_id,
            account_id=account_id,
            hash=token_hash,
            created_at=new.created_at,
            expires_at=new.expires_at,
            mac=_key_mac(new, token_hash, tx.vault),
        )
    )
    return new


def find_key(conn: Connection, vault: Vault, key_id: str) -> StoredKey | None:
    """The key of this id, with its hash.

    Raises:
        TamperedError: its row carries no valid MAC.
    """
    row = _KEY.first(conn, {"id": key_id})
    return None if row is None else _stored_key(row, vault)


def list_keys(conn: Connection, vault: Vault, account_id: str) -> Sequence[ApiKey]:
    """All keys of an account, oldest first.

    Raises:
        TamperedError: a row carries no valid MAC.
    """
    rows = conn.execute(
        select(key_table)
        .where(key_table.c.account_id == account_id)
        .order_by(key_table.c.created_at, key_table.c.key_id)
    )
    return [_stored_key(row, vault).key for row in rows]


def revoke_key(tx: Tx, stored: StoredKey) -> ApiKey:
    """End a key now."""
    after = replace(stored.key, revoked_at=tx.now)
    tx.conn.execute(
        update(key_table)
        .where(key_table.c.key_id == after.key_id)
        .values(revoked_at=after.revoked_at, mac=_key_mac(after, stored.hash, tx.vault))
    )
    return after


def touch_key(tx: Tx, key_id: str) -> None:
    """Note that a key was used now; never runs back."""
    tx.conn.execute(
        update(key_table)
        .where(
            key_table.c.key_id == key_id,
            or_(key_table.c.last_used_at.is_(None), key_table.c.last_used_at < tx.now),
        )
        .values(last_used_at=tx.now)
    )


# ---------------------------------------------------------------- rows and MACs


def _account_columns(account: Account, vault: Vault) -> dict[str, str | bytes | None]:
    return {
        "department": account.department,
        "roles": _roles_text(account.roles),
        "state": account.state,
        "mac": vault.mac("account", *_account_fields(account)),
    }


def _account_fields(account: Account) -> tuple[str | None, ...]:
    return (
        account.account_id,
        account.name,
        account.kind,
        account.department,
        _roles_text(account.roles),
        account.state,
    )


def _roles_text(roles: Sequence[str]) -> str:
    return json.dumps(sorted(roles), separators=(",", ":"))


def _account(row: Row[tuple[object, ...]], vault: Vault) -> Account:
    fields = (row.account_id, row.name, row.kind, row.department, row.roles, row.state)
    vault.check_mac(row.mac, "account", *fields)
    return Account(
        account_id=AccountId(row.account_id),
        name=row.name,
        kind=AccountKind(row.kind),
        department=row.department,
        roles=tuple(json.loads(row.roles)),
        state=AccountState(row.state),
        created_at=row.created_at,
    )


def _key_fields(key: ApiKey, token_hash: bytes) -> tuple[str | int | None, ...]:
    return (
        key.key_id,
        key.account_id,
        token_hash.hex(),
        to_ms(key.expires_at),
        None if key.revoked_at is None else to_ms(key.revoked_at),
        *key.addresses,
        *(() if key.issued_by is None else (f"by {key.issued_by}",)),
    )


def _key_mac(key: ApiKey, token_hash: bytes, vault: Vault) -> bytes:
    return vault.mac("api_key", *_key_fields(key, token_hash))


def _stored_key(row: Row[tuple[object, ...]], vault: Vault) -> StoredKey:
    key = ApiKey(
        key_id=row.key_id,
        account_id=AccountId(row.account_id),
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
        revoked_at=row.revoked_at,
        addresses=tuple(json.loads(row.addresses or "[]")),
        issued_by=None if row.issued_by is None else AccountId(row.issued_by),
    )
    vault.check_mac(row.mac, "api_key", *_key_fields(key, row.hash))
    return StoredKey(key=key, hash=row.hash)


_ACCOUNT: Final = Prepared(
    select(account_table).where(account_table.c.account_id == bindparam("id"))
)
_KEY: Final = Prepared(select(key_table).where(key_table.c.key_id == bindparam("id")))
