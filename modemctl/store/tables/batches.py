"""Batches, their messages and segments, and what limits them."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    and_,
    text,
)

from modemctl.lifecycle import BatchState, SegmentState
from modemctl.store.tables.schema import KEY, Name, Octets, UtcMs, metadata, one_of

batch = Table(
    "batch",
    metadata,
    Column("batch_id", Name(36), primary_key=True),
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
    Column("salt_nonce", Octets),  # purging NULLs it: leaves no longer tell their lines
    Column("purged_at", UtcMs),  # when the last of its rows was gone
    Column("header", Octets),  # RFC 8785 octets, frozen at CHECKED
    Column("digest", Octets),  # SHA-256 of header
    Column("request_digest", Octets, nullable=False),  # same id, other content → 409
    Column("n_lines", Integer, nullable=False),
    Column("n_removed", Integer, nullable=False),
    Column("n_segments", Integer, nullable=False),
    Column("created_at", UtcMs, nullable=False),
    Column("state_at", UtcMs, nullable=False),
    Column("state_mac", Octets),  # NULL: a state that was not set by us
    Column("served_at", BigInteger, nullable=False, server_default=text("0")),  # round robin
    Column("under", String(36)),  # the standing approval that a self-test's batch goes under
    Column("under_mac", Octets),
    one_of("state", BatchState),
)

batch_chunk = Table(
    "batch_chunk",
    metadata,
    Column("batch_id", ForeignKey("batch.batch_id"), primary_key=True),
    Column("chunk_no", Integer, primary_key=True),
    Column("leaves", Octets, nullable=False),  # up to 1,024 × 32 octets
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
    Column("digest", Octets, nullable=False),
    Column("mac", Octets, nullable=False),
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
    Column("mac", Octets, nullable=False),
)

message = Table(
    "message",
    metadata,
    Column("message_id", KEY, primary_key=True),
    Column("batch_id", ForeignKey("batch.batch_id"), nullable=False),
    Column("line_no", Integer, nullable=False),
    Column("recipient_bidx", Octets, nullable=False),  # found by way of `recipient`
    Column("line_enc", Octets, nullable=False),  # RFC 8785 octets of the line, sealed
    Column("n_segments", Integer, nullable=False),
    Column("iccid", String(22)),  # chosen with the first lease; kept once a segment left
    Column("choice", Text),  # why this card
    UniqueConstraint("batch_id", "line_no"),
)

recipient = Table(  # a table of its own: an index that a long list fills in order, not at random
    "recipient",
    metadata,
    Column("recipient_bidx", Octets, primary_key=True),
    Column("batch_id", ForeignKey("batch.batch_id"), primary_key=True),
    Column("line_no", Integer, nullable=False),
    sqlite_with_rowid=False,
)
ITS_MESSAGE: Final = and_(
    recipient.c.batch_id == message.c.batch_id, recipient.c.line_no == message.c.line_no
)
"""What joins a recipient with its message."""

segment = Table(
    "segment",
    metadata,
    Column("segment_id", KEY, primary_key=True),
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
    Column("charged_at", UtcMs),  # steady time whose quota buckets hold it; NULL: not counted
    Column("charged_to", Text),  # on whom it is counted (store.quotas.Charge)
    Column("avoid_iccid", String(22)),  # refused it for reasons of its own: not this card again
    Column("mr", Integer),
    Column("submitting_at", UtcMs),
    Column("sent_at", UtcMs),
    Column("final_at", UtcMs),
    Column("cause", String(64)),
    Column("note", Text),
    UniqueConstraint("message_id", "seq"),
    one_of("state", SegmentState),
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
    Column("entry_id", KEY, primary_key=True),
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
    Column("span", String(8), primary_key=True),  # minute, m:hour, r:day (policy.quotas), gap
    Column("bucket", BigInteger, primary_key=True),
    Column("used", Integer, nullable=False),
)

quota_contact = Table(  # whom a scope wrote to, where distinct recipients are capped
    "quota_contact",
    metadata,
    Column("scope", String(64), primary_key=True),
    Column("span", String(8), primary_key=True),
    Column("recipient", String(64), primary_key=True),  # blind index
    Column("since", BigInteger, nullable=False),
    Column("bucket", BigInteger, nullable=False),  # where it is counted: its last
    Column("n", Integer, nullable=False),  # charges since `since` that were not given back
)

opt_out = Table(
    "opt_out",
    metadata,
    Column("number_bidx", Octets, primary_key=True),
    Column("number_enc", Octets, nullable=False),
    Column("at", UtcMs, nullable=False),
    Column("source", String(32), nullable=False),  # sms, api
    Column("keyword", String(32)),
    Column("by", String(128), nullable=False),
)
