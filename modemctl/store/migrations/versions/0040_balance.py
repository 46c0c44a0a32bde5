"""Balances of cards; what a bay's test found of its card's"""

import sqlalchemy as sa
from alembic import op

from modemctl.store.tables import UtcMs
from modemctl.store.tables.schema import KEY

revision = "0040"
down_revision = "0039"


def upgrade() -> None:
    op.create_table(
        "balance",
        sa.Column("balance_id", KEY, nullable=False),
        sa.Column("iccid", sa.String(length=22), nullable=False),
        sa.Column("bay", sa.String(length=128), nullable=False),
        sa.Column("at", UtcMs(), nullable=False),
        sa.Column("asked_by", sa.String(length=36), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("amount", sa.String(length=24), nullable=True),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("is_low", sa.Boolean(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("balance_id", name=op.f("pk_balance")),
    )
    op.create_index("ix_balance_iccid_balance_id", "balance", ["iccid", "balance_id"], unique=False)
    op.create_index("ix_balance_at", "balance", ["at"], unique=False)
    op.add_column("self_test", sa.Column("balance", sa.String(length=32), nullable=True))
