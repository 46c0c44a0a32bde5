"""legal holds, purges, erasures"""

import sqlalchemy as sa
from alembic import op

from modemctl.store.tables import UtcMs

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.add_column("batch", sa.Column("purged_at", UtcMs(), nullable=True))
    op.create_table(
        "legal_hold",
        sa.Column("hold_id", sa.String(length=36), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("number_enc", sa.LargeBinary(), nullable=True),
        sa.Column("since", UtcMs(), nullable=True),
        sa.Column("until", UtcMs(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("set_by", sa.String(length=36), nullable=False),
        sa.Column("set_name", sa.String(length=128), nullable=False),
        sa.Column("set_at", UtcMs(), nullable=False),
        sa.Column("lifted_by", sa.String(length=36), nullable=True),
        sa.Column("lifted_name", sa.String(length=128), nullable=True),
        sa.Column("lifted_at", UtcMs(), nullable=True),
        sa.Column("lift_reason", sa.Text(), nullable=True),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("hold_id", name=op.f("pk_legal_hold")),
    )
    op.create_table(
        "purge_run",
        sa.Column("run_id", sa.String(length=36), nullable=False),
        sa.Column("by", sa.String(length=128), nullable=False),
        sa.Column("request_id", sa.String(length=36), nullable=True),
        sa.Column("cutoffs", sa.Text(), nullable=False),
        sa.Column("started_at", UtcMs(), nullable=False),
        sa.Column("finished_at", UtcMs(), nullable=True),
        sa.Column("n_batches", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("n_rows", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_purge_run")),
    )
    op.create_table(
        "erasure",
        sa.Column("erasure_id", sa.String(length=36), nullable=False),
        sa.Column("number_bidx", sa.LargeBinary(), nullable=False),
        sa.Column("at", UtcMs(), nullable=False),
        sa.Column("by", sa.String(length=128), nullable=False),
        sa.Column("request_id", sa.String(length=36), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("n_rows", sa.Integer(), nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("erasure_id", name=op.f("pk_erasure")),
    )
    op.create_index(op.f("ix_erasure_number_bidx"), "erasure", ["number_bidx"], unique=False)
