"""Others for whom the company lets batches be sent (SMS-09)."""

from __future__ import annotations

from sqlalchemy import Column, String, Table

from modemctl.store.tables.schema import KEY, Octets, UtcMs, metadata

party_approval = Table(
    "party_approval",
    metadata,
    Column("approval_id", KEY, primary_key=True),
    Column("party", String(128), nullable=False, index=True),  # the latest row of one counts
    Column("reference", String(200), nullable=False),  # of the company's own paper
    Column("valid_from", UtcMs, nullable=False),
    Column("valid_until", UtcMs, nullable=False),
    Column("asked_by", String(36), nullable=False),
    Column("confirmed_by", String(36), nullable=False),
    Column("request_id", String(36), nullable=False),
    Column("at", UtcMs, nullable=False),
    Column("mac", Octets, nullable=False),
)
