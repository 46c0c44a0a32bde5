"""Requests that one person makes and another one confirms"""

import sqlalchemy as sa
from alembic import op

from modemctl.store.tables import UtcMs

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.create_table(
        "dual_request",
        sa.Column("request_id", sa.String(length=36), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("department", sa.String(length=128), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("asked_by", sa.String(length=36), nullable=False),
        sa.Column("asked_name", sa.String(length=128), nullable=False),
        sa.Column("asked_at", UtcMs(), nullable=False),
        sa.Column("expires_at", UtcMs(), nullable=False),
        sa.Column("decided_by", sa.String(length=36), nullable=True),
        sa.Column("decided_name", sa.String(length=128), nullable=True),
        sa.Column("decided_at", UtcMs(), nullable=True),
        sa.Column("spent_at", UtcMs(), nullable=True),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("request_id", name=op.f("pk_dual_request")),
    )
    op.create_index(op.f("ix_dual_request_asked_at"), "dual_request", ["asked_at"], unique=False)
