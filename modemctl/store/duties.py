"""When each regular duty was done last."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, insert, select, update

from modemctl.policy.duties import TURNS, Duty
from modemctl.store.tables import duty as table
from modemctl.store.transaction import Json, Tx

_LOG_AUDITS: Final = "log_audits"
"""That the log is screened and audited period by period (SEC-05); its papers tell when it was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DutyRow:
    """`done_by` is empty where it was never done: then `done_at` is when the site began."""

    duty: Duty
    done_at: datetime
    done_by: str


def begin(tx: Tx) -> None:
    """Let duties that are new to this site begin now."""
    known = set(tx.conn.scalars(select(table.c.duty)))
    every = {one.value: TURNS[one].policy for one in Duty} | {_LOG_AUDITS: "SEC-05"}
    new = {one: policy for one, policy in every.items() if one not in known}
    if new:
        rows = [{"duty": one, "done_at": tx.now, "done_by": ""} for one in new]
        tx.conn.execute(insert(table), rows)
        for one, policy in new.items():
            tx.audit(tx.node_id, "duty.begin", one, {"policy": policy})


def log_audits_began(conn: Connection) -> datetime | None:
    """Since when the log's papers are asked for; None before the first start."""
    return conn.scalar(select(table.c.done_at).where(table.c.duty == _LOG_AUDITS))


def note_done(tx: Tx, duty: Duty, *, by: str, details: Mapping[str, Json]) -> None:
    """Note that a duty was done, in the audit log too."""
    begin(tx)
    done = update(table).where(table.c.duty == duty.value).values(done_at=tx.now, done_by=by)
    tx.conn.execute(done)
    tx.audit(by, "duty.done", duty.value, {**details, "policy": TURNS[duty].policy})


def read_all(conn: Connection) -> Mapping[Duty, DutyRow]:
    """Every duty that the site knows."""
    rows = conn.execute(select(table).where(table.c.duty.in_([one.value for one in Duty])))
    return {
        Duty(row.duty): DutyRow(duty=Duty(row.duty), done_at=row.done_at, done_by=row.done_by)
        for row in rows
    }
