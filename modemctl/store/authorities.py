"""Who may decide: approvers' public keys and authorisations, MACs checked at every reading."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, Row, String, bindparam, insert, or_, select, update

from modemctl.errors import TamperedError
from modemctl.model import AccountId
from modemctl.store.accounts import AccountKind, AccountState, find_account
from modemctl.store.prepared import Prepared
from modemctl.store.tables import approver_key as approver_table
from modemctl.store.tables import authorisation as authorisation_table
from modemctl.store.tables import to_ms
from modemctl.store.transaction import Tx
from modemctl.vault import Vault

ALL_DEPARTMENTS: Final = "*"
"""An authorisation for the whole company (a general manager's); never one of an operator."""
OPERATOR: Final = "operator"
DRAFTER: Final = "drafter"
"""Kind of who may draft for a department that keeps such a list (SMS-11)."""
"""The kind of authorisation that lets an account send for a department (SMS-06)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredKey:
    """An approver's Ed25519 public key (32 octets) and when it counts."""

    kid: str
    account_id: AccountId
    public_key: bytes
    valid_from: datetime
    valid_until: datetime
    revoked_at: datetime | None
    revoke_reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorisation:
    """An account may act as `kind` for a department, from `valid_from` until `valid_until`."""

    authorisation_id: int
    kind: str
    department: str
    account_id: AccountId
    valid_from: datetime
    valid_until: datetime
    granted_by: AccountId
    revoked_at: datetime | None
    request_id: str | None = None
    """The act of two persons that granted it; None: an earlier version."""

    def is_in_force(self, now: datetime) -> bool:
        """Whether it counts at `now`."""
        return self.revoked_at is None and self.valid_from <= now < self.valid_until

    def covers(self, department: str) -> bool:
        """Whether it is for this department or for all."""
        return self.department in {department, ALL_DEPARTMENTS}


# ---------------------------------------------------------------- approvers' keys


def add_approver_key(
    tx: Tx,
    *,
    kid: str,
    account_id: AccountId,
    public_key: bytes,
    valid_from: datetime,
    valid_until: datetime,
) -> RegisteredKey:
    """Register a public key under its `kid`, which must be free."""
    new = RegisteredKey(
        kid=kid,
        account_id=account_id,
        public_key=public_key,
        valid_from=valid_from,
        valid_until=valid_until,
        revoked_at=None,
        revoke_reason=None,
    )
    tx.conn.execute(
        insert(approver_table).values(
            kid=kid,
            account_id=account_id,
            public_key=public_key,
            valid_from=valid_from,
            valid_until=valid_until,
            mac=tx.vault.mac("approver_key", *_approver_fields(new)),
        )
    )
    return new


def find_approver_key(conn: Connection, vault: Vault, kid: str) -> RegisteredKey | None:
    """The public key of this `kid`.

    Raises:
        TamperedError: its row carries no valid MAC.
    """
    rows = _KEYS.rows(conn, {"kids": [kid]})
    return _approver_key(rows[0], vault) if rows else None


def read_approver_keys(
    conn: Connection, vault: Vault, kids: Collection[str]
) -> Mapping[str, RegisteredKey]:
    """The keys of these `kid`s; one whose row carries no valid MAC is left out."""
    if not kids:
        return {}
    found: dict[str, RegisteredKey] = {}
    for row in _KEYS.rows(conn, {"kids": sorted(kids)}):
        try:
            found[row.kid] = _approver_key(row, vault)
        except TamperedError:
            continue  # an unknown key and a forged one approve nothing alike
    return found


def list_approver_keys(conn: Connection, vault: Vault, account_id: str) -> Sequence[RegisteredKey]:
    """All keys of an account, oldest first.

    Raises:
        TamperedError: a row carries no valid MAC.
    """
    rows = conn.execute(
        select(approver_table)
        .where(approver_table.c.account_id == account_id)
        .order_by(approver_table.c.valid_from, approver_table.c.kid)
    )
    return [_approver_key(row, vault) for row in rows]


def revoke_approver_key(tx: Tx, before: RegisteredKey, *, reason: str) -> RegisteredKey:
    """End a public key now."""
    after = replace(before, revoked_at=tx.now, revoke_reason=reason)
    tx.conn.execute(
        update(approver_table)
        .where(approver_table.c.kid == after.kid)
        .values(
            revoked_at=after.revoked_at,
            revoke_reason=reason,
            mac=tx.vault.mac("approver_key", *_approver_fields(after)),
        )
    )
    return after


# ---------------------------------------------------------------- authorisations


def add_authorisation(
    tx: Tx,
    *,
    kind: str,
    department: str,
    account_id: AccountId,
    valid_from: datetime,
    valid_until: datetime,
    granted_by: AccountId,
    request_id: str | None = None,
) -> Authorisation:
    """Record that an account may act as `kind` for a department."""
    draft = Authorisation(
        authorisation_id=0,
        kind=kind,
        department=department,
        account_id=account_id,
        valid_from=valid_from,
        valid_until=valid_until,
        granted_by=granted_by,
        revoked_at=None,
        request_id=request_id,
    )
    new_id = tx.conn.scalar(
        insert(authorisation_table)
        .values(
            kind=kind,
            department=department,
            account_id=account_id,
            valid_from=valid_from,
            valid_until=valid_until,
            granted_by=granted_by,
            request_id=request_id,
            mac=b"",  # it covers the number, which the row has only now
        )
        .returning(authorisation_table.c.authorisation_id)
    )
    assert new_id is not None
    return _put(tx, replace(draft, authorisation_id=new_id))


def find_authorisation(
    conn: Connection, vault: Vault, authorisation_id: int
) -> Authorisation | None:
    """The authorisation of this id.

    Raises:
        TamperedError: its row carries no valid MAC.
    """
    row = conn.execute(
        select(authorisation_table).where(
            authorisation_table.c.authorisation_id == authorisation_id
        )
    ).first()
    return None if row is None else _authorisation(row, vault)


def list_authorisations(
    conn: Connection,
    vault: Vault,
    *,
    account_id: str | None = None,
    kind: str | None = None,
    department: str | None = None,
    after: int = 0,
    limit: int | None = None,
) -> Sequence[Authorisation]:
    """Authorisations by id, whether in force or not; a filter that is None lets all pass.

    Raises:
        TamperedError: a row carries no valid MAC.
    """
    columns = authorisation_table.c
    query = select(authorisation_table).where(columns.authorisation_id > after)
    for column, wanted in (
        (columns.account_id, account_id),
        (columns.kind, kind),
        (columns.department, department),
    ):
        if wanted is not None:
            query = query.where(column == wanted)
    rows = conn.execute(query.order_by(columns.authorisation_id).limit(limit))
    return [_authorisation(row, vault) for row in rows]


def authorisations_of(
    conn: Connection, vault: Vault, account_ids: Collection[str]
) -> Sequence[Authorisation]:
    """All authorisations of these accounts, account by account.

    Raises:
        TamperedError: a row carries no valid MAC.
    """
    if not account_ids:
        return ()
    rows = _OF_ACCOUNTS.rows(conn, {"accounts": sorted(account_ids)})
    return [_authorisation(row, vault) for row in rows]


def may_draft(
    conn: Connection, vault: Vault, *, account_id: str, department: str, at: datetime
) -> bool:
    """Whether an account may draft for a department (SMS-11).

    A department that never named a drafter keeps no list: there its own people draft.
    """
    columns = authorisation_table.c
    listed = select(columns.authorisation_id).where(
        columns.kind == DRAFTER, columns.department == department
    )
    if conn.execute(listed.limit(1)).first() is None:
        return True
    return is_authorised(
        conn, vault, account_id=account_id, kind=DRAFTER, department=department, at=at
    )


def is_authorised(
    conn: Connection,
    vault: Vault,
    *,
    account_id: str,
    kind: str,
    department: str,
    at: datetime,
) -> bool:
    """Whether an active person may act as `kind` for the department at `at`.

    Rows that carry no valid MAC authorise nothing.
    """
    try:
        account = find_account(conn, vault, account_id)
    except TamperedError:
        return False
    if account is None or account.kind is not AccountKind.PERSON:
        return False
    if account.state is not AccountState.ACTIVE:
        return False
    wanted = {"account": account_id, "kind": kind, "department": department}
    return any(_counts(row, vault, at) for row in _IN_FORCE.rows(conn, wanted))


def revoke_authorisation(tx: Tx, before: Authorisation) -> Authorisation:
    """End an authorisation now."""
    return _put(tx, replace(before, revoked_at=tx.now))


def end_at(tx: Tx, before: Authorisation, at: datetime) -> Authorisation:
    """An authorisation ends earlier than it was granted for: a hand-over."""
    return _put(tx, replace(before, valid_until=at))


def _put(tx: Tx, after: Authorisation) -> Authorisation:
    tx.conn.execute(
        update(authorisation_table)
        .where(authorisation_table.c.authorisation_id == after.authorisation_id)
        .values(
            valid_until=after.valid_until,
            revoked_at=after.revoked_at,
            mac=tx.vault.mac("authorisation", *_authorisation_fields(after)),
        )
    )
    return after


# ---------------------------------------------------------------- rows and MACs


def _counts(row: Row[tuple[object, ...]], vault: Vault, at: datetime) -> bool:
    try:
        return _authorisation(row, vault).is_in_force(at)
    except TamperedError:
        return False


def _ms(at: datetime | None) -> int | None:
    return None if at is None else to_ms(at)


def _approver_fields(key: RegisteredKey) -> tuple[str | int | None, ...]:
    return (
        key.kid,
        key.account_id,
        key.public_key.hex(),
        to_ms(key.valid_from),
        to_ms(key.valid_until),
        _ms(key.revoked_at),
        key.revoke_reason,
    )


def _approver_key(row: Row[tuple[object, ...]], vault: Vault) -> RegisteredKey:
    key = RegisteredKey(
        kid=row.kid,
        account_id=AccountId(row.account_id),
        public_key=row.public_key,
        valid_from=row.valid_from,
        valid_until=row.valid_until,
        revoked_at=row.revoked_at,
        revoke_reason=row.revoke_reason,
    )
    vault.check_mac(row.mac, "approver_key", *_approver_fields(key))
    return key


def _authorisation_fields(one: Authorisation) -> tuple[str | int | None, ...]:
    # Rows of an earlier version have no request, and their MACs do not cover their number.
    request = () if one.request_id is None else (one.request_id, one.authorisation_id)
    return (
        one.kind,
        one.department,
        one.account_id,
        to_ms(one.valid_from),
        to_ms(one.valid_until),
        one.granted_by,
        _ms(one.revoked_at),
        *request,
    )


def _authorisation(row: Row[tuple[object, ...]], vault: Vault) -> Authorisation:
    one = Authorisation(
        authorisation_id=row.authorisation_id,
        kind=row.kind,
        department=row.department,
        account_id=AccountId(row.account_id),
        valid_from=row.valid_from,
        valid_until=row.valid_until,
        granted_by=AccountId(row.granted_by),
        revoked_at=row.revoked_at,
        request_id=row.request_id,
    )
    vault.check_mac(row.mac, "authorisation", *_authorisation_fields(one))
    return one


_KEYS: Final = Prepared(
    select(approver_table).where(
        approver_table.c.kid.in_(bindparam("kids", type_=String, expanding=True))
    )
)
_OF_ACCOUNTS: Final = Prepared(
    select(authorisation_table)
    .where(
        authorisation_table.c.account_id.in_(bindparam("accounts", type_=String, expanding=True))
    )
    .order_by(authorisation_table.c.account_id, authorisation_table.c.authorisation_id)
)
_IN_FORCE: Final = Prepared(
    select(authorisation_table).where(
        authorisation_table.c.account_id == bindparam("account"),
        authorisation_table.c.kind == bindparam("kind"),
        or_(
            authorisation_table.c.department == bindparam("department"),
            authorisation_table.c.department == ALL_DEPARTMENTS,
        ),
        authorisation_table.c.revoked_at.is_(None),
    )
)
