"""What becomes of cards' PINs beyond single tries."""

from __future__ import annotations

from sqlalchemy import Column, Integer, String, Table, Text

from modemctl.store.tables.schema import UtcMs, metadata

pin_change = Table(
    "pin_change",
    metadata,
    Column("import_id", String(36), primary_key=True),  # whose PINs become random ones
    Column("n_right", Integer, nullable=False),
    Column("n_refused", Integer, nullable=False),
    Column("stopped_at", UtcMs),
    Column("stopped_reason", Text),
)
