"""by which act of two persons an authorisation was granted"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    op.add_column("authorisation", sa.Column("request_id", sa.String(length=36), nullable=True))
