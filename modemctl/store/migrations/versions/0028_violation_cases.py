"""Violation cases and the audit entries that they rest on"""

import sqlalchemy as sa
from alembic import op

from modemctl.store.tables import UtcMs

revision = "0028"
down_revision = "0027"


def upgrade() -> None:
    op.create_table(
        "violation_case",
        sa.Column("case_id", sa.String(length=36), nullable=False),
        sa.Column("policy", sa.String(length=16), nullable=False),
        sa.Column("grade", sa.Integer(), nullable=False),
        sa.Column("amount_fen", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("person_id", sa.String(length=36), nullable=False),
        sa.Column("person_name", sa.String(length=128), nullable=False),
        sa.Column("department", sa.String(length=128), nullable=True),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.Column("evidence_digest", sa.LargeBinary(), nullable=False),
        sa.Column("opened_by", sa.String(length=36), nullable=False),
        sa.Column("opened_name", sa.String(length=128), nullable=False),
        sa.Column("opened_at", UtcMs(), nullable=False),
        sa.Column("investigate_by", UtcMs(), nullable=False),
        sa.Column("decided_by", sa.String(length=36), nullable=True),
        sa.Column("decided_name", sa.String(length=128), nullable=True),
        sa.Column("decided_at", UtcMs(), nullable=True),
        sa.Column("finding", sa.Text(), nullable=True),
        sa.Column("appeal_by", UtcMs(), nullable=True),
        sa.Column("appealed_at", UtcMs(), nullable=True),
        sa.Column("appeal", sa.Text(), nullable=True),
        sa.Column("review_by", UtcMs(), nullable=True),
        sa.Column("reviewed_by", sa.String(length=36), nullable=True),
        sa.Column("reviewed_name", sa.String(length=128), nullable=True),
        sa.Column("reviewed_at", UtcMs(), nullable=True),
        sa.Column("review", sa.Text(), nullable=True),
        sa.Column("overdue_at", UtcMs(), nullable=True),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("case_id", name=op.f("pk_violation_case")),
    )
    for column in ("opened_at", "person_id", "state"):
        op.create_index(op.f(f"ix_violation_case_{column}"), "violation_case", [column])
    op.create_table(
        "violation_evidence",
        sa.Column("case_id", sa.String(length=36), nullable=False),
        sa.Column("node_id", sa.String(length=64), nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["case_id"],
            ["violation_case.case_id"],
            name=op.f("fk_violation_evidence_case_id_violation_case"),
        ),
        sa.PrimaryKeyConstraint("case_id", "node_id", "seq", name=op.f("pk_violation_evidence")),
    )
