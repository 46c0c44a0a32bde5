"""The number of the document by which a card's holder is known, encrypted"""

import sqlalchemy as sa
from alembic import op

revision = "0033"
down_revision = "0032"


def upgrade() -> None:
    op.add_column("sim", sa.Column("identity_kind", sa.String(length=24), nullable=True))
    op.add_column("sim", sa.Column("identity_enc", sa.LargeBinary(), nullable=True))
    op.add_column("sim", sa.Column("identity_bidx", sa.LargeBinary(), nullable=True))
    op.create_index(op.f("ix_sim_identity_bidx"), "sim", ["identity_bidx"])
