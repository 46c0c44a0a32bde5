"""data keys, wrapped by the master key"""

import sqlalchemy as sa
from alembic import op

from modemctl.store.tables import UtcMs

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    op.create_table(
        "data_key",
        sa.Column("use", sa.String(length=16), nullable=False),
        sa.Column("generation", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("master", sa.String(length=32), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", UtcMs(), nullable=False),
        sa.PrimaryKeyConstraint("use", "generation", "master", name=op.f("pk_data_key")),
    )
