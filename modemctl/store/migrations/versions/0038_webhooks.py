"""Webhooks: where events are sent to, how far each receiver is, what it did not take"""

import sqlalchemy as sa
from alembic import op

from modemctl.store.tables import UtcMs

revision = "0038"
down_revision = "0037"


def upgrade() -> None:
    op.create_table(
        "webhook",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("url", sa.String(length=500), nullable=False),
        sa.Column("events", sa.Text(), nullable=False),
        sa.Column("department", sa.String(length=128), nullable=True),
        sa.Column("parallel", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=200), nullable=False),
        sa.Column("secret_enc", sa.LargeBinary(), nullable=False),
        sa.Column("old_secret_enc", sa.LargeBinary(), nullable=True),
        sa.Column("old_until", UtcMs(), nullable=True),
        sa.Column("created_at", UtcMs(), nullable=False),
        sa.Column("created_by", sa.String(length=128), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_webhook")),
    )
    op.create_table(
        "webhook_place",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("n_delivered", sa.BigInteger(), nullable=False),
        sa.Column("delivered_at", UtcMs(), nullable=True),
        sa.Column("n_failures", sa.Integer(), nullable=False),
        sa.Column("failing_since", UtcMs(), nullable=True),
        sa.Column("next_attempt_at", UtcMs(), nullable=True),
        sa.Column("is_told", sa.Boolean(), nullable=False),
        sa.Column("node_id", sa.String(length=64), nullable=True),
        sa.Column("held_until", UtcMs(), nullable=True),
        sa.ForeignKeyConstraint(
            ["name"], ["webhook.name"], name=op.f("fk_webhook_place_name_webhook")
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_webhook_place")),
    )
    op.create_table(
        "webhook_delivery",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("event_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("event_at", UtcMs(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("subject", sa.String(length=128), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("is_holding", sa.Boolean(), nullable=False),
        sa.Column("n_attempts", sa.Integer(), nullable=False),
        sa.Column("first_at", UtcMs(), nullable=False),
        sa.Column("next_attempt_at", UtcMs(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("reason", sa.String(length=200), nullable=False),
        sa.ForeignKeyConstraint(
            ["name"], ["webhook.name"], name=op.f("fk_webhook_delivery_name_webhook")
        ),
        sa.PrimaryKeyConstraint("name", "event_id", name=op.f("pk_webhook_delivery")),
    )
