"""What the tests of bays found (SIM-18)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, insert, select

from modemctl.model import Bay
from modemctl.store.tables import modem, self_test, sim
from modemctl.store.transaction import Tx


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One test of one bay; `faults` is empty where all is well, `answer_ms` None without answer."""

    bay: Bay
    iccid: str | None
    state: str
    registration: str | None
    signal_dbm: int | None
    answer_ms: int | None
    balance: str | None
    faults: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A test that was kept; `department` is that of the card that was there."""

    test_id: int
    at: datetime
    done_by: str
    department: str | None
    found: Found


def add(tx: Tx, found: Sequence[Found], *, by: str) -> None:
    """Keep what was found now."""
    if found:
        tx.conn.execute(insert(self_test), [_values(tx, one, by) for one in found])


def latest(conn: Connection) -> Sequence[Kept]:
    """The last test of each bay that is on the list of bays, by bay."""
    last = select(func.max(self_test.c.test_id)).group_by(self_test.c.bay)
    rows = conn.execute(
        select(self_test, sim.c.department)
        .join(modem, modem.c.bay == self_test.c.bay)
        .outerjoin(sim, sim.c.iccid == self_test.c.iccid)
        .where(self_test.c.test_id.in_(last))
        .order_by(self_test.c.bay)
    )
    return [
        Kept(
            test_id=row.test_id,
            at=row.at,
            done_by=row.done_by,
            department=row.department,
            found=Found(
                bay=Bay(row.bay),
                iccid=row.iccid,
                state=row.state,
                registration=row.registration,
                signal_dbm=row.signal_dbm,
                answer_ms=row.answer_ms,
                balance=row.balance,
                faults=tuple(json.loads(row.faults)),
            ),
        )
        for row in rows
    ]


def tally(conn: Connection) -> Mapping[str, int]:
    """Bays that were tested, `fine` or `faulty` by their last test."""
    last = (
        select(self_test.c.test_id)
        .where(self_test.c.bay == modem.c.bay)
        .order_by(self_test.c.at.desc(), self_test.c.test_id.desc())
        .limit(1)
        .correlate(modem)
        .scalar_subquery()
    )
    found = conn.scalars(
        select(self_test.c.faults)
        .join(modem, modem.c.bay == self_test.c.bay)
        .where(self_test.c.test_id == last)
    )
    return Counter("fine" if faults == "[]" else "faulty" for faults in found)


def _values(tx: Tx, one: Found, by: str) -> dict[str, object]:
    return {
        "bay": one.bay,
        "at": tx.now,
        "done_by": by,
        "iccid": one.iccid,
        "state": one.state,
        "registration": one.registration,
        "signal_dbm": one.signal_dbm,
        "answer_ms": one.answer_ms,
        "balance": one.balance,
        "faults": json.dumps(list(one.faults), ensure_ascii=False),
    }
