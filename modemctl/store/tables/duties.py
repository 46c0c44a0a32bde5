"""What is done regularly, what the tests of bays found, what cards say of themselves."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, String, Table, Text

from modemctl.store.tables.schema import KEY, Octets, UtcMs, metadata

duty = Table(
    "duty",
    metadata,
    Column("duty", String(32), primary_key=True),
    Column("done_at", UtcMs, nullable=False),  # at first: when the site began to count
    Column("done_by", String(128), nullable=False),  # empty: never yet
)

card_number = Table(
    "card_number",
    metadata,
    Column("iccid", String(22), primary_key=True),
    Column("number_bidx", Octets, nullable=False),  # as it stands on the card
    Column("told", String(32), nullable=False),  # masked
    Column("since", UtcMs, nullable=False),
    Column("accepted_by", String(128)),  # who said that the register is right all the same
)

register_confirmation = Table(
    "register_confirmation",
    metadata,
    Column("department", String(128), primary_key=True),
    Column("at", UtcMs, nullable=False),
    Column("done_by", String(128), nullable=False),
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
    Column("balance", String(32)),  # amount and currency
    Column("faults", Text, nullable=False),  # JSON list, empty where all is well
    Index("ix_self_test_bay_at", "bay", "at"),
)
