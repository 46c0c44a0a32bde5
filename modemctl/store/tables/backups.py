"""Backups that were made, what was copied to which medium, what was restored to try it."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, String, Table, Text

from modemctl.store.tables.schema import Octets, UtcMs, metadata

backup = Table(
    "backup",
    metadata,
    Column("backup_id", String(36), primary_key=True),
    Column("at", UtcMs, nullable=False, index=True),
    Column("by", String(128), nullable=False),  # account, or the daemon itself
    Column("state", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("folder", Text, nullable=False),
    Column("name", String(255), nullable=False),
    Column("finished_at", UtcMs),
    Column("sha256", String(64)),
    Column("n_octets", BigInteger),
    Column("n_database", BigInteger),
    Column("n_rows", BigInteger),
    Column("schema_revision", String(32)),
    Column("log_seq", BigInteger),  # of this node's log: where its head was
    Column("removed_at", UtcMs),
    Column("mac", Octets, nullable=False),
)

backup_act = Table(
    "backup_act",
    metadata,
    Column("act_id", String(36), primary_key=True),
    Column("backup_id", String(36), ForeignKey("backup.backup_id"), nullable=False),
    Column("kind", String(16), nullable=False),  # copy, test
    Column("at", UtcMs, nullable=False),
    Column("by", String(128), nullable=False),
    Column("medium", String(64)),
    Column("keeper", String(128)),
    Column("n_rows", BigInteger),
    Column("seconds", Integer),
    Column("mac", Octets, nullable=False),
    Index("ix_backup_act_backup_id", "backup_id"),
)
