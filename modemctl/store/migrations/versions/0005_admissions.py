"""the admission list of modems"""

import sqlalchemy as sa
from alembic import op

from modemctl.store.tables import UtcMs

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "admission",
        sa.Column("imei", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("requested_by", sa.String(length=36), nullable=True),
        sa.Column("requested_at", UtcMs(), nullable=True),
        sa.Column("decided_by", sa.String(length=36), nullable=True),
        sa.Column("decided_at", UtcMs(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("bay", sa.String(length=128), nullable=True),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("imei", name=op.f("pk_admission")),
    )
