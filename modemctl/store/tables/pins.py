"""What becomes of cards' PINs beyond single tries."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Integer, String, Table, Text

from modemctl.store.tables.schema import Octets, UtcMs, metadata

pin_change = Table(
    "pin_change",
    metadata,
    Column("import_id", String(36), primary_key=True),  # whose PINs become random ones
    Column("n_right", Integer, nullable=False),
    Column("n_refused", Integer, nullable=False),
    Column("stopped_at", UtcMs),
    Column("stopped_reason", Text),
)

card_lock = Table(
    "card_lock",
    metadata,
    Column("iccid", String(22), primary_key=True),
    Column("bay", String(128), nullable=False),  # where it was last seen to
    Column("is_locked", Boolean),  # NULL: no modem has told
    Column("verified_at", UtcMs),  # when it was told
    Column("reason", String(64), nullable=False),  # why the card cannot be used; empty: it can
    Column("at", UtcMs, nullable=False),
    Column("alarm", String(200), nullable=False, server_default=""),  # told, and holds still
)

puk_request = Table(
    "puk_request",
    metadata,
    Column("request_id", String(36), primary_key=True),
    Column("iccid", String(22), nullable=False, index=True),
    Column("state", String(16), nullable=False),
    Column("reason", Text, nullable=False),  # why it was asked
    Column("puk_enc", Octets),  # NULL once it is of no use any more
    Column("fingerprint", Octets, nullable=False),
    Column("asked_by", String(36), nullable=False),
    Column("asked_name", String(128), nullable=False),
    Column("asked_at", UtcMs, nullable=False),
    Column("confirmed_by", String(36)),
    Column("confirmed_name", String(128)),
    Column("confirmed_at", UtcMs),
    Column("n_mismatches", Integer, nullable=False),
    Column("bay", String(128)),
    Column("node_id", String(64)),
    Column("tries_before", Integer),
    Column("tried_at", UtcMs),
    Column("outcome", String(16)),  # of the try
    Column("mac", Octets, nullable=False),
)
