"""Batches stop when a person on whom they rest may act no more (SMS-06, SEC-10).

Nothing here reads a MAC: at worst too much is held, and whoever may operate lets it go on.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import ColumnElement, and_, exists, false, or_, select

from modemctl.lifecycle import BatchState
from modemctl.model import BatchId, Category
from modemctl.store.authorities import OPERATOR
from modemctl.store.batches import move
from modemctl.store.tables import approval, authorisation, batch
from modemctl.store.transaction import Tx


def hold_operated(
    tx: Tx, department: str, *, general_department: str, by: str, reason: str
) -> Sequence[BatchId]:
    """Hold what the operator of a department has running, whoever is named in it.

    Also what would start by itself. Returns what was held.
    """
    return _hold(tx, _operated([department], general_department), by=by, reason=reason)


def hold_approved(tx: Tx, account_id: str, *, by: str, reason: str) -> Sequence[BatchId]:
    """Hold what runs, or would start by itself, on this account's signature."""
    return _hold(tx, _approved(account_id), by=by, reason=reason)


def hold_signed(tx: Tx, kid: str, *, by: str, reason: str) -> Sequence[BatchId]:
    """Hold all that is approved with a key and not over, started or not (SMS-01)."""
    signed = exists().where(approval.c.batch_id == batch.c.batch_id, approval.c.kid == kid)
    states = (BatchState.RUNNING, BatchState.APPROVED)
    resting = and_(batch.c.state.in_(states), signed)
    return _hold_all(tx, resting, by=by, reason=reason, policy="SMS-01")


def hold_resting_on(
    tx: Tx, account_id: str, *, general_department: str, by: str, reason: str
) -> Sequence[BatchId]:
    """Hold what runs, or would start by itself, on this account as operator or approver."""
    departments = tx.conn.scalars(
        select(authorisation.c.department).where(
            authorisation.c.account_id == account_id,
            authorisation.c.kind == OPERATOR,
            authorisation.c.revoked_at.is_(None),
            authorisation.c.valid_from <= tx.now,
            authorisation.c.valid_until > tx.now,
        )
    ).all()
    condition = or_(
        batch.c.operator == account_id,
        _operated(departments, general_department),
        _approved(account_id),
    )
    return _hold(tx, condition, by=by, reason=reason)


def _operated(departments: Collection[str], general_department: str) -> ColumnElement[bool]:
    is_notice = batch.c.category == Category.NOTICE
    notices = and_(is_notice, batch.c.department.in_(sorted(departments)))
    return or_(notices, ~is_notice if general_department in departments else false())


def _approved(account_id: str) -> ColumnElement[bool]:
    return exists().where(
        approval.c.batch_id == batch.c.batch_id, approval.c.account_id == account_id
    )


def _hold(tx: Tx, resting: ColumnElement[bool], *, by: str, reason: str) -> Sequence[BatchId]:
    ready = and_(batch.c.state == BatchState.APPROVED, batch.c.starts_itself.is_(True))
    live = and_(or_(batch.c.state == BatchState.RUNNING, ready), resting)
    return _hold_all(tx, live, by=by, reason=reason, policy="SMS-06")


def _hold_all(
    tx: Tx, condition: ColumnElement[bool], *, by: str, reason: str, policy: str
) -> Sequence[BatchId]:
    rows = tx.conn.scalars(
        select(batch.c.batch_id).where(condition).order_by(batch.c.batch_id)
    ).all()
    held = [
        BatchId(batch_id)
        for batch_id in rows
        if move(tx, BatchId(batch_id), BatchState.HELD, reason=reason)
    ]
    for batch_id in held:
        tx.audit(by, "batch.hold", batch_id, {"reason": reason, "policy": policy})
    return held
