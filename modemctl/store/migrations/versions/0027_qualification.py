"""training, agreement and drills of persons"""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"


def upgrade() -> None:
    op.create_table(
        "qualification",
        sa.Column("account_id", sa.String(length=36), nullable=False),
        sa.Column("hours", sa.Integer(), nullable=False),
        sa.Column("score", sa.Integer(), nullable=False),
        sa.Column("trained_on", sa.String(length=10), nullable=False),
        sa.Column("agreement_on", sa.String(length=10), nullable=False),
        sa.Column("reference", sa.String(length=200), nullable=False),
        sa.Column("failed_drills", sa.Integer(), nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.account_id"], name=op.f("fk_qualification_account_id_account")
        ),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_qualification")),
    )
