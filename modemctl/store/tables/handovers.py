"""Shift hand-overs."""

from __future__ import annotations

from sqlalchemy import Column, String, Table, Text

from modemctl.store.tables.schema import Octets, UtcMs, metadata

handover = Table(
    "handover",
    metadata,
    Column("handover_id", String(36), primary_key=True),
    Column("since", UtcMs),  # when the one before was made; NULL: the first
    Column("made_by", String(36), nullable=False),
    Column("made_name", String(128), nullable=False),
    Column("made_at", UtcMs, nullable=False, index=True),
    Column("facts", Text, nullable=False),  # JSON, nothing personal
    Column("note", Text, nullable=False),
    Column("taken_by", String(36)),
    Column("taken_name", String(128)),
    Column("taken_at", UtcMs),
    Column("mac", Octets, nullable=False),
)
