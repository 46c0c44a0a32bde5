"""What one person asks for and another one confirms (SEC-04)."""

from __future__ import annotations

from sqlalchemy import Column, String, Table, Text

from modemctl.store.tables.schema import Octets, UtcMs, metadata

dual_request = Table(
    "dual_request",
    metadata,
    Column("request_id", String(36), primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("subject", String(200), nullable=False),
    Column("details", Text, nullable=False),  # JSON: all that is to be done
    Column("reason", Text, nullable=False),
    Column("department", String(128)),  # the asker's
    Column("state", String(16), nullable=False),  # asked, confirmed, refused, withdrawn, spent
    Column("asked_by", String(36), nullable=False),
    Column("asked_name", String(128), nullable=False),
    Column("asked_at", UtcMs, nullable=False, index=True),
    Column("expires_at", UtcMs, nullable=False),
    Column("decided_by", String(36)),
    Column("decided_name", String(128)),
    Column("decided_at", UtcMs),
    Column("spent_at", UtcMs),
    Column("mac", Octets, nullable=False),
)
