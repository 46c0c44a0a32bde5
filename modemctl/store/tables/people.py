"""Accounts, their keys and what they may do."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Integer, String, Table, Text

from modemctl.store.tables.schema import KEY, Octets, UtcMs, metadata

account = Table(
    "account",
    metadata,
    Column("account_id", String(36), primary_key=True),
    Column("name", String(128), nullable=False, unique=True),
    Column("kind", String(16), nullable=False),  # person, system
    Column("department", String(128)),
    Column("roles", Text, nullable=False),  # JSON list, sorted
    Column("state", String(16), nullable=False),  # pending, active, frozen, revoked
    Column("created_at", UtcMs, nullable=False),
    Column("mac", Octets, nullable=False),
)

api_key = Table(
    "api_key",
    metadata,
    Column("key_id", String(16), primary_key=True),  # the visible prefix
    Column("account_id", ForeignKey("account.account_id"), nullable=False, index=True),
    Column("hash", Octets, nullable=False),
    Column("created_at", UtcMs, nullable=False),
    Column("expires_at", UtcMs, nullable=False),
    Column("last_used_at", UtcMs),
    Column("revoked_at", UtcMs),
    Column("addresses", Text),  # JSON list: where it counts
    Column("issued_by", String(36)),  # whose hands it came from
    Column("mac", Octets, nullable=False),
)

approver_key = Table(
    "approver_key",
    metadata,
    Column("kid", String(64), primary_key=True),
    Column("account_id", ForeignKey("account.account_id"), nullable=False, index=True),
    Column("public_key", Octets, nullable=False),  # 32 octets, Ed25519
    Column("valid_from", UtcMs, nullable=False),
    Column("valid_until", UtcMs, nullable=False),
    Column("revoked_at", UtcMs),
    Column("revoke_reason", Text),
    Column("mac", Octets, nullable=False),
)

authorisation = Table(
    "authorisation",
    metadata,
    Column("authorisation_id", KEY, primary_key=True),
    Column("kind", String(32), nullable=False),  # operator, or a chain's step name
    Column("department", String(128), nullable=False),
    Column("account_id", ForeignKey("account.account_id"), nullable=False, index=True),
    Column("valid_from", UtcMs, nullable=False),
    Column("valid_until", UtcMs, nullable=False),
    Column("granted_by", String(36), nullable=False),
    Column("revoked_at", UtcMs),
    Column("request_id", String(36)),  # whose two signatures granted it
    Column("mac", Octets, nullable=False),
)

elevation = Table(
    "elevation",
    metadata,
    Column("elevation_id", KEY, primary_key=True),
    Column("account_id", ForeignKey("account.account_id"), nullable=False, index=True),
    Column("roles", Text, nullable=False),  # JSON list, sorted
    Column("valid_from", UtcMs, nullable=False),
    Column("valid_until", UtcMs, nullable=False),
    Column("request_id", String(36), nullable=False),  # whose two agreed on it
    Column("ended_at", UtcMs),
    Column("mac", Octets, nullable=False),
)

qualification = Table(
    "qualification",
    metadata,
    Column("account_id", ForeignKey("account.account_id"), primary_key=True),
    Column("hours", Integer, nullable=False),
    Column("score", Integer, nullable=False),  # points of 100
    Column("trained_on", String(10), nullable=False),  # a day
    Column("agreement_on", String(10), nullable=False),  # a day
    Column("reference", String(200), nullable=False),
    Column("failed_drills", Integer, nullable=False),  # in a row
    Column("mac", Octets, nullable=False),
)
