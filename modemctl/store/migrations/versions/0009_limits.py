"""limits on more than cards: whom a segment counts for, distinct recipients"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.add_column("segment", sa.Column("charged_to", sa.Text(), nullable=True))
    op.create_table(
        "quota_contact",
        sa.Column("scope", sa.String(length=64), nullable=False),
        sa.Column("span", sa.String(length=8), nullable=False),
        sa.Column("recipient", sa.String(length=64), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("bucket", sa.BigInteger(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("scope", "span", "recipient", name=op.f("pk_quota_contact")),
    )
