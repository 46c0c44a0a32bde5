"""What is done regularly, and what the tests of bays found."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, String, Table, Text

from modemctl.store.tables.schema import KEY, UtcMs, metadata

duty = Table(
    "duty",
    metadata,
    Column("duty", String(32), primary_key=True),
    Column("done_at", UtcMs, nullable=False),  # at first: when the site began to count
    Column("done_by", String(128), nullable=False),  # empty: never yet
)

self_test = Table(
    "self_test",
    metadata,
    Column("test_id", KEY, primary_key=True),
    Column("bay", String(128), nullable=False),
    Column("at", UtcMs, nullable=False),
    Column("done_by", String(128), nullable=False),
    Column("iccid", String(22)),
    Column("state", String(16), nullable=False),
    Column("registration", Text),
    Column("signal_dbm", Integer),
    Column("answer_ms", Integer),
    Column("faults", Text, nullable=False),  # JSON list, empty where all is well
    Index("ix_self_test_bay_at", "bay", "at"),
)
