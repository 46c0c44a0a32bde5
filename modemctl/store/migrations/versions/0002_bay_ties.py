"""bays are tied to cards"""

import sqlalchemy as sa
from alembic import op

from modemctl.store.tables import UtcMs

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "bay_tie",
        sa.Column("bay", sa.String(length=128), nullable=False),
        sa.Column("iccid", sa.String(length=22), nullable=False),
        sa.Column("is_firm", sa.Boolean(), nullable=False),
        sa.Column("tied_by", sa.String(length=128), nullable=False),
        sa.Column("tied_at", UtcMs(), nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("bay", name=op.f("pk_bay_tie")),
        sa.UniqueConstraint("iccid", name=op.f("uq_bay_tie_iccid")),
    )
