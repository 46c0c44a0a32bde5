"""Events and the audit log; the database's own facts."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Index, String, Table, Text, false, text

from modemctl.store.tables.schema import KEY, Octets, UtcMs, metadata

meta = Table(
    "meta",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)

node = Table(
    "node",
    metadata,
    Column("node_id", String(64), primary_key=True),
    Column("started_at", UtcMs, nullable=False),
    Column("heartbeat_at", UtcMs, nullable=False),
    Column("state", String(16), nullable=False, server_default="down"),  # up, down, lost, removed
    Column("is_draining", Boolean, nullable=False, server_default=false()),
    Column("epoch", BigInteger, nullable=False, server_default=text("0")),  # grows with each start
    Column("n_beats", BigInteger, nullable=False, server_default=text("0")),
    Column("steady_at", UtcMs),  # the heartbeat's moment in steady time
    Column("skew_ms", BigInteger),  # how far its clock is before the database server's
    Column("version", String(32)),
    Column("boot_id", String(64)),
)

event = Table(
    "event",
    metadata,
    Column("event_id", KEY, primary_key=True),
    Column("at", UtcMs, nullable=False, index=True),
    Column("kind", String(16), nullable=False),
    Column("subject", String(128), nullable=False),
    Column("data", Text, nullable=False),  # JSON, nothing personal
)

audit_entry = Table(
    "audit_entry",
    metadata,
    Column("node_id", String(64), primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("at", UtcMs, nullable=False),
    Column("actor", String(128), nullable=False),
    Column("action", String(64), nullable=False),
    Column("subject", String(255), nullable=False),
    Column("details", Text, nullable=False),  # JSON, masked
    Column("prev", Octets, nullable=False),
    Column("hash", Octets, nullable=False),
    Column("signature", Octets, nullable=False),
)
_RUN = audit_entry.c.action == "batch.run"
Index("ix_audit_run", audit_entry.c.at, sqlite_where=_RUN, postgresql_where=_RUN)
OF_ENDS: Final = "action IN ('batch.cancel', 'batch.hold', 'batch.release', 'batch.withdraw')"
"""Which entries tell whether a standing approval is in force; the index is known by these words."""
Index(
    "ix_audit_end",
    audit_entry.c.subject,
    sqlite_where=text(OF_ENDS),
    postgresql_where=text(OF_ENDS),
)
