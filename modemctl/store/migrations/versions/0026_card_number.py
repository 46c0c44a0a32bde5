"""The numbers that stand on cards, and departments' word that the register is true"""

import sqlalchemy as sa
from alembic import op

from modemctl.store.tables import UtcMs

revision = "0026"
down_revision = "0025"


def upgrade() -> None:
    op.create_table(
        "card_number",
        sa.Column("iccid", sa.String(length=22), nullable=False),
        sa.Column("number_bidx", sa.LargeBinary(), nullable=False),
        sa.Column("told", sa.String(length=32), nullable=False),
        sa.Column("since", UtcMs(), nullable=False),
        sa.Column("accepted_by", sa.String(length=128), nullable=True),
        sa.PrimaryKeyConstraint("iccid", name=op.f("pk_card_number")),
    )
    op.create_table(
        "register_confirmation",
        sa.Column("department", sa.String(length=128), nullable=False),
        sa.Column("at", UtcMs(), nullable=False),
        sa.Column("done_by", sa.String(length=128), nullable=False),
        sa.PrimaryKeyConstraint("department", name=op.f("pk_register_confirmation")),
    )
