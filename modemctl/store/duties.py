"""When each regular duty was done last."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, insert, select, update

from modemctl.policy.duties import TURNS, Duty
from modemctl.store.tables import duty as table
from modemctl.store.transaction import Json, Tx


@dataclass(frozen=True, slots=True, kw_only=True)
class DutyRow:
    """`done_by` is empty where it was never done: then `done_at` is when the site began."""

    duty: Duty
    done_at: datetime
    done_by: str


def begin(tx: Tx) -> None:
    """Let duties that are new to this site begin now."""
    known = set(tx.conn.scalars(select(table.c.duty)))
    new = [one for one in Duty if one.value not in known]
    if new:
        rows = [{"duty": one.value, "done_at": tx.now, "done_by": ""} for one in new]
        tx.conn.execute(insert(table), rows)
        for one in new:
            tx.audit(tx.node_id, "duty.begin", one.value, {"policy": TURNS[one].policy})


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
