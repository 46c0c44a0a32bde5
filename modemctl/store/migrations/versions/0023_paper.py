"""Reports that were made, and their filing"""

import sqlalchemy as sa
from alembic import op

from modemctl.store.tables import UtcMs

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    op.create_table(
        "paper",
        sa.Column("paper_id", sa.String(length=36), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("department", sa.String(length=128), nullable=True),
        sa.Column("format", sa.String(length=8), nullable=False),
        sa.Column("lang", sa.String(length=8), nullable=False),
        sa.Column("is_masked", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("asked_by", sa.String(length=36), nullable=False),
        sa.Column("asked_name", sa.String(length=128), nullable=False),
        sa.Column("asked_at", UtcMs(), nullable=False),
        sa.Column("done_at", UtcMs(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=True),
        sa.Column("sha256", sa.String(length=64), nullable=True),
        sa.Column("n_rows", sa.Integer(), nullable=True),
        sa.Column("n_octets", sa.BigInteger(), nullable=True),
        sa.Column("filed_by", sa.String(length=128), nullable=True),
        sa.Column("filed_at", UtcMs(), nullable=True),
        sa.Column("filed_reference", sa.Text(), nullable=True),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("paper_id", name=op.f("pk_paper")),
    )
    op.create_index(op.f("ix_paper_kind"), "paper", ["kind"], unique=False)
