"""What becomes of cards' PINs beyond single tries."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Integer, String, Table, Text

from modemctl.store.tables.schema import UtcMs, metadata

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
)
