"""Regular duties, and what the tests of bays found"""

import sqlalchemy as sa
from alembic import op

from modemctl.store.tables import UtcMs
from modemctl.store.tables.schema import KEY

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    op.create_table(
        "duty",
        sa.Column("duty", sa.String(length=32), nullable=False),
        sa.Column("done_at", UtcMs(), nullable=False),
        sa.Column("done_by", sa.String(length=128), nullable=False),
        sa.PrimaryKeyConstraint("duty", name=op.f("pk_duty")),
    )
    op.create_table(
        "self_test",
        sa.Column("test_id", KEY, nullable=False),
        sa.Column("bay", sa.String(length=128), nullable=False),
        sa.Column("at", UtcMs(), nullable=False),
        sa.Column("done_by", sa.String(length=128), nullable=False),
        sa.Column("iccid", sa.String(length=22), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("registration", sa.Text(), nullable=True),
        sa.Column("signal_dbm", sa.Integer(), nullable=True),
        sa.Column("answer_ms", sa.Integer(), nullable=True),
        sa.Column("faults", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("test_id", name=op.f("pk_self_test")),
    )
    op.create_index("ix_self_test_bay_at", "self_test", ["bay", "at"], unique=False)
