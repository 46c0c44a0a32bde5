"""What a node tells of itself, and whether it lives"""

import sqlalchemy as sa
from alembic import op

from modemctl.store.tables import UtcMs

revision = "0042"
down_revision = "0041"


def upgrade() -> None:
    columns: list[sa.Column[object]] = [
        sa.Column("state", sa.String(length=16), server_default="down", nullable=False),
        sa.Column("is_draining", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("n_beats", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("steady_at", UtcMs(), nullable=True),
        sa.Column("skew_ms", sa.BigInteger(), nullable=True),
        sa.Column("version", sa.String(length=32), nullable=True),
        sa.Column("boot_id", sa.String(length=64), nullable=True),
    ]
    for column in columns:
        op.add_column("node", column)
