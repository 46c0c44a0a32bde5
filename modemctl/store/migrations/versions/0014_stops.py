"""Stops of the fleet, a department, a card, a batch, a node"""

import sqlalchemy as sa
from alembic import op

from modemctl.store.tables import UtcMs

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.create_table(
        "stop",
        sa.Column("stop_id", sa.String(length=36), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("target", sa.String(length=128), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("placed_by", sa.String(length=36), nullable=False),
        sa.Column("placed_name", sa.String(length=128), nullable=False),
        sa.Column("placed_at", UtcMs(), nullable=False),
        sa.Column("lifted_by", sa.String(length=36), nullable=True),
        sa.Column("lifted_name", sa.String(length=128), nullable=True),
        sa.Column("lifted_at", UtcMs(), nullable=True),
        sa.Column("lift_reason", sa.Text(), nullable=True),
        sa.Column("journal_mark", sa.BigInteger(), nullable=True),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("stop_id", name=op.f("pk_stop")),
    )
    op.create_index(op.f("ix_stop_lifted_at"), "stop", ["lifted_at"], unique=False)
    op.create_table(
        "stop_seal",
        sa.Column("seal_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("seal_id", name=op.f("pk_stop_seal")),
    )
    op.create_table(
        "stop_batch",
        sa.Column("stop_id", sa.String(length=36), nullable=False),
        sa.Column("batch_id", sa.String(length=36), nullable=False),
        sa.ForeignKeyConstraint(
            ["stop_id"], ["stop.stop_id"], name=op.f("fk_stop_batch_stop_id_stop")
        ),
        sa.PrimaryKeyConstraint("stop_id", "batch_id", name=op.f("pk_stop_batch")),
    )
    op.create_table(
        "stop_flight",
        sa.Column("stop_id", sa.String(length=36), nullable=False),
        sa.Column("segment_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("was", sa.String(length=16), nullable=False),
        sa.ForeignKeyConstraint(
            ["stop_id"], ["stop.stop_id"], name=op.f("fk_stop_flight_stop_id_stop")
        ),
        sa.PrimaryKeyConstraint("stop_id", "segment_id", name=op.f("pk_stop_flight")),
    )
