"""Violation cases and the audit entries that they rest on."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Integer, String, Table, Text

from modemctl.store.tables.schema import Octets, UtcMs, metadata

violation_case = Table(
    "violation_case",
    metadata,
    Column("case_id", String(36), primary_key=True),
    Column("policy", String(16), nullable=False),
    Column("grade", Integer, nullable=False),  # 1, 2, 3
    Column("amount_fen", BigInteger),  # what it cost, or is proposed; recorded, never collected
    Column("state", String(16), nullable=False, index=True),
    Column("person_id", String(36), nullable=False, index=True),
    Column("person_name", String(128), nullable=False),
    Column("department", String(128)),
    Column("summary", Text, nullable=False),
    Column("evidence_digest", Octets, nullable=False),  # over its rows of violation_evidence
    Column("opened_by", String(36), nullable=False),
    Column("opened_name", String(128), nullable=False),
    Column("opened_at", UtcMs, nullable=False, index=True),
    Column("investigate_by", UtcMs, nullable=False),
    Column("decided_by", String(36)),
    Column("decided_name", String(128)),
    Column("decided_at", UtcMs),
    Column("finding", Text),
    Column("appeal_by", UtcMs),
    Column("appealed_at", UtcMs),
    Column("appeal", Text),
    Column("review_by", UtcMs),
    Column("reviewed_by", String(36)),
    Column("reviewed_name", String(128)),
    Column("reviewed_at", UtcMs),
    Column("review", Text),
    Column("overdue_at", UtcMs),  # when it was told that this step is late
    Column("mac", Octets, nullable=False),
)

violation_evidence = Table(
    "violation_evidence",
    metadata,
    Column("case_id", ForeignKey("violation_case.case_id"), primary_key=True),
    Column("node_id", String(64), primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("hash", Octets, nullable=False),  # of the audit entry
)
