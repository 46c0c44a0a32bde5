"""Incidents and their timelines"""

import sqlalchemy as sa
from alembic import op

from modemctl.store.tables import UtcMs

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    op.create_table(
        "incident",
        sa.Column("incident_id", sa.String(length=36), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("title", sa.String(length=200), nullable=False),
        sa.Column("department", sa.String(length=128), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("opened_by", sa.String(length=36), nullable=False),
        sa.Column("opened_name", sa.String(length=128), nullable=False),
        sa.Column("opened_at", UtcMs(), nullable=False),
        sa.Column("detected_at", UtcMs(), nullable=False),
        sa.Column("due_at", UtcMs(), nullable=True),
        sa.Column("overdue_at", UtcMs(), nullable=True),
        sa.Column("stop_id", sa.String(length=36), nullable=True),
        sa.Column("acknowledged_by", sa.String(length=36), nullable=True),
        sa.Column("acknowledged_name", sa.String(length=128), nullable=True),
        sa.Column("acknowledged_at", UtcMs(), nullable=True),
        sa.Column("closed_by", sa.String(length=36), nullable=True),
        sa.Column("closed_name", sa.String(length=128), nullable=True),
        sa.Column("closed_at", UtcMs(), nullable=True),
        sa.Column("cause", sa.Text(), nullable=True),
        sa.Column("lessons", sa.Text(), nullable=True),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("incident_id", name=op.f("pk_incident")),
    )
    op.create_index(op.f("ix_incident_state"), "incident", ["state"], unique=False)
    key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "incident_note",
        sa.Column("note_id", key, nullable=False),
        sa.Column("incident_id", sa.String(length=36), nullable=False),
        sa.Column("at", UtcMs(), nullable=False),
        sa.Column("by", sa.String(length=128), nullable=False),
        sa.Column("what", sa.String(length=32), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["incident_id"],
            ["incident.incident_id"],
            name=op.f("fk_incident_note_incident_id_incident"),
        ),
        sa.PrimaryKeyConstraint("note_id", name=op.f("pk_incident_note")),
    )
    op.create_index(
        op.f("ix_incident_note_incident_id"), "incident_note", ["incident_id"], unique=False
    )
