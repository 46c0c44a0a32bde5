"""Whom a department may send notices to, where it keeps a register of its customers (SMS-02)."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Integer, String, Table

from modemctl.store.tables.schema import KEY, Octets, UtcMs, metadata

customer_import = Table(
    "customer_import",
    metadata,
    Column("import_no", KEY, primary_key=True),
    Column("department", String(128), nullable=False, index=True),
    Column("source", String(200), nullable=False),
    Column("at", UtcMs, nullable=False),  # when it began; while it comes in, its last sign of life
    Column("by", String(128), nullable=False),
    Column("finished_at", UtcMs),  # NULL: under way, or broken off; its rows do not count
    Column("n_added", Integer, nullable=False),
    Column("mac", Octets, nullable=False),
)

customer = Table(
    "customer",
    metadata,
    Column("token", Octets, primary_key=True),  # keyed hash of department and number: its own seal
    Column("import_no", ForeignKey("customer_import.import_no"), nullable=False, index=True),
    sqlite_with_rowid=False,
)

customer_seal = Table(
    "customer_seal",
    metadata,
    Column("department", String(128), primary_key=True),
    Column("n", BigInteger, nullable=False),
    Column("total", Octets, nullable=False),  # sum of keyed hashes of the register's rows
    Column("mac", Octets, nullable=False),
)
