"""roles for a time"""

import sqlalchemy as sa
from alembic import op

from modemctl.store.tables import UtcMs

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    op.create_table(
        "elevation",
        sa.Column(
            "elevation_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("account_id", sa.String(length=36), nullable=False),
        sa.Column("roles", sa.Text(), nullable=False),
        sa.Column("valid_from", UtcMs(), nullable=False),
        sa.Column("valid_until", UtcMs(), nullable=False),
        sa.Column("request_id", sa.String(length=36), nullable=False),
        sa.Column("ended_at", UtcMs(), nullable=True),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.account_id"], name=op.f("fk_elevation_account_id_account")
        ),
        sa.PrimaryKeyConstraint("elevation_id", name=op.f("pk_elevation")),
    )
    op.create_index(op.f("ix_elevation_account_id"), "elevation", ["account_id"], unique=False)
