"""Roles for a time (SEC-01): rows that authorise, each with a MAC that every reading checks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, RowMapping, bindparam, insert, select, update

from modemctl.model import AccountId
from modemctl.store.accounts import Account
from modemctl.store.prepared import Prepared
from modemctl.store.tables import elevation, to_ms
from modemctl.store.transaction import Tx
from modemctl.vault import Vault


@dataclass(frozen=True, slots=True, kw_only=True)
class Elevation:
    """An account has these roles as well, from `valid_from` until `valid_until`."""

    elevation_id: int
    account_id: AccountId
    roles: tuple[str, ...]
    valid_from: datetime
    valid_until: datetime
    request_id: str
    ended_at: datetime | None

    def is_in_force(self, now: datetime) -> bool:
        """Whether it counts at `now`."""
        return self.ended_at is None and self.valid_from <= now < self.valid_until


def add(
    tx: Tx,
    *,
    account_id: AccountId,
    roles: Sequence[str],
    valid_until: datetime,
    request_id: str,
) -> Elevation:
    """Add roles from now on."""
    draft = Elevation(
        elevation_id=0,
        account_id=account_id,
        roles=tuple(sorted(set(roles))),
        valid_from=tx.now,
        valid_until=valid_until,
        request_id=request_id,
        ended_at=None,
    )
    new_id = tx.conn.scalar(
        insert(elevation)
        .values(
            account_id=account_id,
            roles=json.dumps(draft.roles),
            valid_from=draft.valid_from,
            valid_until=valid_until,
            request_id=request_id,
            mac=b"",  # it covers the number, which the row has only now
        )
        .returning(elevation.c.elevation_id)
    )
    assert new_id is not None
    return _put(tx, replace(draft, elevation_id=new_id))


def end(tx: Tx, before: Elevation) -> Elevation:
    """End an elevation now."""
    return _put(tx, replace(before, ended_at=tx.now))


def find(conn: Connection, vault: Vault, elevation_id: int) -> Elevation | None:
    """The elevation of this number.

    Raises:
        TamperedError: its row carries no valid MAC.
    """
    rows = conn.execute(select(elevation).where(elevation.c.elevation_id == elevation_id))
    row = rows.mappings().first()
    return None if row is None else _elevation(vault, row)


def find_many(
    conn: Connection, vault: Vault, *, account_id: str | None = None, limit: int | None = None
) -> Sequence[Elevation]:
    """Elevations, past and present, newest first; of one account unless None.

    Raises:
        TamperedError: a row carries no valid MAC.
    """
    query = select(elevation).order_by(elevation.c.elevation_id.desc()).limit(limit)
    if account_id is not None:
        query = query.where(elevation.c.account_id == account_id)
    return [_elevation(vault, row) for row in conn.execute(query).mappings()]


def roles_of(conn: Connection, vault: Vault, account: Account, now: datetime) -> frozenset[str]:
    """An account's own roles and those that it has for a time.

    Raises:
        TamperedError: a row carries no valid MAC.
    """
    wanted = {"account": account.account_id, "now": now}
    found = [_elevation(vault, row) for row in _LIVE.mappings(conn, wanted)]
    added = (role for one in found if one.is_in_force(now) for role in one.roles)
    return frozenset({*account.roles, *added})


def _put(tx: Tx, after: Elevation) -> Elevation:
    mac = tx.vault.mac("elevation", *_fields(after))
    tx.conn.execute(
        update(elevation)
        .where(elevation.c.elevation_id == after.elevation_id)
        .values(ended_at=after.ended_at, mac=mac)
    )
    return after


def _fields(one: Elevation) -> tuple[object, ...]:
    return (
        one.elevation_id,
        one.account_id,
        json.dumps(one.roles),
        to_ms(one.valid_from),
        to_ms(one.valid_until),
        one.request_id,
        None if one.ended_at is None else to_ms(one.ended_at),
    )


def _elevation(vault: Vault, row: RowMapping) -> Elevation:
    one = Elevation(
        elevation_id=row["elevation_id"],
        account_id=AccountId(row["account_id"]),
        roles=tuple(json.loads(row["roles"])),
        valid_from=row["valid_from"],
        valid_until=row["valid_until"],
        request_id=row["request_id"],
        ended_at=row["ended_at"],
    )
    vault.check_mac(row["mac"], "elevation", *_fields(one))
    return one


_LIVE: Final = Prepared(
    select(elevation).where(
        elevation.c.account_id == bindparam("account"),
        elevation.c.ended_at.is_(None),
        elevation.c.valid_until > bindparam("now"),
    )
)
