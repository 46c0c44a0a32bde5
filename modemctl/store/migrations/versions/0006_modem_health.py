"""a modem's temperature, and whose breakers hold its bay"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("modem", sa.Column("temperature_c", sa.Integer(), nullable=True))
    op.add_column(
        "modem", sa.Column("breakers", sa.String(length=32), nullable=False, server_default="")
    )
