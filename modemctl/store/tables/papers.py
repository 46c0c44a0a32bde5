"""Reports that were made, and what became of them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Integer, String, Table, Text

from modemctl.store.tables.schema import Octets, UtcMs, metadata

paper = Table(
    "paper",
    metadata,
    Column("paper_id", String(36), primary_key=True),
    Column("kind", String(16), nullable=False, index=True),
    Column("subject", String(64), nullable=False),  # period, or id of the batch
    Column("department", String(128)),  # NULL: of all
    Column("format", String(8), nullable=False),
    Column("lang", String(8), nullable=False),
    Column("is_masked", Boolean, nullable=False),
    Column("state", String(16), nullable=False),  # working, done, failed, cancelled
    Column("asked_by", String(36), nullable=False),
    Column("asked_name", String(128), nullable=False),
    Column("asked_at", UtcMs, nullable=False),
    Column("done_at", UtcMs),
    Column("reason", Text, nullable=False),  # why it failed
    Column("digest", String(64)),  # of its content
    Column("sha256", String(64)),  # of the file
    Column("n_rows", Integer),
    Column("n_octets", BigInteger),
    Column("filed_by", String(128)),
    Column("filed_at", UtcMs),
    Column("filed_reference", Text),
    Column("mac", Octets, nullable=False),
)
