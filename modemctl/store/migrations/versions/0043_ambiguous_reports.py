"""Reports that several segments may be meant by are found by their recipient"""

import sqlalchemy as sa
from alembic import op

revision = "0043"
down_revision = "0042"


def upgrade() -> None:
    is_ambiguous = sa.text("matching = 'ambiguous'")
    op.create_index(
        "ix_report_ambiguous",
        "report",
        ["recipient_bidx"],
        sqlite_where=is_ambiguous,
        postgresql_where=is_ambiguous,
    )
