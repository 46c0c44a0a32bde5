"""What keeps records, and what takes them away: legal holds, purges, erasures."""

from __future__ import annotations

from sqlalchemy import Column, Integer, String, Table, Text, text

from modemctl.store.tables.schema import Octets, UtcMs, metadata

legal_hold = Table(
    "legal_hold",
    metadata,
    Column("hold_id", String(36), primary_key=True),
    Column("kind", String(16), nullable=False),  # card, number, batch, period
    Column("subject", String(64), nullable=False),  # ICCID, blind index, batch id; empty: period
    Column("number_enc", Octets),  # the number itself, to be shown
    Column("since", UtcMs),
    Column("until", UtcMs),
    Column("reason", Text, nullable=False),
    Column("set_by", String(36), nullable=False),
    Column("set_name", String(128), nullable=False),
    Column("set_at", UtcMs, nullable=False),
    Column("lifted_by", String(36)),
    Column("lifted_name", String(128)),
    Column("lifted_at", UtcMs),
    Column("lift_reason", Text),
    Column("mac", Octets, nullable=False),
)

purge_run = Table(
    "purge_run",
    metadata,
    Column("run_id", String(36), primary_key=True),
    Column("by", String(128), nullable=False),  # account, or the rule
    Column("request_id", String(36)),  # of the two persons; NULL: by the schedule
    Column("cutoffs", Text, nullable=False),  # JSON: class → UTC milliseconds
    Column("started_at", UtcMs, nullable=False),
    Column("finished_at", UtcMs),
    Column("n_batches", Integer, nullable=False, server_default=text("0")),
    Column("n_rows", Integer, nullable=False, server_default=text("0")),
    Column("mac", Octets, nullable=False),
)

erasure = Table(
    "erasure",
    metadata,
    Column("erasure_id", String(36), primary_key=True),
    Column("number_bidx", Octets, nullable=False, index=True),
    Column("at", UtcMs, nullable=False),
    Column("by", String(128), nullable=False),
    Column("request_id", String(36), nullable=False),
    Column("reason", Text, nullable=False),
    Column("n_rows", Integer, nullable=False),
    Column("mac", Octets, nullable=False),
)
