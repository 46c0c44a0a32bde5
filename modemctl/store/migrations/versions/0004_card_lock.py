"""what was last seen of cards' locks"""

import sqlalchemy as sa
from alembic import op

from modemctl.store.tables import UtcMs

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "card_lock",
        sa.Column("iccid", sa.String(length=22), nullable=False),
        sa.Column("bay", sa.String(length=128), nullable=False),
        sa.Column("is_locked", sa.Boolean(), nullable=True),
        sa.Column("verified_at", UtcMs(), nullable=True),
        sa.Column("reason", sa.String(length=64), nullable=False),
        sa.Column("at", UtcMs(), nullable=False),
        sa.PrimaryKeyConstraint("iccid", name=op.f("pk_card_lock")),
    )
