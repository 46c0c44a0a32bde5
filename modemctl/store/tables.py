"""Every table, once. Phone numbers and texts stand encrypted, beside a blind index.

Times are UTC milliseconds since 1970 (`UtcMs`); states are the words of `modemctl.lifecycle`.
The migrations' sum must equal this metadata (a test proves it).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.types import TypeDecorator

from modemctl.lifecycle import BatchState, CardState, SegmentState

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)


class UtcMs(TypeDecorator[datetime]):
    """An aware datetime, stored as UTC milliseconds since 1970."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """To milliseconds; a naive datetime is our own error."""
        del dialect
        if value is None:
            return None
        assert value.tzinfo is not None, "times are aware"
        return (value - _EPOCH) // _MS

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        """To an aware UTC datetime."""
        del dialect
        return None if value is None else _EPOCH + value * _MS


def to_ms(at: datetime) -> int:
    """The stored form of a time, for statements written in SQL."""
    return (at - _EPOCH) // _MS


def from_ms(value: int) -> datetime:
    """The time behind a stored form."""
    return _EPOCH + value * _MS


_KEY = BigInteger().with_variant(Integer, "sqlite")  # else SQLite does not count up by itself

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _one_of(column: str, values: type[SegmentState | BatchState | CardState]) -> CheckConstraint:
    words = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({words})", name=f"{column}_known")


meta = Table(
    "meta",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)

node = Table(
    "node",
    metadata,
    Column("node_id", String(64), primary_key=True),
    Column("started_at", UtcMs, nullable=False),
    Column("heartbeat_at", UtcMs, nullable=False),
)

# ---------------------------------------------------------------- people

account = Table(
    "account",
    metadata,
    Column("account_id", String(36), primary_key=True),
    Column("name", String(128), nullable=False, unique=True),
    Column("kind", String(16), nullable=False),  # person, system
    Column("department", String(128)),
    Column("roles", Text, nullable=False),  # JSON list, sorted
    Column("state", String(16), nullable=False),  # active, frozen, revoked
    Column("created_at", UtcMs, nullable=False),
    Column("mac", LargeBinary, nullable=False),
)

api_key = Table(
    "api_key",
    metadata,
    Column("key_id", String(16), primary_key=True),  # the visible prefix
    Column("account_id", ForeignKey("account.account_id"), nullable=False, index=True),
    Column("hash", LargeBinary, nullable=False),
    Column("created_at", UtcMs, nullable=False),
    Column("expires_at", UtcMs, nullable=False),
    Column("last_used_at", UtcMs),
    Column("revoked_at", UtcMs),
    Column("mac", LargeBinary, nullable=False),
)

approver_key = Table(
    "approver_key",
    metadata,
    Column("kid", String(64), primary_key=True),
    Column("account_id", ForeignKey("account.account_id"), nullable=False, index=True),
    Column("public_key", LargeBinary, nullable=False),  # 32 octets, Ed25519
    Column("valid_from", UtcMs, nullable=False),
    Column("valid_until", UtcMs, nullable=False),
    Column("revoked_at", UtcMs),
    Column("revoke_reason", Text),
    Column("mac", LargeBinary, nullable=False),
)

authorisation = Table(
    "authorisation",
    metadata,
    Column("authorisation_id", _KEY, primary_key=True),
    Column("kind", String(32), nullable=False),  # operator, or a chain's step name
    Column("department", String(128), nullable=False),
    Column("account_id", ForeignKey("account.account_id"), nullable=False, index=True),
    Column("valid_from", UtcMs, nullable=False),
    Column("valid_until", UtcMs, nullable=False),
    Column("granted_by", String(36), nullable=False),
    Column("revoked_at", UtcMs),
    Column("mac", LargeBinary, nullable=False),
)

# ---------------------------------------------------------------- cards and modems

sim = Table(
    "sim",
    metadata,
    Column("iccid", String(22), primary_key=True),
    Column("number_enc", LargeBinary),
    Column("number_bidx", LargeBinary, index=True),
    Column("holder", String(128)),
    Column("department", String(128)),
    Column("ownership", String(16), nullable=False),  # owned, leased
    Column("lessor", String(128)),
    Column("carrier", String(64)),
    Column("card_group", String(64)),
    Column("state", String(24), nullable=False),
    Column("is_reserved", Boolean, nullable=False, server_default=text("0")),
    Column("verified_at", UtcMs),
    Column("verified_by", String(128)),
    Column("pin_enc", LargeBinary),
    Column("pin_pending_enc", LargeBinary),
    Column("pin_import_id", String(36)),
    Column("pin_state", String(24), nullable=False, server_default="unproved"),
    Column("is_paused", Boolean, nullable=False, server_default=text("0")),
    Column("created_at", UtcMs, nullable=False),
    Column("updated_at", UtcMs, nullable=False),
    Column("mac", LargeBinary, nullable=False),
    _one_of("state", CardState),
)

pin_import = Table(
    "pin_import",
    metadata,
    Column("import_id", String(36), primary_key=True),
    Column("created_at", UtcMs, nullable=False),
    Column("n_cards", Integer, nullable=False),
    Column("width", Integer, nullable=False),  # tries allowed in parallel: 1, 2, 4, 8
    Column("n_right", Integer, nullable=False),
    Column("n_wrong", Integer, nullable=False),
    Column("stopped_at", UtcMs),
    Column("stopped_reason", Text),
)

pin_attempt = Table(
    "pin_attempt",
    metadata,
    Column("attempt_id", _KEY, primary_key=True),
    Column("iccid", String(22), nullable=False, index=True),
    Column("import_id", String(36), index=True),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("command", String(8), nullable=False),  # CPIN, CLCK, CPWD
    Column("bay", String(128), nullable=False),
    Column("node_id", String(64), nullable=False),
    Column("tries_before", Integer, nullable=False),
    Column("at", UtcMs, nullable=False),
    Column("outcome", String(16)),  # NULL while the answer is out
)

modem = Table(
    "modem",
    metadata,
    Column("bay", String(128), primary_key=True),
    Column("node_id", String(64), nullable=False),
    Column("port", String(255)),
    Column("imei", String(16)),
    Column("manufacturer", String(64)),
    Column("model", String(64)),
    Column("revision", String(128)),
    Column("family", String(32)),
    Column("state", String(16), nullable=False),
    Column("reason", Text, nullable=False, server_default=""),
    Column("state_at", UtcMs, nullable=False),
    Column("desired_state", String(16), nullable=False, server_default="run"),
    Column("iccid", String(22), index=True),
    Column("signal_dbm", Integer),
    Column("operator", String(64)),
    Column("registration_stat", Integer),
    Column("updated_at", UtcMs, nullable=False),
)

wish = Table(
    "wish",
    metadata,
    Column("wish_id", String(36), primary_key=True),
    Column("kind", String(16), nullable=False),  # at, reset, rescan, release, retry
    Column("bay", String(128), nullable=False, index=True),
    Column("body_enc", LargeBinary),
    Column("requested_by", String(36), nullable=False),
    Column("at", UtcMs, nullable=False),
    Column("taken_at", UtcMs),
    Column("done_at", UtcMs),
    Column("result_enc", LargeBinary),
    Column("error", Text),
)

# ---------------------------------------------------------------- batches

batch = Table(
    "batch",
    metadata,
    Column("batch_id", String(36), primary_key=True),
    Column("category", String(32), nullable=False),
    Column("state", String(24), nullable=False, index=True),
    Column("reason", Text, nullable=False, server_default=""),
    Column("priority", Integer, nullable=False),  # 0 before 1
    Column("department", String(128), nullable=False),
    Column("party", String(128), nullable=False),
    Column("drafter", String(36), nullable=False),
    Column("operator", String(36), nullable=False),
    Column("submitter", String(36), nullable=False),
    Column("template", Text, nullable=False),
    Column("card_group", String(64)),
    Column("starts_itself", Boolean, nullable=False),
    Column("not_before", UtcMs, nullable=False),
    Column("not_after", UtcMs, nullable=False),
    Column("salt_nonce", LargeBinary),  # purging NULLs it: leaves no longer tell their lines
    Column("header", LargeBinary),  # RFC 8785 octets, frozen at CHECKED
    Column("digest", LargeBinary),  # SHA-256 of header
    Column("request_digest", LargeBinary, nullable=False),  # same id, other content → 409
    Column("n_lines", Integer, nullable=False),
    Column("n_removed", Integer, nullable=False),
    Column("n_segments", Integer, nullable=False),
    Column("created_at", UtcMs, nullable=False),
    Column("state_at", UtcMs, nullable=False),
    Column("served_at", BigInteger, nullable=False, server_default=text("0")),  # round robin
    _one_of("state", BatchState),
)

batch_chunk = Table(
    "batch_chunk",
    metadata,
    Column("batch_id", ForeignKey("batch.batch_id"), primary_key=True),
    Column("chunk_no", Integer, primary_key=True),
    Column("leaves", LargeBinary, nullable=False),  # up to 1,024 × 32 octets
)

batch_removed = Table(
    "batch_removed",
    metadata,
    Column("batch_id", ForeignKey("batch.batch_id"), primary_key=True),
    Column("line_no", Integer, primary_key=True),
    Column("masked", String(64), nullable=False),
    Column("reason", Text, nullable=False),
    Column("policy", String(16)),
)

confirmation = Table(
    "confirmation",
    metadata,
    Column("batch_id", ForeignKey("batch.batch_id"), primary_key=True),
    Column("account_id", ForeignKey("account.account_id"), primary_key=True),
    Column("at", UtcMs, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("mac", LargeBinary, nullable=False),
)

approval = Table(
    "approval",
    metadata,
    Column("batch_id", ForeignKey("batch.batch_id"), primary_key=True),
    Column("step", Integer, primary_key=True),
    Column("kid", ForeignKey("approver_key.kid"), nullable=False),
    Column("account_id", ForeignKey("account.account_id"), nullable=False),
    Column("decision", String(16), nullable=False),
    Column("jws", Text, nullable=False),
    Column("received_at", UtcMs, nullable=False),
    Column("mac", LargeBinary, nullable=False),
)

message = Table(
    "message",
    metadata,
    Column("message_id", _KEY, primary_key=True),
    Column("batch_id", ForeignKey("batch.batch_id"), nullable=False),
    Column("line_no", Integer, nullable=False),
    Column("recipient_bidx", LargeBinary, nullable=False, index=True),
    Column("line_enc", LargeBinary, nullable=False),  # RFC 8785 octets of the line, sealed
    Column("n_segments", Integer, nullable=False),
    Column("iccid", String(22)),  # chosen with the first lease; kept once a segment left
    Column("choice", Text),  # why this card
    UniqueConstraint("batch_id", "line_no"),
    UniqueConstraint("batch_id", "recipient_bidx"),
)

segment = Table(
    "segment",
    metadata,
    Column("segment_id", _KEY, primary_key=True),
    Column("message_id", ForeignKey("message.message_id"), nullable=False),
    Column("batch_id", ForeignKey("batch.batch_id"), nullable=False),
    Column("seq", Integer, nullable=False),  # 1 … n
    Column("state", String(16), nullable=False, server_default="queued"),
    Column("tries", Integer, nullable=False, server_default=text("0")),
    Column("not_before", UtcMs),  # back-off after a refusal that may pass
    Column("iccid", String(22)),
    Column("bay", String(128)),
    Column("node_id", String(64)),
    Column("lease_token", String(36)),
    Column("leased_until", UtcMs),
    Column("charged_at", UtcMs),  # whose quota buckets hold it; NULL: not counted
    Column("avoid_iccid", String(22)),  # refused it for reasons of its own: not this card again
    Column("mr", Integer),
    Column("submitting_at", UtcMs),
    Column("sent_at", UtcMs),
    Column("final_at", UtcMs),
    Column("cause", String(64)),
    Column("note", Text),
    UniqueConstraint("message_id", "seq"),
    _one_of("state", SegmentState),
)
_QUEUED = segment.c.state == "queued"
_OPEN = segment.c.state.in_(("leased", "submitting", "in_doubt"))
Index(
    "ix_segment_queue",
    segment.c.batch_id,
    segment.c.not_before,
    segment.c.message_id,
    sqlite_where=_QUEUED,
    postgresql_where=_QUEUED,
)
Index("ix_segment_open", segment.c.state, sqlite_where=_OPEN, postgresql_where=_OPEN)
Index("ix_segment_report", segment.c.iccid, segment.c.mr, segment.c.sent_at)
Index("ix_segment_batch_state", segment.c.batch_id, segment.c.state)

segment_journal = Table(
    "segment_journal",
    metadata,
    Column("entry_id", _KEY, primary_key=True),
    Column("segment_id", BigInteger, nullable=False, index=True),
    Column("at", UtcMs, nullable=False),
    Column("before", String(16), nullable=False),
    Column("after", String(16), nullable=False),
    Column("actor", String(64), nullable=False),  # node, account or rule
    Column("note", Text),
)

quota = Table(
    "quota",
    metadata,
    Column("scope", String(64), primary_key=True),  # sim:<iccid>, …
    Column("span", String(8), primary_key=True),  # minute, hour, day
    Column("bucket", BigInteger, primary_key=True),
    Column("used", Integer, nullable=False),
)

opt_out = Table(
    "opt_out",
    metadata,
    Column("number_bidx", LargeBinary, primary_key=True),
    Column("number_enc", LargeBinary, nullable=False),
    Column("at", UtcMs, nullable=False),
    Column("source", String(32), nullable=False),  # sms, api
    Column("keyword", String(32)),
    Column("by", String(128), nullable=False),
)

# ---------------------------------------------------------------- what comes in

inbox = Table(
    "inbox",
    metadata,
    Column("inbox_id", _KEY, primary_key=True),
    Column("iccid", String(22), index=True),
    Column("bay", String(128), nullable=False),
    Column("received_at", UtcMs, nullable=False, index=True),
    Column("sender_bidx", LargeBinary, index=True),
    Column("sender_enc", LargeBinary),
    Column("scts", String(32)),  # ISO 8601 with the service centre's own offset
    Column("body_enc", LargeBinary),  # text where it decodes
    Column("tpdu_enc", LargeBinary, nullable=False),
    Column("fingerprint", LargeBinary, nullable=False, index=True),
    Column("is_repeat", Boolean, nullable=False),
    Column("concat_ref", Integer),
    Column("concat_total", Integer),
    Column("concat_seq", Integer),
    Column("joined_id", BigInteger),  # inbox_id of the row that holds the joined text
    Column("is_decoded", Boolean, nullable=False),
    Column("kind", String(16), nullable=False),  # text, part, binary, raw, opt_out, code
)

report = Table(
    "report",
    metadata,
    Column("report_id", _KEY, primary_key=True),
    Column("iccid", String(22), nullable=False),
    Column("bay", String(128), nullable=False),
    Column("received_at", UtcMs, nullable=False),
    Column("recipient_bidx", LargeBinary, nullable=False),
    Column("mr", Integer, nullable=False),
    Column("st", Integer, nullable=False),
    Column("scts", String(32)),
    Column("discharged", String(32)),
    Column("fingerprint", LargeBinary, nullable=False, unique=True),
    Column("segment_id", BigInteger, index=True),
    Column("matching", String(16), nullable=False),  # matched, unmatched, ambiguous
)

_UNMATCHED = report.c.matching == "unmatched"
Index(
    "ix_report_unmatched",
    report.c.iccid,
    report.c.mr,
    sqlite_where=_UNMATCHED,
    postgresql_where=_UNMATCHED,
)

call = Table(
    "call",
    metadata,
    Column("call_record_id", _KEY, primary_key=True),
    Column("iccid", String(22), index=True),
    Column("bay", String(128), nullable=False),
    Column("is_incoming", Boolean, nullable=False),
    Column("number_enc", LargeBinary),
    Column("number_bidx", LargeBinary, index=True),
    Column("holder", String(128)),
    Column("department", String(128)),
    Column("started_at", UtcMs, nullable=False, index=True),
    Column("answered_at", UtcMs),
    Column("ended_at", UtcMs),
    Column("n_rings", Integer, nullable=False),
    Column("cause", Text),
)

# ---------------------------------------------------------------- evidence

event = Table(
    "event",
    metadata,
    Column("event_id", _KEY, primary_key=True),
    Column("at", UtcMs, nullable=False, index=True),
    Column("kind", String(16), nullable=False),
    Column("subject", String(128), nullable=False),
    Column("data", Text, nullable=False),  # JSON, nothing personal
)

audit_entry = Table(
    "audit_entry",
    metadata,
    Column("node_id", String(64), primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("at", UtcMs, nullable=False),
    Column("actor", String(128), nullable=False),
    Column("action", String(64), nullable=False),
    Column("subject", String(255), nullable=False),
    Column("details", Text, nullable=False),  # JSON, masked
    Column("prev", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("signature", LargeBinary, nullable=False),
)
