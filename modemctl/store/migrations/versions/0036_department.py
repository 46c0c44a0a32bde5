"""Registered departments; `upgrade` registers the names that are in use"""

import sqlalchemy as sa
from alembic import op

from modemctl.store.tables import UtcMs

revision = "0036"
down_revision = "0035"


def upgrade() -> None:
    op.create_table(
        "department",
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("title", sa.String(length=128), nullable=False),
        sa.Column("head", sa.String(length=36), nullable=True),
        sa.Column("parent", sa.String(length=128), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("since", UtcMs(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_department")),
    )
