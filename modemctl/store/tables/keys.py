"""The data keys, wrapped by the master key, which lies elsewhere."""

from __future__ import annotations

from sqlalchemy import Column, Integer, String, Table

from modemctl.store.tables.schema import Octets, UtcMs, metadata

data_key = Table(
    "data_key",
    metadata,
    Column("use", String(16), primary_key=True),  # encrypt, index, mac, pin, token
    Column("generation", Integer, primary_key=True, autoincrement=False),
    Column("master", String(32), primary_key=True),  # check value of the key that opens it
    Column("wrapped", Octets, nullable=False),
    Column("created_at", UtcMs, nullable=False),
)
