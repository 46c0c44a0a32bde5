"""Which policies of the settings were confirmed."""

from __future__ import annotations

from sqlalchemy import Column, String, Table, Text

from modemctl.store.tables.schema import KEY, Octets, UtcMs, metadata

policy_version = Table(
    "policy_version",
    metadata,
    Column("version", KEY, primary_key=True, autoincrement=False),
    Column("at", UtcMs, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("settings", Text, nullable=False),  # JSON: section.key → value
    Column("asked_by", String(128), nullable=False),
    Column("confirmed_by", String(128), nullable=False),
    Column("mac", Octets, nullable=False),
)
