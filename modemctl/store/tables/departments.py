"""The departments that cards, accounts, authorities and batches may name."""

from __future__ import annotations

from sqlalchemy import Column, Integer, String, Table

from modemctl.store.tables.schema import Octets, UtcMs, metadata

department = Table(
    "department",
    metadata,
    Column("name", String(128), primary_key=True),
    Column("title", String(128), nullable=False),  # empty: the name says it
    Column("head", String(36)),  # an account
    Column("parent", String(128)),
    Column("state", String(16), nullable=False),  # active, closed
    Column("since", UtcMs, nullable=False),  # of this state
    Column("revision", Integer, nullable=False),  # counts acts on it
    Column("mac", Octets, nullable=False),
)
