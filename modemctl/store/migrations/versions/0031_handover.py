"""Shift hand-overs"""

import sqlalchemy as sa
from alembic import op

from modemctl.store.tables import UtcMs

revision = "0031"
down_revision = "0030"


def upgrade() -> None:
    op.create_table(
        "handover",
        sa.Column("handover_id", sa.String(length=36), nullable=False),
        sa.Column("since", UtcMs(), nullable=True),
        sa.Column("made_by", sa.String(length=36), nullable=False),
        sa.Column("made_name", sa.String(length=128), nullable=False),
        sa.Column("made_at", UtcMs(), nullable=False),
        sa.Column("facts", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("taken_by", sa.String(length=36), nullable=True),
        sa.Column("taken_name", sa.String(length=128), nullable=True),
        sa.Column("taken_at", UtcMs(), nullable=True),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("handover_id", name=op.f("pk_handover")),
    )
    op.create_index(op.f("ix_handover_made_at"), "handover", ["made_at"], unique=False)
