"""The ledger of exports (SEC-09)."""

from __future__ import annotations

from sqlalchemy import Column, String, Table, Text

from modemctl.store.tables.schema import Octets, UtcMs, metadata

export_note = Table(
    "export_note",
    metadata,
    Column("paper_id", String(36), primary_key=True),  # the file that was made
    Column("columns", Text, nullable=False),  # names, with commas
    Column("recipient", String(128), nullable=False),
    Column("purpose", Text, nullable=False),
    Column("request_id", String(36)),  # that two persons agreed on, where it was bulk
    Column("review_at", UtcMs, nullable=False, index=True),
    Column("reviewed_by", String(128)),
    Column("reviewed_at", UtcMs),
    Column("review_note", Text),
    Column("mac", Octets, nullable=False),
)
