"""Incidents as rows with a MAC, their timelines, and the countdown (SEC-10)."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, RowMapping, func, insert, select, update

from modemctl.model import AccountId, EventKind
from modemctl.policy.incidents import IncidentState, due_at
from modemctl.store.tables import incident, incident_note, to_ms
from modemctl.store.transaction import Json, Tx
from modemctl.vault import Vault


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """One incident. `due_at` is when somebody of its route must have heard of it."""

    incident_id: str
    level: int
    title: str
    department: str | None
    state: IncidentState
    opened_by: AccountId
    opened_name: str
    opened_at: datetime
    detected_at: datetime
    due_at: datetime | None
    overdue_at: datetime | None = None
    stop_id: str | None = None
    acknowledged_by: AccountId | None = None
    acknowledged_name: str | None = None
    acknowledged_at: datetime | None = None
    closed_by: AccountId | None = None
    closed_name: str | None = None
    closed_at: datetime | None = None
    cause: str | None = None
    lessons: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentNote:
    """One line of a timeline."""

    at: datetime
    by: str
    what: str
    text: str


def add(
    tx: Tx,
    *,
    level: int,
    title: str,
    department: str | None,
    detected_at: datetime,
    by: AccountId,
    name: str,
) -> Incident:
    """A new incident; its countdown runs from its detection."""
    detected = _ms(detected_at)
    new = Incident(
        incident_id=str(uuid.uuid4()),
        level=level,
        title=title,
        department=department,
        state=IncidentState.OPEN,
        opened_by=by,
        opened_name=name,
        opened_at=_ms(tx.now),
        detected_at=detected,
        due_at=due_at(level, detected),
    )
    tx.conn.execute(insert(incident).values(_values(tx.vault, new)))
    _tell(tx, new, "opened")
    return new


def find(conn: Connection, vault: Vault, incident_id: str) -> Incident | None:
    """One incident.

    Raises:
        TamperedError: its row was altered.
    """
    row = conn.execute(select(incident).where(incident.c.incident_id == incident_id)).mappings()
    found = row.first()
    return None if found is None else _incident(vault, found)


def find_many(
    conn: Connection, vault: Vault, *, is_open: bool, department: str | None, limit: int
) -> Sequence[Incident]:
    """Incidents, newest first; of one department where it is given.

    Raises:
        TamperedError: a row was altered.
    """
    query = select(incident).order_by(incident.c.opened_at.desc(), incident.c.incident_id)
    if is_open:
        query = query.where(incident.c.state != IncidentState.CLOSED)
    if department is not None:
        query = query.where(incident.c.department == department)
    return [_incident(vault, row) for row in conn.execute(query.limit(limit)).mappings()]


def notes(conn: Connection, incident_id: str) -> Sequence[IncidentNote]:
    """The timeline, oldest first."""
    columns = incident_note.c
    rows = conn.execute(
        select(columns.at, columns.by, columns.what, columns.text)
        .where(columns.incident_id == incident_id)
        .order_by(columns.note_id)
    ).mappings()
    return [IncidentNote(**row) for row in rows]


def counts(conn: Connection) -> Mapping[str, int]:
    """How many are open, acknowledged, overdue; for metrics, no MAC is read."""
    columns = incident.c
    by_state = conn.execute(
        select(columns.state, func.count())
        .where(columns.state != IncidentState.CLOSED)
        .group_by(columns.state)
    )
    found = {state: n for state, n in by_state}  # noqa: C416 - dict() takes no rows
    n_overdue = conn.scalar(
        select(func.count())
        .select_from(incident)
        .where(columns.state == IncidentState.OPEN, columns.overdue_at.is_not(None))
    )
    return {**found, "overdue": n_overdue} if n_overdue else found


# ---------------------------------------------------------------- acts


def note(tx: Tx, incident_id: str, *, by: str, what: str, text: str, source: str) -> None:
    """Add a line to the timeline, and the same to the audit log."""
    tx.conn.execute(
        insert(incident_note).values(
            incident_id=incident_id, at=tx.now, by=by, what=what, text=text
        )
    )
    details: dict[str, Json] = {"text": text, "source": source, "policy": "SEC-10"}
    found = find(tx.conn, tx.vault, incident_id)
    assert found is not None, "a timeline is an incident's"
    state: dict[str, Json] = {"level": found.level, "state": found.state.value}
    tx.audit(by, f"incident.{what}", incident_id, {**details, **state})


def put(tx: Tx, before: Incident, **changes: object) -> Incident:
    """Change an incident that was read intact; returns it."""
    after = replace(before, **changes)  # type: ignore[arg-type]  # names are checked by replace
    tx.conn.execute(
        update(incident)
        .where(incident.c.incident_id == before.incident_id)
        .values(_values(tx.vault, after))
    )
    if after.state is not before.state:
        _tell(tx, after, after.state.value)
    return after


def note_overdue(tx: Tx) -> int:
    """Tell of each open incident whose countdown ran out, once; how many there were."""
    columns = incident.c
    rows = tx.conn.execute(
        select(incident).where(
            columns.state == IncidentState.OPEN,
            columns.due_at <= tx.now,
            columns.overdue_at.is_(None),
        )
    ).mappings()
    late = [_incident(tx.vault, row) for row in rows.all()]
    for one in late:
        put(tx, one, overdue_at=_ms(tx.now))
        text = "nobody of its route has acknowledged it in time"
        note(tx, one.incident_id, by=tx.node_id, what="overdue", text=text, source="clock")
        _tell(tx, one, "overdue")
    return len(late)


# ---------------------------------------------------------------- inside


def _tell(tx: Tx, one: Incident, what: str) -> None:
    facts: dict[str, Json] = {"alarm": "incident", "level": one.level, "what": what}
    if one.department is not None:
        facts["department"] = one.department
    tx.event(EventKind.ALARM, one.incident_id, {**facts, "policy": "SEC-10"})


def _ms(at: datetime) -> datetime:
    return at.replace(microsecond=at.microsecond // 1000 * 1000)  # as it is stored


def _values(vault: Vault, one: Incident) -> dict[str, object]:
    values: dict[str, object] = {name: getattr(one, name) for name in _COLUMNS}
    values["state"] = one.state.value
    return {**values, "mac": vault.mac("incident", *_mac_fields(values))}


def _mac_fields(row: Mapping[str, object]) -> tuple[object, ...]:
    return tuple(
        to_ms(value) if isinstance(value := row[name], datetime) else value for name in _COLUMNS
    )


def _incident(vault: Vault, row: RowMapping) -> Incident:
    vault.check_mac(row["mac"], "incident", *_mac_fields({**row}))
    facts = {name: row[name] for name in _COLUMNS}
    return Incident(**{**facts, "state": IncidentState(row["state"])})


_COLUMNS: Final = tuple(column.name for column in incident.c if column.name != "mac")
