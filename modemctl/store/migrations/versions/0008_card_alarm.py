"""what was last alarmed of a card, so that no look and no restart says it again"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column(
        "card_lock", sa.Column("alarm", sa.String(length=200), nullable=False, server_default="")
    )
