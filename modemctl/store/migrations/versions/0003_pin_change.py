"""the change of imported PINs to random ones"""

import sqlalchemy as sa
from alembic import op

from modemctl.store.tables import UtcMs

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "pin_change",
        sa.Column("import_id", sa.String(length=36), nullable=False),
        sa.Column("n_right", sa.Integer(), nullable=False),
        sa.Column("n_refused", sa.Integer(), nullable=False),
        sa.Column("stopped_at", UtcMs(), nullable=True),
        sa.Column("stopped_reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("import_id", name=op.f("pk_pin_change")),
    )
