"""Call records: one row a call, from its first ring on, with who was responsible then (TEL-01)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, RowMapping, insert, select, update

from modemctl.errors import TamperedError
from modemctl.model import EventKind
from modemctl.store.tables import call, sim, to_ms
from modemctl.store.transaction import Json, Tx
from modemctl.vault import Vault


@dataclass(frozen=True, slots=True, kw_only=True)
class CallState:
    """All that is known of a call now; bay and start are its key. `number` in E.164 form."""

    iccid: str | None
    bay: str
    is_incoming: bool
    number: str | None = field(repr=False)
    started_at: datetime
    answered_at: datetime | None
    ended_at: datetime | None
    n_rings: int
    cause: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A stored call with holder and department of that moment."""

    call_id: int
    iccid: str | None
    bay: str
    is_incoming: bool
    number: str | None = field(repr=False)
    holder: str | None
    department: str | None
    started_at: datetime
    answered_at: datetime | None
    ended_at: datetime | None
    n_rings: int
    cause: str | None
    is_intact: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which calls; None matches all. `number` in E.164 form."""

    department: str | None = None
    iccid: str | None = None
    number: str | None = field(default=None, repr=False)
    is_incoming: bool | None = None
    is_answered: bool | None = None
    since: datetime | None = None


def save(tx: Tx, items: Sequence[CallState]) -> Sequence[int]:
    """Write what is known of calls; one row a call, whose id is returned (a set act)."""
    cards = _cards(tx, {item.iccid for item in items if item.iccid is not None})
    return [_save_one(tx, item, cards) for item in items]


def close_open(tx: Tx, bay: str, cause: str) -> int:
    """End the calls of a bay that nobody follows any more (our restart); how many."""
    done = tx.conn.execute(
        update(call)
        .where(call.c.bay == bay, call.c.ended_at.is_(None))
        .values(ended_at=tx.now, cause=cause)
    )
    return done.rowcount


def find(
    conn: Connection, vault: Vault, query: Query, *, before: int | None, limit: int
) -> Sequence[Call]:
    """Up to `limit` calls, newest first, with ids below `before`."""
    statement = select(*call.c).order_by(call.c.call_record_id.desc()).limit(limit)
    if before is not None:
        statement = statement.where(call.c.call_record_id < before)
    equals = {
        call.c.department: query.department,
        call.c.iccid: query.iccid,
        call.c.is_incoming: query.is_incoming,
        call.c.number_bidx: None if query.number is None else vault.blind_index(query.number),
    }
    for column, value in equals.items():
        if value is not None:
            statement = statement.where(column == value)
    if query.is_answered is not None:
        is_open = call.c.answered_at.is_(None)
        statement = statement.where(~is_open if query.is_answered else is_open)
    if query.since is not None:
        statement = statement.where(call.c.started_at >= query.since)
    return [_call(vault, row) for row in conn.execute(statement).mappings()]


def _save_one(tx: Tx, item: CallState, cards: Mapping[str, RowMapping]) -> int:
    known = (
        tx.conn.execute(
            select(call.c.call_record_id, call.c.department).where(
                call.c.bay == item.bay, call.c.started_at == item.started_at
            )
        )
        .mappings()
        .first()
    )
    values: dict[str, object] = {
        "is_incoming": item.is_incoming,
        "answered_at": item.answered_at,
        "ended_at": item.ended_at,
        "n_rings": item.n_rings,
        "cause": item.cause,
    }
    if item.number is not None:
        values["number_bidx"] = tx.vault.blind_index(item.number)
        values["number_enc"] = tx.vault.encrypt_text(
            item.number, place=number_place(item.bay, item.started_at)
        )
    call_id: int
    if known is None:
        card = cards.get(item.iccid or "")
        department = None if card is None else card["department"]
        values |= {"iccid": item.iccid, "bay": item.bay, "started_at": item.started_at}
        values |= {"department": department, "holder": None if card is None else card["holder"]}
        call_id = tx.conn.execute(
            insert(call).values(values).returning(call.c.call_record_id)
        ).scalar_one()
    else:
        call_id, department = known["call_record_id"], known["department"]
        tx.conn.execute(update(call).where(call.c.call_record_id == call_id).values(values))
    _announce(tx, call_id, item, department)
    return call_id


def _announce(tx: Tx, call_id: int, item: CallState, department: str | None) -> None:
    if item.ended_at is not None:
        state = "ended" if item.answered_at is not None else "missed"
        state = state if item.is_incoming or item.answered_at is not None else "unanswered"
    else:
        state = "ringing" if item.answered_at is None else "answered"
    facts: dict[str, Json] = {
        "state": state,
        "is_incoming": item.is_incoming,
        "iccid": item.iccid,
        "bay": item.bay,
        "department": department,
        "n_rings": item.n_rings,
    }
    tx.event(EventKind.CALL, str(call_id), facts)


def _cards(tx: Tx, iccids: set[str]) -> Mapping[str, RowMapping]:
    rows = tx.conn.execute(
        select(sim.c.iccid, sim.c.holder, sim.c.department).where(sim.c.iccid.in_(iccids))
    )
    return {row["iccid"]: row for row in rows.mappings()}


def _call(vault: Vault, row: RowMapping) -> Call:
    number, is_intact = None, True
    try:
        if row["number_enc"] is not None:
            place = number_place(row["bay"], row["started_at"])
            number = vault.decrypt_text(row["number_enc"], place=place)
    except TamperedError:
        is_intact = False
    return Call(
        call_id=row["call_record_id"],
        iccid=row["iccid"],
        bay=row["bay"],
        is_incoming=row["is_incoming"],
        number=number,
        holder=row["holder"],
        department=row["department"],
        started_at=row["started_at"],
        answered_at=row["answered_at"],
        ended_at=row["ended_at"],
        n_rings=row["n_rings"],
        cause=row["cause"],
        is_intact=is_intact,
    )


def number_place(bay: str, started_at: datetime) -> str:
    """Where a call's number stands, for the vault."""
    return f"call.number_enc:{bay}:{to_ms(started_at)}"
