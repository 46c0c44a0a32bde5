"""Batches of self-tests go under a standing approval"""

import sqlalchemy as sa
from alembic import op

revision = "0037"
down_revision = "0036"


def upgrade() -> None:
    with op.batch_alter_table("batch") as batch:
        batch.add_column(sa.Column("under", sa.String(length=36), nullable=True))
        batch.add_column(sa.Column("under_mac", sa.LargeBinary(), nullable=True))
    is_run = sa.text("action = 'batch.run'")
    op.create_index(
        "ix_audit_run", "audit_entry", ["at"], sqlite_where=is_run, postgresql_where=is_run
    )
