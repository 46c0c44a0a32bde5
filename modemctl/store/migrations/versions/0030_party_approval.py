"""others for whom batches may be sent"""

import sqlalchemy as sa
from alembic import op

from modemctl.store.tables import UtcMs

revision = "0030"
down_revision = "0029"


def upgrade() -> None:
    op.create_table(
        "party_approval",
        sa.Column(
            "approval_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=False,
        ),
        sa.Column("party", sa.String(length=128), nullable=False),
        sa.Column("reference", sa.String(length=200), nullable=False),
        sa.Column("valid_from", UtcMs(), nullable=False),
        sa.Column("valid_until", UtcMs(), nullable=False),
        sa.Column("asked_by", sa.String(length=36), nullable=False),
        sa.Column("confirmed_by", sa.String(length=36), nullable=False),
        sa.Column("request_id", sa.String(length=36), nullable=False),
        sa.Column("at", UtcMs(), nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("approval_id", name=op.f("pk_party_approval")),
    )
    op.create_index(op.f("ix_party_approval_party"), "party_approval", ["party"], unique=False)
