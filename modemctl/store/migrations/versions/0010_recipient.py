"""recipients in a table of their own, which a long list fills in order"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.create_table(
        "recipient",
        sa.Column("recipient_bidx", sa.LargeBinary(), nullable=False),
        sa.Column("batch_id", sa.String(length=36), nullable=False),
        sa.Column("line_no", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["batch.batch_id"], name=op.f("fk_recipient_batch_id")
        ),
        sa.PrimaryKeyConstraint("recipient_bidx", "batch_id", name=op.f("pk_recipient")),
        sqlite_with_rowid=False,
    )
    op.execute(
        "INSERT INTO recipient (recipient_bidx, batch_id, line_no)"
        " SELECT recipient_bidx, batch_id, line_no FROM message ORDER BY recipient_bidx, batch_id"
    )
    with op.batch_alter_table("message") as batch_op:
        batch_op.drop_index(batch_op.f("ix_message_recipient_bidx"))
        batch_op.drop_constraint(batch_op.f("uq_message_batch_id_recipient_bidx"), type_="unique")
