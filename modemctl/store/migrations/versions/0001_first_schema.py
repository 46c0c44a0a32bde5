"""first schema"""

import sqlalchemy as sa
from alembic import op

from modemctl.store.tables import UtcMs

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "account",
        sa.Column("account_id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("department", sa.String(length=128), nullable=True),
        sa.Column("roles", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("created_at", UtcMs(), nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_account")),
        sa.UniqueConstraint("name", name=op.f("uq_account_name")),
    )
    op.create_table(
        "audit_entry",
        sa.Column("node_id", sa.String(length=64), nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", UtcMs(), nullable=False),
        sa.Column("actor", sa.String(length=128), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.Column("prev", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("node_id", "seq", name=op.f("pk_audit_entry")),
    )
    op.create_table(
        "batch",
        sa.Column("batch_id", sa.String(length=36), nullable=False),
        sa.Column("category", sa.String(length=32), nullable=False),
        sa.Column("state", sa.String(length=24), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("department", sa.String(length=128), nullable=False),
        sa.Column("party", sa.String(length=128), nullable=False),
        sa.Column("drafter", sa.String(length=36), nullable=False),
        sa.Column("operator", sa.String(length=36), nullable=False),
        sa.Column("submitter", sa.String(length=36), nullable=False),
        sa.Column("template", sa.Text(), nullable=False),
        sa.Column("card_group", sa.String(length=64), nullable=True),
        sa.Column("starts_itself", sa.Boolean(), nullable=False),
        sa.Column("not_before", UtcMs(), nullable=False),
        sa.Column("not_after", UtcMs(), nullable=False),
        sa.Column("salt_nonce", sa.LargeBinary(), nullable=True),
        sa.Column("header", sa.LargeBinary(), nullable=True),
        sa.Column("digest", sa.LargeBinary(), nullable=True),
        sa.Column("request_digest", sa.LargeBinary(), nullable=False),
        sa.Column("n_lines", sa.Integer(), nullable=False),
        sa.Column("n_removed", sa.Integer(), nullable=False),
        sa.Column("n_segments", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcMs(), nullable=False),
        sa.Column("state_at", UtcMs(), nullable=False),
        sa.Column("served_at", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint(
            "state IN ('draft', 'checked', 'awaiting_approval', 'approved', 'running', 'held', 'done', 'rejected', 'withdrawn', 'cancelled', 'expired')",
            name=op.f("ck_batch_state_known"),
        ),
        sa.PrimaryKeyConstraint("batch_id", name=op.f("pk_batch")),
    )
    with op.batch_alter_table("batch", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_batch_state"), ["state"], unique=False)

    op.create_table(
        "call",
        sa.Column(
            "call_record_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("iccid", sa.String(length=22), nullable=True),
        sa.Column("bay", sa.String(length=128), nullable=False),
        sa.Column("is_incoming", sa.Boolean(), nullable=False),
        sa.Column("number_enc", sa.LargeBinary(), nullable=True),
        sa.Column("number_bidx", sa.LargeBinary(), nullable=True),
        sa.Column("holder", sa.String(length=128), nullable=True),
        sa.Column("department", sa.String(length=128), nullable=True),
        sa.Column("started_at", UtcMs(), nullable=False),
        sa.Column("answered_at", UtcMs(), nullable=True),
        sa.Column("ended_at", UtcMs(), nullable=True),
        sa.Column("n_rings", sa.Integer(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("call_record_id", name=op.f("pk_call")),
    )
    with op.batch_alter_table("call", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_call_iccid"), ["iccid"], unique=False)
        batch_op.create_index(batch_op.f("ix_call_number_bidx"), ["number_bidx"], unique=False)
        batch_op.create_index(batch_op.f("ix_call_started_at"), ["started_at"], unique=False)

    op.create_table(
        "event",
        sa.Column("event_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", UtcMs(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("subject", sa.String(length=128), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_event")),
    )
    with op.batch_alter_table("event", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_event_at"), ["at"], unique=False)

    op.create_table(
        "inbox",
        sa.Column("inbox_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("iccid", sa.String(length=22), nullable=True),
        sa.Column("bay", sa.String(length=128), nullable=False),
        sa.Column("received_at", UtcMs(), nullable=False),
        sa.Column("sender_bidx", sa.LargeBinary(), nullable=True),
        sa.Column("sender_enc", sa.LargeBinary(), nullable=True),
        sa.Column("scts", sa.String(length=32), nullable=True),
        sa.Column("body_enc", sa.LargeBinary(), nullable=True),
        sa.Column("tpdu_enc", sa.LargeBinary(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("is_repeat", sa.Boolean(), nullable=False),
        sa.Column("concat_ref", sa.Integer(), nullable=True),
        sa.Column("concat_total", sa.Integer(), nullable=True),
        sa.Column("concat_seq", sa.Integer(), nullable=True),
        sa.Column("joined_id", sa.BigInteger(), nullable=True),
        sa.Column("is_decoded", sa.Boolean(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.PrimaryKeyConstraint("inbox_id", name=op.f("pk_inbox")),
    )
    with op.batch_alter_table("inbox", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_inbox_fingerprint"), ["fingerprint"], unique=False)
        batch_op.create_index(batch_op.f("ix_inbox_iccid"), ["iccid"], unique=False)
        batch_op.create_index(batch_op.f("ix_inbox_received_at"), ["received_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_inbox_sender_bidx"), ["sender_bidx"], unique=False)

    op.create_table(
        "meta",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_meta")),
    )
    op.create_table(
        "modem",
        sa.Column("bay", sa.String(length=128), nullable=False),
        sa.Column("node_id", sa.String(length=64), nullable=False),
        sa.Column("port", sa.String(length=255), nullable=True),
        sa.Column("imei", sa.String(length=16), nullable=True),
        sa.Column("manufacturer", sa.String(length=64), nullable=True),
        sa.Column("model", sa.String(length=64), nullable=True),
        sa.Column("revision", sa.String(length=128), nullable=True),
        sa.Column("family", sa.String(length=32), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("state_at", UtcMs(), nullable=False),
        sa.Column("desired_state", sa.String(length=16), server_default="run", nullable=False),
        sa.Column("iccid", sa.String(length=22), nullable=True),
        sa.Column("signal_dbm", sa.Integer(), nullable=True),
        sa.Column("operator", sa.String(length=64), nullable=True),
        sa.Column("registration_stat", sa.Integer(), nullable=True),
        sa.Column("updated_at", UtcMs(), nullable=False),
        sa.PrimaryKeyConstraint("bay", name=op.f("pk_modem")),
    )
    with op.batch_alter_table("modem", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_modem_iccid"), ["iccid"], unique=False)

    op.create_table(
        "node",
        sa.Column("node_id", sa.String(length=64), nullable=False),
        sa.Column("started_at", UtcMs(), nullable=False),
        sa.Column("heartbeat_at", UtcMs(), nullable=False),
        sa.PrimaryKeyConstraint("node_id", name=op.f("pk_node")),
    )
    op.create_table(
        "opt_out",
        sa.Column("number_bidx", sa.LargeBinary(), nullable=False),
        sa.Column("number_enc", sa.LargeBinary(), nullable=False),
        sa.Column("at", UtcMs(), nullable=False),
        sa.Column("source", sa.String(length=32), nullable=False),
        sa.Column("keyword", sa.String(length=32), nullable=True),
        sa.Column("by", sa.String(length=128), nullable=False),
        sa.PrimaryKeyConstraint("number_bidx", name=op.f("pk_opt_out")),
    )
    op.create_table(
        "pin_attempt",
        sa.Column(
            "attempt_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("iccid", sa.String(length=22), nullable=False),
        sa.Column("import_id", sa.String(length=36), nullable=True),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("command", sa.String(length=8), nullable=False),
        sa.Column("bay", sa.String(length=128), nullable=False),
        sa.Column("node_id", sa.String(length=64), nullable=False),
        sa.Column("tries_before", sa.Integer(), nullable=False),
        sa.Column("at", UtcMs(), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=True),
        sa.PrimaryKeyConstraint("attempt_id", name=op.f("pk_pin_attempt")),
    )
    with op.batch_alter_table("pin_attempt", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_pin_attempt_iccid"), ["iccid"], unique=False)
        batch_op.create_index(batch_op.f("ix_pin_attempt_import_id"), ["import_id"], unique=False)

    op.create_table(
        "pin_import",
        sa.Column("import_id", sa.String(length=36), nullable=False),
        sa.Column("created_at", UtcMs(), nullable=False),
        sa.Column("n_cards", sa.Integer(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("n_right", sa.Integer(), nullable=False),
        sa.Column("n_wrong", sa.Integer(), nullable=False),
        sa.Column("stopped_at", UtcMs(), nullable=True),
        sa.Column("stopped_reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("import_id", name=op.f("pk_pin_import")),
    )
    op.create_table(
        "quota",
        sa.Column("scope", sa.String(length=64), nullable=False),
        sa.Column("span", sa.String(length=8), nullable=False),
        sa.Column("bucket", sa.BigInteger(), nullable=False),
        sa.Column("used", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("scope", "span", "bucket", name=op.f("pk_quota")),
    )
    op.create_table(
        "report",
        sa.Column(
            "report_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("iccid", sa.String(length=22), nullable=False),
        sa.Column("bay", sa.String(length=128), nullable=False),
        sa.Column("received_at", UtcMs(), nullable=False),
        sa.Column("recipient_bidx", sa.LargeBinary(), nullable=False),
        sa.Column("mr", sa.Integer(), nullable=False),
        sa.Column("st", sa.Integer(), nullable=False),
        sa.Column("scts", sa.String(length=32), nullable=True),
        sa.Column("discharged", sa.String(length=32), nullable=True),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("segment_id", sa.BigInteger(), nullable=True),
        sa.Column("matching", sa.String(length=16), nullable=False),
        sa.PrimaryKeyConstraint("report_id", name=op.f("pk_report")),
        sa.UniqueConstraint("fingerprint", name=op.f("uq_report_fingerprint")),
    )
    with op.batch_alter_table("report", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_report_segment_id"), ["segment_id"], unique=False)
        batch_op.create_index(
            "ix_report_unmatched",
            ["iccid", "mr"],
            unique=False,
            sqlite_where=sa.text("matching = 'unmatched'"),
            postgresql_where=sa.text("matching = 'unmatched'"),
        )

    op.create_table(
        "segment_journal",
        sa.Column("entry_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("segment_id", sa.BigInteger(), nullable=False),
        sa.Column("at", UtcMs(), nullable=False),
        sa.Column("before", sa.String(length=16), nullable=False),
        sa.Column("after", sa.String(length=16), nullable=False),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("entry_id", name=op.f("pk_segment_journal")),
    )
    with op.batch_alter_table("segment_journal", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_segment_journal_segment_id"), ["segment_id"], unique=False
        )

    op.create_table(
        "sim",
        sa.Column("iccid", sa.String(length=22), nullable=False),
        sa.Column("number_enc", sa.LargeBinary(), nullable=True),
        sa.Column("number_bidx", sa.LargeBinary(), nullable=True),
        sa.Column("holder", sa.String(length=128), nullable=True),
        sa.Column("department", sa.String(length=128), nullable=True),
        sa.Column("ownership", sa.String(length=16), nullable=False),
        sa.Column("lessor", sa.String(length=128), nullable=True),
        sa.Column("carrier", sa.String(length=64), nullable=True),
        sa.Column("card_group", sa.String(length=64), nullable=True),
        sa.Column("state", sa.String(length=24), nullable=False),
        sa.Column("is_reserved", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("verified_at", UtcMs(), nullable=True),
        sa.Column("verified_by", sa.String(length=128), nullable=True),
        sa.Column("pin_enc", sa.LargeBinary(), nullable=True),
        sa.Column("pin_pending_enc", sa.LargeBinary(), nullable=True),
        sa.Column("pin_import_id", sa.String(length=36), nullable=True),
        sa.Column("pin_state", sa.String(length=24), server_default="unproved", nullable=False),
        sa.Column("is_paused", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("created_at", UtcMs(), nullable=False),
        sa.Column("updated_at", UtcMs(), nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint(
            "state IN ('requested', 'reviewed', 'approved', 'provisioned', 'issued', 'suspended_loss', 'suspended_arrears', 'suspended_penalty', 'lost', 'damaged', 'returned', 'cancelled')",
            name=op.f("ck_sim_state_known"),
        ),
        sa.PrimaryKeyConstraint("iccid", name=op.f("pk_sim")),
    )
    with op.batch_alter_table("sim", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_sim_number_bidx"), ["number_bidx"], unique=False)

    op.create_table(
        "wish",
        sa.Column("wish_id", sa.String(length=36), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("bay", sa.String(length=128), nullable=False),
        sa.Column("body_enc", sa.LargeBinary(), nullable=True),
        sa.Column("requested_by", sa.String(length=36), nullable=False),
        sa.Column("at", UtcMs(), nullable=False),
        sa.Column("taken_at", UtcMs(), nullable=True),
        sa.Column("done_at", UtcMs(), nullable=True),
        sa.Column("result_enc", sa.LargeBinary(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("wish_id", name=op.f("pk_wish")),
    )
    with op.batch_alter_table("wish", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_wish_bay"), ["bay"], unique=False)

    op.create_table(
        "api_key",
        sa.Column("key_id", sa.String(length=16), nullable=False),
        sa.Column("account_id", sa.String(length=36), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", UtcMs(), nullable=False),
        sa.Column("expires_at", UtcMs(), nullable=False),
        sa.Column("last_used_at", UtcMs(), nullable=True),
        sa.Column("revoked_at", UtcMs(), nullable=True),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.account_id"], name=op.f("fk_api_key_account_id")
        ),
        sa.PrimaryKeyConstraint("key_id", name=op.f("pk_api_key")),
    )
    with op.batch_alter_table("api_key", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_api_key_account_id"), ["account_id"], unique=False)

    op.create_table(
        "approver_key",
        sa.Column("kid", sa.String(length=64), nullable=False),
        sa.Column("account_id", sa.String(length=36), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("valid_from", UtcMs(), nullable=False),
        sa.Column("valid_until", UtcMs(), nullable=False),
        sa.Column("revoked_at", UtcMs(), nullable=True),
        sa.Column("revoke_reason", sa.Text(), nullable=True),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.account_id"], name=op.f("fk_approver_key_account_id")
        ),
        sa.PrimaryKeyConstraint("kid", name=op.f("pk_approver_key")),
    )
    with op.batch_alter_table("approver_key", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_approver_key_account_id"), ["account_id"], unique=False
        )

    op.create_table(
        "authorisation",
        sa.Column(
            "authorisation_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("department", sa.String(length=128), nullable=False),
        sa.Column("account_id", sa.String(length=36), nullable=False),
        sa.Column("valid_from", UtcMs(), nullable=False),
        sa.Column("valid_until", UtcMs(), nullable=False),
        sa.Column("granted_by", sa.String(length=36), nullable=False),
        sa.Column("revoked_at", UtcMs(), nullable=True),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.account_id"], name=op.f("fk_authorisation_account_id")
        ),
        sa.PrimaryKeyConstraint("authorisation_id", name=op.f("pk_authorisation")),
    )
    with op.batch_alter_table("authorisation", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_authorisation_account_id"), ["account_id"], unique=False
        )

    op.create_table(
        "batch_chunk",
        sa.Column("batch_id", sa.String(length=36), nullable=False),
        sa.Column("chunk_no", sa.Integer(), nullable=False),
        sa.Column("leaves", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["batch.batch_id"], name=op.f("fk_batch_chunk_batch_id")
        ),
        sa.PrimaryKeyConstraint("batch_id", "chunk_no", name=op.f("pk_batch_chunk")),
    )
    op.create_table(
        "batch_removed",
        sa.Column("batch_id", sa.String(length=36), nullable=False),
        sa.Column("line_no", sa.Integer(), nullable=False),
        sa.Column("masked", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("policy", sa.String(length=16), nullable=True),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["batch.batch_id"], name=op.f("fk_batch_removed_batch_id")
        ),
        sa.PrimaryKeyConstraint("batch_id", "line_no", name=op.f("pk_batch_removed")),
    )
    op.create_table(
        "confirmation",
        sa.Column("batch_id", sa.String(length=36), nullable=False),
        sa.Column("account_id", sa.String(length=36), nullable=False),
        sa.Column("at", UtcMs(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.account_id"], name=op.f("fk_confirmation_account_id")
        ),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["batch.batch_id"], name=op.f("fk_confirmation_batch_id")
        ),
        sa.PrimaryKeyConstraint("batch_id", "account_id", name=op.f("pk_confirmation")),
    )
    op.create_table(
        "message",
        sa.Column(
            "message_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("batch_id", sa.String(length=36), nullable=False),
        sa.Column("line_no", sa.Integer(), nullable=False),
        sa.Column("recipient_bidx", sa.LargeBinary(), nullable=False),
        sa.Column("line_enc", sa.LargeBinary(), nullable=False),
        sa.Column("n_segments", sa.Integer(), nullable=False),
        sa.Column("iccid", sa.String(length=22), nullable=True),
        sa.Column("choice", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["batch_id"], ["batch.batch_id"], name=op.f("fk_message_batch_id")),
        sa.PrimaryKeyConstraint("message_id", name=op.f("pk_message")),
        sa.UniqueConstraint("batch_id", "line_no", name=op.f("uq_message_batch_id_line_no")),
        sa.UniqueConstraint(
            "batch_id", "recipient_bidx", name=op.f("uq_message_batch_id_recipient_bidx")
        ),
    )
    with op.batch_alter_table("message", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_message_recipient_bidx"), ["recipient_bidx"], unique=False
        )

    op.create_table(
        "approval",
        sa.Column("batch_id", sa.String(length=36), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("kid", sa.String(length=64), nullable=False),
        sa.Column("account_id", sa.String(length=36), nullable=False),
        sa.Column("decision", sa.String(length=16), nullable=False),
        sa.Column("jws", sa.Text(), nullable=False),
        sa.Column("received_at", UtcMs(), nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.account_id"], name=op.f("fk_approval_account_id")
        ),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["batch.batch_id"], name=op.f("fk_approval_batch_id")
        ),
        sa.ForeignKeyConstraint(["kid"], ["approver_key.kid"], name=op.f("fk_approval_kid")),
        sa.PrimaryKeyConstraint("batch_id", "step", name=op.f("pk_approval")),
    )
    op.create_table(
        "segment",
        sa.Column(
            "segment_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column(
            "message_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("batch_id", sa.String(length=36), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), server_default="queued", nullable=False),
        sa.Column("tries", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("not_before", UtcMs(), nullable=True),
        sa.Column("iccid", sa.String(length=22), nullable=True),
        sa.Column("bay", sa.String(length=128), nullable=True),
        sa.Column("node_id", sa.String(length=64), nullable=True),
        sa.Column("lease_token", sa.String(length=36), nullable=True),
        sa.Column("leased_until", UtcMs(), nullable=True),
        sa.Column("charged_at", UtcMs(), nullable=True),
        sa.Column("avoid_iccid", sa.String(length=22), nullable=True),
        sa.Column("mr", sa.Integer(), nullable=True),
        sa.Column("submitting_at", UtcMs(), nullable=True),
        sa.Column("sent_at", UtcMs(), nullable=True),
        sa.Column("final_at", UtcMs(), nullable=True),
        sa.Column("cause", sa.String(length=64), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "state IN ('queued', 'leased', 'submitting', 'sent', 'delivered', 'undelivered', 'expired', 'refused', 'cancelled', 'in_doubt', 'abandoned')",
            name=op.f("ck_segment_state_known"),
        ),
        sa.ForeignKeyConstraint(["batch_id"], ["batch.batch_id"], name=op.f("fk_segment_batch_id")),
        sa.ForeignKeyConstraint(
            ["message_id"], ["message.message_id"], name=op.f("fk_segment_message_id")
        ),
        sa.PrimaryKeyConstraint("segment_id", name=op.f("pk_segment")),
        sa.UniqueConstraint("message_id", "seq", name=op.f("uq_segment_message_id_seq")),
    )
    with op.batch_alter_table("segment", schema=None) as batch_op:
        batch_op.create_index("ix_segment_batch_state", ["batch_id", "state"], unique=False)
        batch_op.create_index(
            "ix_segment_open",
            ["state"],
            unique=False,
            sqlite_where=sa.text("state IN ('leased', 'submitting', 'in_doubt')"),
            postgresql_where=sa.text("state IN ('leased', 'submitting', 'in_doubt')"),
        )
        batch_op.create_index(
            "ix_segment_queue",
            ["batch_id", "not_before", "message_id"],
            unique=False,
            sqlite_where=sa.text("state = 'queued'"),
            postgresql_where=sa.text("state = 'queued'"),
        )
        batch_op.create_index("ix_segment_report", ["iccid", "mr", "sent_at"], unique=False)
