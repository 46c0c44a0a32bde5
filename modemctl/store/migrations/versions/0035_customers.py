"""registers of departments' customers"""

import sqlalchemy as sa
from alembic import op

from modemctl.store.tables import UtcMs

revision = "0035"
down_revision = "0034"


def upgrade() -> None:
    key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "customer_import",
        sa.Column("import_no", key, nullable=False),
        sa.Column("department", sa.String(length=128), nullable=False),
        sa.Column("source", sa.String(length=200), nullable=False),
        sa.Column("at", UtcMs(), nullable=False),
        sa.Column("by", sa.String(length=128), nullable=False),
        sa.Column("finished_at", UtcMs(), nullable=True),
        sa.Column("n_added", sa.Integer(), nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("import_no", name=op.f("pk_customer_import")),
    )
    op.create_index(
        op.f("ix_customer_import_department"), "customer_import", ["department"], unique=False
    )
    op.create_table(
        "customer",
        sa.Column("token", sa.LargeBinary(), nullable=False),
        sa.Column("import_no", key, nullable=False),
        sa.ForeignKeyConstraint(
            ["import_no"],
            ["customer_import.import_no"],
            name=op.f("fk_customer_import_no_customer_import"),
        ),
        sa.PrimaryKeyConstraint("token", name=op.f("pk_customer")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_customer_import_no"), "customer", ["import_no"], unique=False)
    op.create_table(
        "customer_seal",
        sa.Column("department", sa.String(length=128), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("total", sa.LargeBinary(), nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("department", name=op.f("pk_customer_seal")),
    )
