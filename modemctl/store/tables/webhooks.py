"""Where events are sent to, how far each receiver is, and what it did not take."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Integer, String, Table, Text

from modemctl.store.tables.schema import Name, Octets, UtcMs, metadata

webhook = Table(
    "webhook",
    metadata,
    Column("name", Name(64), primary_key=True),
    Column("url", String(500), nullable=False),
    Column("events", Text, nullable=False),  # JSON: patterns of types
    Column("department", String(128)),  # NULL: all of them
    Column("parallel", Integer, nullable=False),
    Column("state", String(16), nullable=False),  # active, paused, disabled
    Column("reason", String(200), nullable=False),  # of this state
    Column("secret_enc", Octets, nullable=False),
    Column("old_secret_enc", Octets),
    Column("old_until", UtcMs),  # until when the old secret signs, too
    Column("created_at", UtcMs, nullable=False),
    Column("created_by", String(128), nullable=False),
    Column("revision", Integer, nullable=False),  # counts acts on it
    Column("mac", Octets, nullable=False),
)

webhook_place = Table(
    "webhook_place",
    metadata,
    Column("name", ForeignKey("webhook.name"), primary_key=True),
    Column("position", BigInteger, nullable=False),  # events up to here are delivered or rows below
    Column("n_delivered", BigInteger, nullable=False),
    Column("delivered_at", UtcMs),
    Column("n_failures", Integer, nullable=False),  # in a row
    Column("failing_since", UtcMs),
    Column("next_attempt_at", UtcMs),
    Column("is_told", Boolean, nullable=False),  # that it loses events, since its last success
    Column("node_id", String(64)),  # who delivers
    Column("held_until", UtcMs),
)

webhook_delivery = Table(
    "webhook_delivery",
    metadata,
    Column("name", ForeignKey("webhook.name"), primary_key=True),
    Column("event_id", BigInteger, primary_key=True, autoincrement=False),
    Column("event_at", UtcMs, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("subject", String(128), nullable=False),
    Column("data", Text, nullable=False),
    Column("state", String(16), nullable=False),  # waiting, dead
    Column("is_holding", Boolean, nullable=False),  # events behind it wait for it
    Column("n_attempts", Integer, nullable=False),
    Column("first_at", UtcMs, nullable=False),
    Column("next_attempt_at", UtcMs, nullable=False),
    Column("status", Integer),  # of the last answer
    Column("reason", String(200), nullable=False),
)
