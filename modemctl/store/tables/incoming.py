"""What comes in: messages, delivery reports, calls."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    String,
    Table,
    Text,
)

from modemctl.store.tables.schema import KEY, Octets, UtcMs, metadata

inbox = Table(
    "inbox",
    metadata,
    Column("inbox_id", KEY, primary_key=True),
    Column("iccid", String(22), index=True),
    Column("bay", String(128), nullable=False),
    Column("received_at", UtcMs, nullable=False, index=True),
    Column("sender_bidx", Octets, index=True),
    Column("sender_enc", Octets),
    Column("scts", String(32)),  # ISO 8601 with the service centre's own offset
    Column("body_enc", Octets),  # text where it decodes
    Column("tpdu_enc", Octets, nullable=False),
    Column("fingerprint", Octets, nullable=False, index=True),
    Column("is_repeat", Boolean, nullable=False),
    Column("concat_ref", Integer),
    Column("concat_total", Integer),
    Column("concat_seq", Integer),
    Column("joined_id", BigInteger),  # inbox_id of the row that holds the joined text
    Column("is_decoded", Boolean, nullable=False),
    Column("kind", String(16), nullable=False),  # text, part, binary, raw, opt_out, code
)

report = Table(
    "report",
    metadata,
    Column("report_id", KEY, primary_key=True),
    Column("iccid", String(22), nullable=False),
    Column("bay", String(128), nullable=False),
    Column("received_at", UtcMs, nullable=False),
    Column("recipient_bidx", Octets, nullable=False),
    Column("mr", Integer, nullable=False),
    Column("st", Integer, nullable=False),
    Column("scts", String(32)),
    Column("discharged", String(32)),
    Column("fingerprint", Octets, nullable=False, unique=True),
    Column("segment_id", BigInteger, index=True),
    Column("matching", String(16), nullable=False),  # matched, unmatched, ambiguous
)

_UNMATCHED = report.c.matching == "unmatched"
Index(
    "ix_report_unmatched",
    report.c.iccid,
    report.c.mr,
    sqlite_where=_UNMATCHED,
    postgresql_where=_UNMATCHED,
)
_AMBIGUOUS = report.c.matching == "ambiguous"
Index(
    "ix_report_ambiguous",
    report.c.recipient_bidx,
    sqlite_where=_AMBIGUOUS,
    postgresql_where=_AMBIGUOUS,
)

call = Table(
    "call",
    metadata,
    Column("call_record_id", KEY, primary_key=True),
    Column("iccid", String(22), index=True),
    Column("bay", String(128), nullable=False),
    Column("is_incoming", Boolean, nullable=False),
    Column("number_enc", Octets),
    Column("number_bidx", Octets, index=True),
    Column("holder", String(128)),
    Column("department", String(128)),
    Column("started_at", UtcMs, nullable=False, index=True),
    Column("answered_at", UtcMs),
    Column("ended_at", UtcMs),
    Column("n_rings", Integer, nullable=False),
    Column("cause", Text),
)
