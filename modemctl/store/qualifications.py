"""Training, confidentiality agreement and drills of persons (SEC-14), each row under a MAC."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date

from sqlalchemy import Connection, delete, insert, select

from modemctl.model import AccountId
from modemctl.store.tables import qualification
from modemctl.store.transaction import Tx
from modemctl.vault import Vault


@dataclass(frozen=True, slots=True, kw_only=True)
class Qualification:
    """What a person has done before access: training, agreement; and drills failed since."""

    account_id: AccountId
    hours: int
    score: int
    trained_on: date
    agreement_on: date
    reference: str
    failed_drills: int


def find(conn: Connection, vault: Vault, account_id: str) -> Qualification | None:
    """What is on record of an account.

    Raises:
        TamperedError: its row carries no valid MAC.
    """
    query = select(qualification).where(qualification.c.account_id == account_id)
    row = conn.execute(query).mappings().first()
    if row is None:
        return None
    one = Qualification(
        account_id=AccountId(row["account_id"]),
        hours=row["hours"],
        score=row["score"],
        trained_on=date.fromisoformat(row["trained_on"]),
        agreement_on=date.fromisoformat(row["agreement_on"]),
        reference=row["reference"],
        failed_drills=row["failed_drills"],
    )
    vault.check_mac(row["mac"], "qualification", *_fields(one))
    return one


def put(tx: Tx, one: Qualification) -> Qualification:
    """Keep what is on record of an account, in place of what was."""
    tx.conn.execute(delete(qualification).where(qualification.c.account_id == one.account_id))
    account_id, hours, score, trained_on, agreement_on, reference, failed = _fields(one)
    tx.conn.execute(
        insert(qualification).values(
            account_id=account_id,
            hours=hours,
            score=score,
            trained_on=trained_on,
            agreement_on=agreement_on,
            reference=reference,
            failed_drills=failed,
            mac=tx.vault.mac("qualification", *_fields(one)),
        )
    )
    return one


def note_drill(tx: Tx, before: Qualification, *, is_passed: bool) -> Qualification:
    """A drill: one that is passed forgives those that failed."""
    failed = 0 if is_passed else before.failed_drills + 1
    return put(tx, replace(before, failed_drills=failed))


def _fields(one: Qualification) -> tuple[object, ...]:
    return (
        one.account_id,
        one.hours,
        one.score,
        one.trained_on.isoformat(),
        one.agreement_on.isoformat(),
        one.reference,
        one.failed_drills,
    )
