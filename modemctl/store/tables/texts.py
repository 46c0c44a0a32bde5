"""What was said, to how many, and when (SMS-08)."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Index, Integer, Table

from modemctl.store.tables.schema import Octets, UtcMs, metadata

text_use = Table(
    "text_use",
    metadata,
    Column("batch_id", ForeignKey("batch.batch_id"), primary_key=True),
    Column("fingerprint", Octets, nullable=False),  # of the folded text, keyed
    Column("at", UtcMs, nullable=False),
    Column("n_messages", Integer, nullable=False),
    Column("mac", Octets, nullable=False),
)
Index("ix_text_use_fingerprint_at", text_use.c.fingerprint, text_use.c.at)
