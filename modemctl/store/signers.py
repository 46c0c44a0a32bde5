"""Who is who in a batch, and who may take its next step; for people, not for decisions."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from modemctl.errors import TamperedError
from modemctl.model import AccountId
from modemctl.policy.approvals import may_take
from modemctl.store.accounts import Account, AccountState, find_account
from modemctl.store.authorities import OPERATOR, list_approver_keys, list_authorisations
from modemctl.store.evidence import as_authority
from modemctl.store.tables import account
from modemctl.vault import Vault


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """Somebody who may sign a step now; `kids` are the keys that would count."""

    account_id: AccountId
    name: str
    kids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownOperator:
    """Who is authorised to send for a department."""

    account_id: AccountId
    name: str
    department: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A step of a department's batch; nobody of `taken` takes it."""

    step: str
    department: str
    general_department: str
    taken: Collection[str]


def names_of(conn: Connection, account_ids: Collection[str]) -> Mapping[str, str]:
    """Account → its name; unknown ones are left out."""
    rows = conn.execute(
        select(account.c.account_id, account.c.name).where(account.c.account_id.in_(account_ids))
    )
    return {row.account_id: row.name for row in rows}


def operators_at(conn: Connection, vault: Vault, *, at: datetime) -> Sequence[KnownOperator]:
    """Whom authorisations make operators at `at`; none where a row carries no valid MAC."""
    try:
        granted = list_authorisations(conn, vault, kind=OPERATOR)
    except TamperedError:
        return ()
    in_force = [one for one in granted if one.is_in_force(at)]
    names = names_of(conn, {one.account_id for one in in_force})
    return [
        KnownOperator(
            account_id=one.account_id,
            name=names.get(one.account_id, one.account_id),
            department=one.department,
        )
        for one in in_force
    ]


def signers(conn: Connection, vault: Vault, turn: Turn, *, now: datetime) -> Sequence[Signer]:
    """Who may take a step now, by name; rows that carry no valid MAC count for nothing."""
    try:
        granted = list_authorisations(conn, vault, kind=turn.step)
        found = {
            one.account_id
            for one in granted
            if one.account_id not in turn.taken
            and one.is_in_force(now)
            and may_take(
                turn.step,
                as_authority(one),
                department=turn.department,
                general_department=turn.general_department,
            )
        }
        people = [one for each in sorted(found) if (one := find_account(conn, vault, each))]
        known = [_signer(conn, vault, one, now) for one in people]
    except TamperedError:
        return ()
    return sorted((one for one in known if one.kids), key=lambda one: one.name)


def _signer(conn: Connection, vault: Vault, one: Account, now: datetime) -> Signer:
    keys = list_approver_keys(conn, vault, one.account_id)
    good = tuple(
        key.kid
        for key in keys
        if key.revoked_at is None
        and key.valid_from <= now < key.valid_until
        and one.state is AccountState.ACTIVE
    )
    return Signer(account_id=one.account_id, name=one.name, kids=good)
