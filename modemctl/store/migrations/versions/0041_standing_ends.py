"""How standing approvals ended is found in the log at once"""

import sqlalchemy as sa
from alembic import op

revision = "0041"
down_revision = "0040"


def upgrade() -> None:
    is_end = sa.text("action IN ('batch.cancel', 'batch.hold', 'batch.release', 'batch.withdraw')")
    op.create_index(
        "ix_audit_end", "audit_entry", ["subject"], sqlite_where=is_end, postgresql_where=is_end
    )
