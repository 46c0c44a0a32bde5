"""Shift hand-overs: what is open when one shift goes and the next one comes (CC-04)."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, func, insert, select, update

from modemctl.lifecycle import BATCH, BatchState, ModemState, SegmentState
from modemctl.model import AccountId
from modemctl.policy.incidents import IncidentState
from modemctl.store import emergencies, stop_book
from modemctl.store.tables import (
    batch,
    call,
    handover,
    incident,
    modem,
    segment,
    to_ms,
)
from modemctl.store.transaction import Json, Tx
from modemctl.vault import Vault

_LISTED: Final = 200
_OPEN: Final = tuple(one for one, to in BATCH.items() if to and one is not BatchState.DRAFT)
_FAULTS: Final = (ModemState.ABSENT, ModemState.RECOVERING, ModemState.FAILED, ModemState.SIM_WAIT)
_QUARANTINES: Final = (ModemState.QUARANTINED, ModemState.REFUSED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover:
    """One hand-over; `taken_by` is who took the shift, `facts` what stood then."""

    handover_id: str
    since: datetime | None
    made_by: AccountId
    made_name: str
    made_at: datetime
    facts: Mapping[str, Json]
    note: str
    taken_by: AccountId | None = None
    taken_name: str | None = None
    taken_at: datetime | None = None


def look(conn: Connection, since: datetime | None) -> Mapping[str, Json]:
    """What is open now, and the calls that nobody answered since then; at most 200 of each."""
    missed: list[ColumnElement[bool]] = [call.c.is_incoming.is_(True), call.c.answered_at.is_(None)]
    if since is not None:
        missed.append(call.c.started_at > since)
    n_missed = conn.scalar(select(func.count()).select_from(call).where(*missed))
    by_bay = conn.execute(
        select(call.c.bay, func.count()).where(*missed).group_by(call.c.bay).limit(_LISTED)
    )
    doubts = conn.execute(
        select(segment.c.batch_id, func.count())
        .where(segment.c.state == SegmentState.IN_DOUBT)
        .group_by(segment.c.batch_id)
        .limit(_LISTED)
    )
    n_emergencies, n_unsigned = emergencies.counts_told(conn)
    return {
        "batches": _batches(conn),
        "faults": _bays(conn, _FAULTS),
        "quarantines": _bays(conn, _QUARANTINES),
        "in_doubt": {batch_id: n for batch_id, n in doubts},  # noqa: C416 - dict() takes no rows
        "missed_calls": n_missed or 0,
        "missed_by_bay": {bay: n for bay, n in by_bay},  # noqa: C416 - dict() takes no rows
        "stops": sum(stop_book.count_standing(conn).values()),
        "incidents": _count(
            conn, select(func.count()).where(incident.c.state != IncidentState.CLOSED)
        ),
        "emergencies": n_emergencies,
        "emergencies_overdue": n_unsigned,
    }


def latest(conn: Connection, vault: Vault) -> Handover | None:
    """The newest one.

    Raises:
        TamperedError: its row was altered.
    """
    found = find_many(conn, vault, limit=1)
    return found[0] if found else None


def find(conn: Connection, vault: Vault, handover_id: str) -> Handover | None:
    """One hand-over.

    Raises:
        TamperedError: its row was altered.
    """
    row = conn.execute(select(handover).where(handover.c.handover_id == handover_id)).mappings()
    found = row.first()
    return None if found is None else _handover(vault, found)


def find_many(conn: Connection, vault: Vault, *, limit: int) -> Sequence[Handover]:
    """The latest, newest first.

    Raises:
        TamperedError: a row was altered.
    """
    query = select(handover).order_by(handover.c.made_at.desc(), handover.c.handover_id)
    return [_handover(vault, row) for row in conn.execute(query.limit(limit)).mappings()]


def add(tx: Tx, *, by: AccountId, name: str, note: str, source: str) -> Handover:
    """Make one of what stands now, since the one before."""
    before = latest(tx.conn, tx.vault)
    since = None if before is None else before.made_at
    one = Handover(
        handover_id=str(uuid.uuid4()),
        since=since,
        made_by=by,
        made_name=name,
        made_at=_ms(tx.now),
        facts=look(tx.conn, since),
        note=note,
    )
    tx.conn.execute(insert(handover).values(_values(tx.vault, one)))
    _audit(tx, one, "make", name, source)
    return one


def take(tx: Tx, before: Handover, *, by: AccountId, name: str, source: str) -> Handover:
    """Somebody takes the shift over."""
    after = replace(before, taken_by=by, taken_name=name, taken_at=_ms(tx.now))
    tx.conn.execute(
        update(handover)
        .where(handover.c.handover_id == before.handover_id)
        .values(_values(tx.vault, after))
    )
    _audit(tx, after, "take", name, source)
    return after


def _batches(conn: Connection) -> list[Json]:
    rows = conn.execute(
        select(batch.c.batch_id, batch.c.state, batch.c.department)
        .where(batch.c.state.in_(_OPEN))
        .order_by(batch.c.created_at)
        .limit(_LISTED)
    )
    return [
        {"batch_id": row.batch_id, "state": row.state, "department": row.department} for row in rows
    ]


def _bays(conn: Connection, states: Sequence[ModemState]) -> list[Json]:
    rows = conn.execute(
        select(modem.c.bay, modem.c.state, modem.c.reason)
        .where(modem.c.state.in_(states))
        .order_by(modem.c.bay)
        .limit(_LISTED)
    )
    return [{"bay": row.bay, "state": row.state, "reason": row.reason} for row in rows]


def _count(conn: Connection, query: Select[int]) -> int:
    return conn.scalar(query) or 0


def _audit(tx: Tx, one: Handover, act: str, name: str, source: str) -> None:
    details: dict[str, Json] = {
        "is_taken": one.taken_by is not None,
        "source": source,
        "policy": "CC-04",
    }
    tx.audit(name, f"handover.{act}", one.handover_id, details)


def _ms(at: datetime) -> datetime:
    return at.replace(microsecond=at.microsecond // 1000 * 1000)  # as it is stored


def _values(vault: Vault, one: Handover) -> dict[str, object]:
    values: dict[str, object] = {name: getattr(one, name) for name in _COLUMNS}
    values["facts"] = json.dumps(one.facts, ensure_ascii=False, sort_keys=True)
    return {**values, "mac": vault.mac("handover", *_mac_fields(values))}


def _mac_fields(row: Mapping[str, object]) -> tuple[object, ...]:
    return tuple(
        to_ms(value) if isinstance(value := row[name], datetime) else value for name in _COLUMNS
    )


def _handover(vault: Vault, row: RowMapping) -> Handover:
    vault.check_mac(row["mac"], "handover", *_mac_fields({**row}))
    facts = {name: row[name] for name in _COLUMNS}
    return Handover(**{**facts, "facts": json.loads(row["facts"])})


_COLUMNS: Final = tuple(column.name for column in handover.c if column.name != "mac")
