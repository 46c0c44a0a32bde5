"""Reports that were made: what, for whom, its digests, and its filing; each row under a MAC."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from sqlalchemy import Connection, RowMapping, insert, select, update

from modemctl.model import AccountId
from modemctl.policy.papers import Lang, PaperFormat
from modemctl.store.tables import audit_entry, paper, to_ms
from modemctl.store.transaction import Tx
from modemctl.vault import Vault

_LEFT: Final = timedelta(days=1)


class PaperKind(StrEnum):
    """What a report is about."""

    QUARTER = "quarter"  # SMS-05
    BATCH = "batch"  # SMS-05
    COSTS = "costs"  # SIM-15
    ACCESS = "access"  # SEC-05
    SCREENING = "screening"  # SEC-05, of a week
    SPOT_CHECK = "spot_check"  # SEC-05, of a week
    MONTH_AUDIT = "month_audit"  # SEC-05
    YEAR_AUDIT = "year_audit"  # SEC-05
    INSPECTION = "inspection"  # SIM-16
    STOCKTAKE = "stocktake"  # SIM-11
    EXPORT = "export"  # SEC-09


class PaperState(StrEnum):
    """How far a report is."""

    WORKING = "working"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Paper:
    """One report. `subject` is its period or its batch; `department` None: of all.

    `digest` is that of its content, `sha256` that of its file; `filed_*`: who handed it in.
    """

    paper_id: str
    kind: PaperKind
    subject: str
    department: str | None
    paper_format: PaperFormat
    lang: Lang
    is_masked: bool
    state: PaperState
    asked_by: AccountId
    asked_name: str
    asked_at: datetime
    done_at: datetime | None = None
    reason: str = ""
    digest: str | None = None
    sha256: str | None = None
    n_rows: int | None = None
    n_octets: int | None = None
    filed_by: str | None = None
    filed_at: datetime | None = None
    filed_reference: str | None = None


def add(
    tx: Tx,
    *,
    kind: PaperKind,
    subject: str,
    department: str | None,
    paper_format: PaperFormat,
    lang: Lang,
    is_masked: bool,
    by: AccountId,
    name: str,
) -> Paper:
    """A report that is going to be made."""
    new = Paper(
        paper_id=str(uuid.uuid4()),
        kind=kind,
        subject=subject,
        department=department,
        paper_format=paper_format,
        lang=lang,
        is_masked=is_masked,
        state=PaperState.WORKING,
        asked_by=by,
        asked_name=name,
        asked_at=tx.now,
    )
    tx.conn.execute(insert(paper).values({**_values(new), "mac": _mac(tx.vault, new)}))
    return new


def keep(tx: Tx, after: Paper) -> Paper:
    """Write what became of a report."""
    values = {**_values(after), "mac": _mac(tx.vault, after)}
    tx.conn.execute(update(paper).where(paper.c.paper_id == after.paper_id).values(values))
    return after


def find(conn: Connection, vault: Vault, paper_id: str) -> Paper | None:
    """One report.

    Raises:
        TamperedError: its row was altered.
    """
    row = conn.execute(select(paper).where(paper.c.paper_id == paper_id)).mappings().first()
    return None if row is None else _paper(vault, row)


def find_many(
    conn: Connection,
    vault: Vault,
    *,
    asked_by: AccountId | None,
    kind: PaperKind | None,
    before: tuple[datetime, str] | None,
    limit: int,
) -> Sequence[Paper]:
    """Up to `limit` reports, newest first, behind `before`; of one account unless None.

    Raises:
        TamperedError: a row was altered.
    """
    statement = select(paper).order_by(paper.c.asked_at.desc(), paper.c.paper_id.desc())
    if asked_by is not None:
        statement = statement.where(paper.c.asked_by == asked_by)
    if kind is not None:
        statement = statement.where(paper.c.kind == kind)
    if before is not None:
        at, paper_id = before
        is_older = (paper.c.asked_at < at) | (
            (paper.c.asked_at == at) & (paper.c.paper_id < paper_id)
        )
        statement = statement.where(is_older)
    return [_paper(vault, row) for row in conn.execute(statement.limit(limit)).mappings()]


def find_by_digest(
    conn: Connection, vault: Vault, *, sha256: str, digest: str | None
) -> Paper | None:
    """The report whose file, or else whose content, this is.

    Raises:
        TamperedError: its row was altered.
    """
    for column, value in ((paper.c.sha256, sha256), (paper.c.digest, digest)):
        if value is not None:
            statement = select(paper).where(column == value).order_by(paper.c.asked_at).limit(1)
            row = conn.execute(statement).mappings().first()
            if row is not None:
                return _paper(vault, row)
    return None


def last_filed(
    conn: Connection,
    vault: Vault,
    kind: PaperKind,
    subject: str | None,
    *,
    node_id: str | None = None,
) -> Paper | None:
    """The report of this kind, and of this subject unless None, that was filed last; of all only.

    `node_id`: one that this node made, of its own log.

    Raises:
        TamperedError: its row was altered.
    """
    statement = (
        select(paper)
        .where(paper.c.kind == kind, paper.c.filed_at.is_not(None), paper.c.department.is_(None))
        .order_by(paper.c.filed_at.desc())
        .limit(1)
    )
    if subject is not None:
        statement = statement.where(paper.c.subject == subject)
    if node_id is not None:
        made = select(audit_entry.c.subject).where(
            audit_entry.c.node_id == node_id, audit_entry.c.action == "report.make"
        )
        statement = statement.where(paper.c.paper_id.in_(made))
    row = conn.execute(statement).mappings().first()
    return None if row is None else _paper(vault, row)


def close_open(tx: Tx, reason: str) -> int:
    """What was being made when the daemon ended never will be; how many those were.

    What another node makes stays; where that one never comes back, for a day.
    """
    statement = select(paper).where(paper.c.state == PaperState.WORKING)
    rows = [_paper(tx.vault, row) for row in tx.conn.execute(statement).mappings()]
    if rows and tx.conn.dialect.name == "postgresql":
        ids = [one.paper_id for one in rows]
        asked = select(audit_entry.c.subject).where(
            audit_entry.c.subject.in_(ids), audit_entry.c.node_id != tx.node_id
        )
        others = set(tx.conn.scalars(asked))
        rows = [one for one in rows if one.paper_id not in others or one.asked_at < tx.now - _LEFT]
    for found in rows:
        keep(tx, replace(found, state=PaperState.FAILED, reason=reason, done_at=tx.now))
    return len(rows)


def _values(one: Paper) -> dict[str, object]:
    return {
        "paper_id": one.paper_id,
        "kind": one.kind.value,
        "subject": one.subject,
        "department": one.department,
        "format": one.paper_format.value,
        "lang": one.lang.value,
        "is_masked": one.is_masked,
        "state": one.state.value,
        "asked_by": one.asked_by,
        "asked_name": one.asked_name,
        "asked_at": one.asked_at,
        "done_at": one.done_at,
        "reason": one.reason,
        "digest": one.digest,
        "sha256": one.sha256,
        "n_rows": one.n_rows,
        "n_octets": one.n_octets,
        "filed_by": one.filed_by,
        "filed_at": one.filed_at,
        "filed_reference": one.filed_reference,
    }


def _mac(vault: Vault, one: Paper) -> bytes:
    return vault.mac("paper", *_mac_fields(_values(one)))


def _mac_fields(row: Mapping[str, object]) -> list[object]:
    """All columns: the record proves what was handed out."""
    values = [row[column.name] for column in paper.columns if column.name != "mac"]
    return [to_ms(one) if isinstance(one, datetime) else one for one in values]


def _paper(vault: Vault, row: RowMapping) -> Paper:
    vault.check_mac(row["mac"], "paper", *_mac_fields({**row}))
    return Paper(
        paper_id=row["paper_id"],
        kind=PaperKind(row["kind"]),
        subject=row["subject"],
        department=row["department"],
        paper_format=PaperFormat(row["format"]),
        lang=Lang(row["lang"]),
        is_masked=row["is_masked"],
        state=PaperState(row["state"]),
        asked_by=AccountId(row["asked_by"]),
        asked_name=row["asked_name"],
        asked_at=row["asked_at"],
        done_at=row["done_at"],
        reason=row["reason"],
        digest=row["digest"],
        sha256=row["sha256"],
        n_rows=row["n_rows"],
        n_octets=row["n_octets"],
        filed_by=row["filed_by"],
        filed_at=row["filed_at"],
        filed_reference=row["filed_reference"],
    )
