"""to how many the same text went"""

import sqlalchemy as sa
from alembic import op

from modemctl.store.tables import UtcMs

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    op.create_table(
        "text_use",
        sa.Column("batch_id", sa.String(length=36), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("at", UtcMs(), nullable=False),
        sa.Column("n_messages", sa.Integer(), nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["batch.batch_id"], name=op.f("fk_text_use_batch_id")
        ),
        sa.PrimaryKeyConstraint("batch_id", name=op.f("pk_text_use")),
    )
    op.create_index("ix_text_use_fingerprint_at", "text_use", ["fingerprint", "at"], unique=False)
