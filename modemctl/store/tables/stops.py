"""Stops, what they found under way, and the seal over those that stand."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Integer, String, Table, Text

from modemctl.store.tables.schema import Octets, UtcMs, metadata

stop = Table(
    "stop",
    metadata,
    Column("stop_id", String(36), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("target", String(128), nullable=False),  # empty: the fleet
    Column("reason", Text, nullable=False),
    Column("placed_by", String(36), nullable=False),
    Column("placed_name", String(128), nullable=False),
    Column("placed_at", UtcMs, nullable=False),
    Column("lifted_by", String(36)),
    Column("lifted_name", String(128)),
    Column("lifted_at", UtcMs, index=True),  # NULL: it stands
    Column("lift_reason", Text),
    Column("journal_mark", BigInteger),  # last journal row before the lift; NULL: it stands
    Column("mac", Octets, nullable=False),
)

stop_seal = Table(  # one row: which stops stand, so that a deleted one is missed
    "stop_seal",
    metadata,
    Column("seal_id", Integer, primary_key=True, autoincrement=False),
    Column("version", BigInteger, nullable=False),  # grows with each stop placed or lifted
    Column("mac", Octets, nullable=False),
)

stop_batch = Table(  # what ran, or was held, when the stop was placed
    "stop_batch",
    metadata,
    Column("stop_id", ForeignKey("stop.stop_id"), primary_key=True),
    Column("batch_id", String(36), primary_key=True),
)

stop_flight = Table(  # segments that a card had in hand when the stop was placed
    "stop_flight",
    metadata,
    Column("stop_id", ForeignKey("stop.stop_id"), primary_key=True),
    Column("segment_id", BigInteger, primary_key=True, autoincrement=False),
    Column("was", String(16), nullable=False),  # submitting, leased
)
