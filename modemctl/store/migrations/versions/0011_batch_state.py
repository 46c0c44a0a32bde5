"""the seal of a batch's state"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.add_column("batch", sa.Column("state_mac", sa.LargeBinary(), nullable=True))
