"""Incidents and their timelines."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Integer, String, Table, Text

from modemctl.store.tables.schema import KEY, Octets, UtcMs, metadata

incident = Table(
    "incident",
    metadata,
    Column("incident_id", String(36), primary_key=True),
    Column("level", Integer, nullable=False),  # 1, 2, 3
    Column("title", String(200), nullable=False),
    Column("department", String(128)),  # NULL: seen by those who see all
    Column("state", String(16), nullable=False, index=True),
    Column("opened_by", String(36), nullable=False),
    Column("opened_name", String(128), nullable=False),
    Column("opened_at", UtcMs, nullable=False),
    Column("detected_at", UtcMs, nullable=False),
    Column("due_at", UtcMs),  # NULL: nobody must hear of it
    Column("overdue_at", UtcMs),  # when that was told
    Column("stop_id", String(36)),
    Column("acknowledged_by", String(36)),
    Column("acknowledged_name", String(128)),
    Column("acknowledged_at", UtcMs),
    Column("closed_by", String(36)),
    Column("closed_name", String(128)),
    Column("closed_at", UtcMs),
    Column("cause", Text),
    Column("lessons", Text),
    Column("mac", Octets, nullable=False),
)

incident_note = Table(  # the timeline; each line stands in the audit log too
    "incident_note",
    metadata,
    Column("note_id", KEY, primary_key=True),
    Column("incident_id", ForeignKey("incident.incident_id"), nullable=False, index=True),
    Column("at", UtcMs, nullable=False),
    Column("by", String(128), nullable=False),
    Column("what", String(32), nullable=False),
    Column("text", Text, nullable=False),
)
