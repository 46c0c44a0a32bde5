"""Balances of cards, as networks told them."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Index, String, Table, Text

from modemctl.store.tables.schema import KEY, UtcMs, metadata

balance = Table(
    "balance",
    metadata,
    Column("balance_id", KEY, primary_key=True),
    Column("iccid", String(22), nullable=False),
    Column("bay", String(128), nullable=False),
    Column("at", UtcMs, nullable=False),
    Column("asked_by", String(36), nullable=False),  # account; empty: by itself
    Column("outcome", String(16), nullable=False),
    Column("amount", String(24)),  # decimal text; none where none was read
    Column("currency", String(3), nullable=False),
    Column("is_low", Boolean, nullable=False),
    Column("error", Text),
    Index("ix_balance_iccid_balance_id", "iccid", "balance_id"),
    Index("ix_balance_at", "at"),
)
