"""backups, their copies, and the restores that tried them"""

import sqlalchemy as sa
from alembic import op

from modemctl.store.tables import UtcMs

revision = "0039"
down_revision = "0038"


def upgrade() -> None:
    op.create_table(
        "backup",
        sa.Column("backup_id", sa.String(length=36), nullable=False),
        sa.Column("at", UtcMs(), nullable=False),
        sa.Column("by", sa.String(length=128), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("folder", sa.Text(), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("finished_at", UtcMs(), nullable=True),
        sa.Column("sha256", sa.String(length=64), nullable=True),
        sa.Column("n_octets", sa.BigInteger(), nullable=True),
        sa.Column("n_database", sa.BigInteger(), nullable=True),
        sa.Column("n_rows", sa.BigInteger(), nullable=True),
        sa.Column("schema_revision", sa.String(length=32), nullable=True),
        sa.Column("log_seq", sa.BigInteger(), nullable=True),
        sa.Column("removed_at", UtcMs(), nullable=True),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("backup_id", name=op.f("pk_backup")),
    )
    op.create_index(op.f("ix_backup_at"), "backup", ["at"], unique=False)
    op.create_table(
        "backup_act",
        sa.Column("act_id", sa.String(length=36), nullable=False),
        sa.Column("backup_id", sa.String(length=36), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("at", UtcMs(), nullable=False),
        sa.Column("by", sa.String(length=128), nullable=False),
        sa.Column("medium", sa.String(length=64), nullable=True),
        sa.Column("keeper", sa.String(length=128), nullable=True),
        sa.Column("n_rows", sa.BigInteger(), nullable=True),
        sa.Column("seconds", sa.Integer(), nullable=True),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["backup_id"], ["backup.backup_id"], name=op.f("fk_backup_act_backup_id_backup")
        ),
        sa.PrimaryKeyConstraint("act_id", name=op.f("pk_backup_act")),
    )
    op.create_index("ix_backup_act_backup_id", "backup_act", ["backup_id"], unique=False)
