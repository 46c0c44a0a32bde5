"""Violation cases as rows with a MAC; their evidence is audit entries, by number and hash."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, RowMapping, and_, func, insert, or_, select, update

from modemctl.model import AccountId, EventKind
from modemctl.policy.violations import OPEN, CaseState
from modemctl.store.tables import audit_entry, to_ms, violation_case, violation_evidence
from modemctl.store.transaction import Json, Tx
from modemctl.vault import Vault


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """An entry of the audit log that a case rests on."""

    node_id: str
    seq: int
    hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCase:
    """A case to open. `person_*` is whom it is about."""

    policy: str
    grade: int
    amount_fen: int | None
    person_id: AccountId
    person_name: str
    department: str | None
    summary: str
    evidence: Sequence[Evidence]
    opened_by: AccountId
    opened_name: str
    investigate_by: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One case; amounts in fen, recorded and never collected."""

    case_id: str
    policy: str
    grade: int
    amount_fen: int | None
    state: CaseState
    person_id: AccountId
    person_name: str
    department: str | None
    summary: str
    evidence_digest: bytes
    opened_by: AccountId
    opened_name: str
    opened_at: datetime
    investigate_by: datetime
    decided_by: AccountId | None = None
    decided_name: str | None = None
    decided_at: datetime | None = None
    finding: str | None = None
    appeal_by: datetime | None = None
    appealed_at: datetime | None = None
    appeal: str | None = None
    review_by: datetime | None = None
    reviewed_by: AccountId | None = None
    reviewed_name: str | None = None
    reviewed_at: datetime | None = None
    review: str | None = None
    overdue_at: datetime | None = None


def add(tx: Tx, new: NewCase, *, source: str) -> Case:
    """Open a case on its evidence."""
    case_id = str(uuid.uuid4())
    facts = {name: getattr(new, name) for name in NewCase.__slots__ if name != "evidence"}
    one = Case(
        **facts,
        case_id=case_id,
        state=CaseState.INVESTIGATING,
        evidence_digest=_digest(new.evidence),
        opened_at=_ms(tx.now),
    )
    tx.conn.execute(insert(violation_case).values(_values(tx.vault, one)))
    tx.conn.execute(
        insert(violation_evidence),
        [
            {"case_id": case_id, "node_id": item.node_id, "seq": item.seq, "hash": item.hash}
            for item in new.evidence
        ],
    )
    entries = [f"{item.node_id}:{item.seq}" for item in new.evidence]
    _tell(tx, one, "open", by=new.opened_name, source=source, more={"evidence": [*entries]})
    return one


def put(tx: Tx, before: Case, act: str, *, by: str, source: str, **changes: object) -> Case:
    """Take a case's next step; `act` names it in the audit log."""
    after = replace(before, **changes)  # type: ignore[arg-type]  # names are checked by replace
    _write(tx, after)
    _tell(tx, after, act, by=by, source=source, more={})
    return after


def find(conn: Connection, vault: Vault, case_id: str) -> Case | None:
    """One case.

    Raises:
        TamperedError: its row was altered.
    """
    found = conn.execute(select(violation_case).where(violation_case.c.case_id == case_id))
    row = found.mappings().first()
    return None if row is None else _case(vault, row)


def find_many(
    conn: Connection,
    vault: Vault,
    *,
    is_open: bool,
    person_id: str | None,
    department: str | None,
    limit: int,
) -> Sequence[Case]:
    """Cases, newest first; None matches all.

    Raises:
        TamperedError: a row was altered.
    """
    columns = violation_case.c
    query = select(violation_case).order_by(columns.opened_at.desc(), columns.case_id)
    if is_open:
        query = query.where(columns.state.in_(sorted(OPEN)))
    if person_id is not None:
        query = query.where(columns.person_id == person_id)
    if department is not None:
        query = query.where(columns.department == department)
    return [_case(vault, row) for row in conn.execute(query.limit(limit)).mappings()]


def opened_between(
    conn: Connection, vault: Vault, start: datetime, end: datetime, *, department: str | None
) -> Sequence[Case]:
    """Cases that were opened in a time, oldest first.

    Raises:
        TamperedError: a row was altered.
    """
    columns = violation_case.c
    query = select(violation_case).where(columns.opened_at >= start, columns.opened_at < end)
    if department is not None:
        query = query.where(columns.department == department)
    rows = conn.execute(query.order_by(columns.opened_at, columns.case_id)).mappings()
    return [_case(vault, row) for row in rows]


def evidence_of(conn: Connection, case_id: str) -> Sequence[Evidence]:
    """The audit entries that a case rests on."""
    columns = violation_evidence.c
    rows = conn.execute(
        select(columns.node_id, columns.seq, columns.hash)
        .where(columns.case_id == case_id)
        .order_by(columns.node_id, columns.seq)
    ).mappings()
    return [Evidence(**row) for row in rows]


def is_proved(conn: Connection, one: Case) -> bool:
    """Whether the evidence is what the case was opened on, and stands in the log as it stood."""
    items = evidence_of(conn, one.case_id)
    theirs = violation_evidence.c
    is_entry = and_(
        audit_entry.c.node_id == theirs.node_id,
        audit_entry.c.seq == theirs.seq,
        audit_entry.c.hash == theirs.hash,
    )
    n_standing = conn.scalar(
        select(func.count())
        .select_from(violation_evidence)
        .join(audit_entry, is_entry)
        .where(theirs.case_id == one.case_id)
    )
    return _digest(items) == one.evidence_digest and n_standing == len(items)


def counts(conn: Connection) -> Mapping[str, int]:
    """How many are open, by state, and how many of them late; for metrics, no MAC is read."""
    columns = violation_case.c
    by_state = conn.execute(
        select(columns.state, func.count())
        .where(columns.state.in_(sorted(OPEN)))
        .group_by(columns.state)
    )
    found = {state: n for state, n in by_state}  # noqa: C416 - dict() takes no rows
    n_late = conn.scalar(
        select(func.count())
        .select_from(violation_case)
        .where(columns.state.in_(sorted(OPEN)), columns.overdue_at.is_not(None))
    )
    return {**found, "overdue": n_late} if n_late else found


def note_overdue(tx: Tx) -> int:
    """Tell of each step of the office that is late, once; how many there were."""
    columns = violation_case.c
    is_investigated = (columns.state == CaseState.INVESTIGATING) & (
        columns.investigate_by <= tx.now
    )
    is_reviewed = (columns.state == CaseState.APPEALED) & (columns.review_by <= tx.now)
    rows = tx.conn.execute(
        select(violation_case).where(
            or_(is_investigated, is_reviewed), columns.overdue_at.is_(None)
        )
    ).mappings()
    late = [_case(tx.vault, row) for row in rows.all()]
    for one in late:
        put(tx, one, "overdue", by=tx.node_id, source="clock", overdue_at=_ms(tx.now))
        facts: dict[str, Json] = {"alarm": "case_overdue", "state": one.state.value}
        tx.event(EventKind.ALARM, one.case_id, {**facts, "policy": "SEC-13"})
    return len(late)


# ---------------------------------------------------------------- inside


def _tell(tx: Tx, one: Case, act: str, *, by: str, source: str, more: Mapping[str, Json]) -> None:
    details: dict[str, Json] = {
        "violated": one.policy,
        "person": one.person_name,
        "state": one.state.value,
        "grade": one.grade,
        "source": source,
        "policy": "SEC-13",
        **more,
    }
    tx.audit(by, f"case.{act}", one.case_id, details)


def _write(tx: Tx, one: Case) -> None:
    tx.conn.execute(
        update(violation_case)
        .where(violation_case.c.case_id == one.case_id)
        .values(_values(tx.vault, one))
    )


def _digest(items: Sequence[Evidence]) -> bytes:
    digest = hashlib.sha256()
    for item in sorted(items, key=lambda one: (one.node_id, one.seq)):
        digest.update(f"{item.node_id}:{item.seq}:{item.hash.hex()}\n".encode())
    return digest.digest()


def _ms(at: datetime) -> datetime:
    return at.replace(microsecond=at.microsecond // 1000 * 1000)  # as it is stored


def _values(vault: Vault, one: Case) -> dict[str, object]:
    values: dict[str, object] = {name: getattr(one, name) for name in _COLUMNS}
    values["state"] = one.state.value
    return {**values, "mac": vault.mac("violation_case", *_mac_fields(values))}


def _mac_fields(row: Mapping[str, object]) -> tuple[object, ...]:
    return tuple(_mac_field(row[name]) for name in _COLUMNS)


def _mac_field(value: object) -> object:
    if isinstance(value, datetime):
        return to_ms(value)
    return value.hex() if isinstance(value, bytes) else value


def _case(vault: Vault, row: RowMapping) -> Case:
    vault.check_mac(row["mac"], "violation_case", *_mac_fields({**row}))
    facts = {name: row[name] for name in _COLUMNS}
    return Case(**{**facts, "state": CaseState(row["state"])})


_COLUMNS: Final = tuple(column.name for column in violation_case.c if column.name != "mac")
