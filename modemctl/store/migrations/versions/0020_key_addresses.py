"""where an API key counts"""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    op.add_column("api_key", sa.Column("addresses", sa.Text(), nullable=True))
