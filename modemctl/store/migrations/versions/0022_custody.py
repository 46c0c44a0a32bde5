"""the life of a card: who asked, who let it, whose it is; its custody history"""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"

_COLUMNS = (
    ("user_name", sa.String(128)),
    ("purpose", sa.String(200)),
    ("contract", sa.String(128)),
    ("lease_from", sa.Date()),
    ("lease_until", sa.Date()),
    ("requested_by", sa.String(36)),
    ("reviewed_by", sa.String(36)),
    ("approved_by", sa.String(36)),
    ("suspended_until", sa.BigInteger()),
    ("carrier_reference", sa.String(128)),
    ("carrier_told_at", sa.BigInteger()),
    ("replaces", sa.String(22)),
    ("replaced_by", sa.String(22)),
)


def upgrade() -> None:
    for name, type_ in _COLUMNS:
        op.add_column("sim", sa.Column(name, type_, nullable=True))
    for name, kind, value in (
        ("is_pool", sa.Boolean(), sa.false()),
        ("revision", sa.Integer(), sa.text("0")),
    ):
        op.add_column("sim", sa.Column(name, kind, server_default=value, nullable=False))
    key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "custody",
        sa.Column("custody_id", key, primary_key=True),
        sa.Column("iccid", sa.String(22), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("step", sa.String(24), nullable=False),
        sa.Column("account_id", sa.String(36), nullable=False),
        sa.Column("by", sa.String(128), nullable=False),
        sa.Column("state", sa.String(24), nullable=False),
        sa.Column("holder", sa.String(128)),
        sa.Column("user_name", sa.String(128)),
        sa.Column("department", sa.String(128)),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("reference", sa.String(128)),
        sa.Column("other_iccid", sa.String(22)),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.UniqueConstraint("iccid", "seq", name="uq_custody_iccid_seq"),
    )
