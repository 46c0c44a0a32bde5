"""The ledger of exports: what left, for whom, why, and when it is looked at again (SEC-09)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, RowMapping, func, insert, select, update

from modemctl.store.papers import PaperState
from modemctl.store.tables import export_note, paper, sim, to_ms
from modemctl.store.tables import opt_out as opt_out_table
from modemctl.store.transaction import Tx
from modemctl.vault import Vault


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportNote:
    """One line of the ledger; `reviewed_*`: who looked at it last, and what came of it."""

    paper_id: str
    columns: tuple[str, ...]
    recipient: str
    purpose: str
    request_id: str | None
    review_at: datetime
    reviewed_by: str | None = None
    reviewed_at: datetime | None = None
    review_note: str | None = None


def add(tx: Tx, note: ExportNote) -> None:
    """Write a line."""
    tx.conn.execute(insert(export_note).values({**_values(note), "mac": _mac(tx.vault, note)}))


def keep(tx: Tx, note: ExportNote) -> None:
    """Write what became of a line."""
    values = {**_values(note), "mac": _mac(tx.vault, note)}
    place = export_note.c.paper_id == note.paper_id
    tx.conn.execute(update(export_note).where(place).values(values))


def find_many(conn: Connection, vault: Vault, paper_ids: Sequence[str]) -> Mapping[str, ExportNote]:
    """The lines of these exports.

    Raises:
        TamperedError: one was altered.
    """
    statement = select(export_note).where(export_note.c.paper_id.in_(paper_ids))
    rows = conn.execute(statement).mappings()
    return {row["paper_id"]: _note(vault, row) for row in rows}


def count_due(conn: Connection, now: datetime) -> int:
    """How many exports should have been looked at again by now."""
    statement = (
        select(func.count())
        .select_from(export_note.join(paper, paper.c.paper_id == export_note.c.paper_id))
        .where(export_note.c.review_at < now, paper.c.state == PaperState.DONE)
    )
    return conn.scalar(statement) or 0


def count_cards(conn: Connection, department: str | None) -> int:
    """How many cards an export of the register holds."""
    statement = select(func.count()).select_from(sim)
    if department is not None:
        statement = statement.where(sim.c.department == department)
    return conn.scalar(statement) or 0


def count_opt_outs(conn: Connection) -> int:
    """How many numbers opted out."""
    return conn.scalar(select(func.count()).select_from(opt_out_table)) or 0


def _values(note: ExportNote) -> dict[str, object]:
    return {
        "paper_id": note.paper_id,
        "columns": ",".join(note.columns),
        "recipient": note.recipient,
        "purpose": note.purpose,
        "request_id": note.request_id,
        "review_at": note.review_at,
        "reviewed_by": note.reviewed_by,
        "reviewed_at": note.reviewed_at,
        "review_note": note.review_note,
    }


def _mac(vault: Vault, note: ExportNote) -> bytes:
    return vault.mac("export_note", *_mac_fields(_values(note)))


def _mac_fields(row: Mapping[str, object]) -> list[object]:
    values = [row[column.name] for column in export_note.columns if column.name != "mac"]
    return [to_ms(one) if isinstance(one, datetime) else one for one in values]


def _note(vault: Vault, row: RowMapping) -> ExportNote:
    vault.check_mac(row["mac"], "export_note", *_mac_fields({**row}))
    return ExportNote(
        paper_id=row["paper_id"],
        columns=tuple(row["columns"].split(",")),
        recipient=row["recipient"],
        purpose=row["purpose"],
        request_id=row["request_id"],
        review_at=row["review_at"],
        reviewed_by=row["reviewed_by"],
        reviewed_at=row["reviewed_at"],
        review_note=row["review_note"],
    )
