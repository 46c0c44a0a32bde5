"""Where the register is not true, or will not be: numbers, leases, departments' word (SIM-17)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from enum import StrEnum
from typing import Final

from sqlalchemy import Connection, func, insert, or_, select, update

from modemctl.lifecycle import CardState
from modemctl.model import EventKind, Iccid, mask_number
from modemctl.store.tables import card_number, register_confirmation, sim
from modemctl.store.transaction import Tx

MENDED_WITHIN: Final = timedelta(hours=5)
"""How long a number may differ before it alarms."""
LEASE_NOTICE: Final = timedelta(days=30)
"""How long before its end a lease is told."""
CONFIRMED_EACH: Final = timedelta(days=92)
"""How long a department's word holds."""

_OVER: Final = (CardState.RETURNED, CardState.CANCELLED)


class FaultKind(StrEnum):
    """What is not as the register says, or will not be."""

    NUMBER = "number"  # another one stands on the card
    LEASE_ENDS = "lease_ends"
    LEASE_ENDED = "lease_ended"  # the card sends nothing
    UNCONFIRMED = "unconfirmed"  # its department has not said for long that its cards are right


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterFault:
    """One of them, of a card or (`iccid` None) of a department; `told` is masked."""

    kind: FaultKind
    iccid: Iccid | None
    department: str | None
    since: datetime
    told: str
    is_late: bool


def note_number(tx: Tx, iccid: Iccid, number: str) -> None:
    """Keep the number (E.164) that a card tells; an alarm where the register has another one."""
    bidx = tx.vault.blind_index(number)
    here = card_number.c.iccid == iccid
    before = tx.conn.scalar(select(card_number.c.number_bidx).where(here))
    if before == bidx:
        return
    values = {"number_bidx": bidx, "told": mask_number(number), "since": tx.now}
    if before is None:
        tx.conn.execute(insert(card_number).values(values | {"iccid": iccid}))
    else:
        tx.conn.execute(update(card_number).where(here).values(values | {"accepted_by": None}))
    if any(one.iccid == iccid for one in _numbers(tx.conn, tx.now)):
        facts = {"told": mask_number(number), "policy": "SIM-17"}
        tx.event(EventKind.ALARM, iccid, {"alarm": "number_differs", **facts})
        tx.audit(tx.node_id, "sim.number_differs", iccid, facts)


def accept_number(tx: Tx, iccid: Iccid, *, by: str) -> bool:
    """Note that the register is right and the card's own number wrong; False where none differs."""
    done = tx.conn.execute(
        update(card_number)
        .where(card_number.c.iccid == iccid, card_number.c.accepted_by.is_(None))
        .values(accepted_by=by)
    )
    return bool(done.rowcount)


def confirm(tx: Tx, department: str, *, by: str) -> None:
    """Note that a department has gone through its cards and found them right."""
    here = register_confirmation.c.department == department
    done = update(register_confirmation).where(here).values(at=tx.now, done_by=by)
    if not tx.conn.execute(done).rowcount:
        values = {"department": department, "at": tx.now, "done_by": by}
        tx.conn.execute(insert(register_confirmation).values(values))


def find(conn: Connection, *, now: datetime, zone: tzinfo) -> Sequence[RegisterFault]:
    """All that stands, by kind, oldest first."""
    return [*_numbers(conn, now), *_leases(conn, now, zone), *_unconfirmed(conn, now)]


def _numbers(conn: Connection, now: datetime) -> Sequence[RegisterFault]:
    statement = (
        select(card_number, sim.c.department)
        .join(sim, sim.c.iccid == card_number.c.iccid)
        .where(
            or_(sim.c.number_bidx.is_(None), sim.c.number_bidx != card_number.c.number_bidx),
            card_number.c.accepted_by.is_(None),
            sim.c.state.not_in(_OVER),
        )
        .order_by(card_number.c.since, card_number.c.iccid)
    )
    return [
        RegisterFault(
            kind=FaultKind.NUMBER,
            iccid=Iccid(row.iccid),
            department=row.department,
            since=row.since,
            told=row.told,
            is_late=row.since < now - MENDED_WITHIN,
        )
        for row in conn.execute(statement)
    ]


def _leases(conn: Connection, now: datetime, zone: tzinfo) -> Sequence[RegisterFault]:
    today = now.astimezone(zone).date()
    statement = (
        select(sim.c.iccid, sim.c.department, sim.c.lease_until)
        .where(sim.c.lease_until <= today + LEASE_NOTICE, sim.c.state.not_in(_OVER))
        .order_by(sim.c.lease_until, sim.c.iccid)
    )
    return [
        RegisterFault(
            kind=FaultKind.LEASE_ENDED if row.lease_until < today else FaultKind.LEASE_ENDS,
            iccid=Iccid(row.iccid),
            department=row.department,
            since=datetime.combine(row.lease_until, datetime.min.time(), zone) + timedelta(days=1),
            told=row.lease_until.isoformat(),
            is_late=row.lease_until < today,
        )
        for row in conn.execute(statement)
    ]


def _unconfirmed(conn: Connection, now: datetime) -> Sequence[RegisterFault]:
    """Departments with cards in use; one that never said so has time from its first card on."""
    statement = (
        select(
            sim.c.department,
            func.min(sim.c.created_at).label("began"),
            func.max(register_confirmation.c.at).label("said"),
        )
        .outerjoin(register_confirmation, register_confirmation.c.department == sim.c.department)
        .where(sim.c.state == CardState.ISSUED.value, sim.c.department.is_not(None))
        .group_by(sim.c.department)
        .order_by(sim.c.department)
    )
    found = [(row.department, row.said or row.began) for row in conn.execute(statement)]
    return [
        RegisterFault(
            kind=FaultKind.UNCONFIRMED,
            iccid=None,
            department=department,
            since=since + CONFIRMED_EACH,
            told="",
            is_late=True,
        )
        for department, since in found
        if since < now - CONFIRMED_EACH
    ]
