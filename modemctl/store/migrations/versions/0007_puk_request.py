"""PUKs that one person brings and another one confirms"""

import sqlalchemy as sa
from alembic import op

from modemctl.store.tables import UtcMs

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "puk_request",
        sa.Column("request_id", sa.String(length=36), nullable=False),
        sa.Column("iccid", sa.String(length=22), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("puk_enc", sa.LargeBinary(), nullable=True),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("asked_by", sa.String(length=36), nullable=False),
        sa.Column("asked_name", sa.String(length=128), nullable=False),
        sa.Column("asked_at", UtcMs(), nullable=False),
        sa.Column("confirmed_by", sa.String(length=36), nullable=True),
        sa.Column("confirmed_name", sa.String(length=128), nullable=True),
        sa.Column("confirmed_at", UtcMs(), nullable=True),
        sa.Column("n_mismatches", sa.Integer(), nullable=False),
        sa.Column("bay", sa.String(length=128), nullable=True),
        sa.Column("node_id", sa.String(length=64), nullable=True),
        sa.Column("tries_before", sa.Integer(), nullable=True),
        sa.Column("tried_at", UtcMs(), nullable=True),
        sa.Column("outcome", sa.String(length=16), nullable=True),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("request_id", name=op.f("pk_puk_request")),
    )
    op.create_index(op.f("ix_puk_request_iccid"), "puk_request", ["iccid"], unique=False)
