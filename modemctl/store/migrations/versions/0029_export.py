"""The ledger of exports"""

import sqlalchemy as sa
from alembic import op

from modemctl.store.tables import UtcMs

revision = "0029"
down_revision = "0028"


def upgrade() -> None:
    op.create_table(
        "export_note",
        sa.Column("paper_id", sa.String(length=36), nullable=False),
        sa.Column("columns", sa.Text(), nullable=False),
        sa.Column("recipient", sa.String(length=128), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("request_id", sa.String(length=36), nullable=True),
        sa.Column("review_at", UtcMs(), nullable=False),
        sa.Column("reviewed_by", sa.String(length=128), nullable=True),
        sa.Column("reviewed_at", UtcMs(), nullable=True),
        sa.Column("review_note", sa.Text(), nullable=True),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("paper_id", name=op.f("pk_export_note")),
    )
    op.create_index(op.f("ix_export_note_review_at"), "export_note", ["review_at"], unique=False)
