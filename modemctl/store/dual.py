"""Requests for acts of two persons (SEC-04); each row carries a MAC that every reading checks."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection, RowMapping, insert, or_, select, update

from modemctl.model import AccountId, EventKind
from modemctl.policy.dual import DualKind, DualState
from modemctl.store.tables import dual_request, to_ms
from modemctl.store.transaction import Tx
from modemctl.vault import Vault


@dataclass(frozen=True, slots=True, kw_only=True)
class DualRequest:
    """One person wants `kind` done to `subject`; `details` is all that is to be done.

    `state` is as stored: whether its time is over, `state_at` tells. `department` is the asker's.
    """

    request_id: str
    kind: DualKind
    subject: str
    details: Mapping[str, str]
    reason: str
    department: str | None
    state: DualState
    asked_by: AccountId
    asked_name: str
    asked_at: datetime
    expires_at: datetime
    decided_by: AccountId | None
    decided_name: str | None
    decided_at: datetime | None
    spent_at: datetime | None


def add(
    tx: Tx,
    *,
    kind: DualKind,
    subject: str,
    details: Mapping[str, str],
    reason: str,
    department: str | None,
    by: AccountId,
    name: str,
    life: timedelta,
) -> DualRequest:
    """Keep a request until another person decides, `life` at most."""
    new = DualRequest(
        request_id=str(uuid.uuid4()),
        kind=kind,
        subject=subject,
        details=dict(details),
        reason=reason,
        department=department,
        state=DualState.ASKED,
        asked_by=by,
        asked_name=name,
        asked_at=tx.now,
        expires_at=tx.now + life,
        decided_by=None,
        decided_name=None,
        decided_at=None,
        spent_at=None,
    )
    tx.conn.execute(insert(dual_request).values(_values(tx.vault, new)))
    _tell(tx, new)
    return new


def find(conn: Connection, vault: Vault, request_id: str) -> DualRequest | None:
    """The request of this id.

    Raises:
        TamperedError: its row carries no valid MAC.
    """
    found = conn.execute(select(dual_request).where(dual_request.c.request_id == request_id))
    row = found.mappings().first()
    return None if row is None else of_row(vault, row)


def find_many(
    conn: Connection, vault: Vault, *, state: DualState | None, before: str, limit: int
) -> Sequence[DualRequest]:
    """Requests, newest first, behind the one with id `before` (empty: from the newest on).

    Raises:
        TamperedError: a row carries no valid MAC.
    """
    columns = dual_request.c
    query = select(dual_request)
    if state is not None:
        query = query.where(columns.state == state.value)
    if before:
        at = select(columns.asked_at).where(columns.request_id == before).scalar_subquery()
        is_older = (columns.asked_at == at) & (columns.request_id > before)
        query = query.where(or_(columns.asked_at < at, is_older))
    query = query.order_by(columns.asked_at.desc(), columns.request_id).limit(limit)
    return [of_row(vault, row) for row in conn.execute(query).mappings()]


def decide(
    tx: Tx, before: DualRequest, state: DualState, *, by: AccountId, name: str
) -> DualRequest:
    """Note who confirmed, refused or withdrew a request."""
    after = replace(before, state=state, decided_by=by, decided_name=name, decided_at=tx.now)
    return _put(tx, after)


def spend(tx: Tx, before: DualRequest) -> DualRequest:
    """A confirmed request is used now, and never again."""
    return _put(tx, replace(before, state=DualState.SPENT, spent_at=tx.now))


def _put(tx: Tx, after: DualRequest) -> DualRequest:
    tx.conn.execute(
        update(dual_request)
        .where(dual_request.c.request_id == after.request_id)
        .values(_values(tx.vault, after))
    )
    _tell(tx, after)
    return after


def _tell(tx: Tx, one: DualRequest) -> None:
    facts = {"request": one.state.value, "kind": one.kind.value, "department": one.department}
    tx.event(EventKind.REQUEST, one.request_id, {**facts})


# ---------------------------------------------------------------- rows and MACs


def _values(vault: Vault, one: DualRequest) -> dict[str, object]:
    values: dict[str, object] = {
        "request_id": one.request_id,
        "kind": one.kind.value,
        "subject": one.subject,
        "details": json.dumps(one.details, ensure_ascii=False, sort_keys=True),
        "reason": one.reason,
        "department": one.department,
        "state": one.state.value,
        "asked_by": one.asked_by,
        "asked_name": one.asked_name,
        "asked_at": one.asked_at,
        "expires_at": one.expires_at,
        "decided_by": one.decided_by,
        "decided_name": one.decided_name,
        "decided_at": one.decided_at,
        "spent_at": one.spent_at,
    }
    return {**values, "mac": vault.mac("dual_request", *_mac_fields(values))}


def _mac_fields(row: Mapping[str, object]) -> Sequence[object]:
    fields = (value for name, value in sorted(row.items()) if name != "mac")
    return [to_ms(value) if isinstance(value, datetime) else value for value in fields]


def of_row(vault: Vault, row: RowMapping) -> DualRequest:
    """The request of a whole row of `dual_request`.

    Raises:
        TamperedError: the row carries no valid MAC.
    """
    vault.check_mac(row["mac"], "dual_request", *_mac_fields({**row}))
    return DualRequest(
        request_id=row["request_id"],
        kind=DualKind(row["kind"]),
        subject=row["subject"],
        details=json.loads(row["details"]),
        reason=row["reason"],
        department=row["department"],
        state=DualState(row["state"]),
        asked_by=AccountId(row["asked_by"]),
        asked_name=row["asked_name"],
        asked_at=row["asked_at"],
        expires_at=row["expires_at"],
        decided_by=None if row["decided_by"] is None else AccountId(row["decided_by"]),
        decided_name=row["decided_name"],
        decided_at=row["decided_at"],
        spent_at=row["spent_at"],
    )
