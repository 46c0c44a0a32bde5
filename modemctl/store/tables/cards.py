"""Cards, their PINs, and the modems they stand in."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

from modemctl.lifecycle import CardState
from modemctl.store.tables.schema import KEY, Day, Octets, UtcMs, metadata, one_of

sim = Table(
    "sim",
    metadata,
    Column("iccid", String(22), primary_key=True),
    Column("number_enc", Octets),
    Column("number_bidx", Octets, index=True),
    Column("holder", String(128)),
    Column("identity_kind", String(24)),  # of the holder's document
    Column("identity_enc", Octets),
    Column("identity_bidx", Octets, index=True),
    Column("department", String(128)),
    Column("user_name", String(128)),  # who has it in use, where that is not the holder
    Column("purpose", String(200)),
    Column("is_pool", Boolean, nullable=False, server_default=false()),
    Column("ownership", String(16), nullable=False),  # owned, leased, personal
    Column("lessor", String(128)),
    Column("contract", String(128)),
    Column("lease_from", Day),
    Column("lease_until", Day),
    Column("carrier", String(64)),
    Column("card_group", String(64)),
    Column("timezone", String(64)),  # IANA; NULL: the site's
    Column("zones_left", String(256)),  # those that bind further (policy.card_zones)
    Column("state", String(24), nullable=False),
    Column("is_reserved", Boolean, nullable=False, server_default=false()),
    Column("verified_at", UtcMs),
    Column("verified_by", String(128)),
    Column("pin_enc", Octets),
    Column("pin_pending_enc", Octets),
    Column("pin_import_id", String(36)),
    Column("pin_state", String(24), nullable=False, server_default="unproved"),
    Column("is_paused", Boolean, nullable=False, server_default=false()),
    Column("requested_by", String(36)),  # accounts, of the request that stands
    Column("reviewed_by", String(36)),
    Column("approved_by", String(36)),
    Column("suspended_until", UtcMs),
    Column("carrier_reference", String(128)),
    Column("carrier_told_at", UtcMs),
    Column("replaces", String(22)),
    Column("replaced_by", String(22)),
    Column("revision", Integer, nullable=False, server_default=text("0")),  # counts changes
    Column("created_at", UtcMs, nullable=False),
    Column("updated_at", UtcMs, nullable=False),
    Column("mac", Octets, nullable=False),
    one_of("state", CardState),
)

custody = Table(
    "custody",
    metadata,
    Column("custody_id", KEY, primary_key=True),
    Column("iccid", String(22), nullable=False),
    Column("seq", Integer, nullable=False),  # counts the steps of a card
    Column("at", UtcMs, nullable=False),
    Column("step", String(24), nullable=False),
    Column("account_id", String(36), nullable=False),
    Column("by", String(128), nullable=False),
    Column("state", String(24), nullable=False),  # after the step, as holder and department
    Column("holder", String(128)),
    Column("user_name", String(128)),
    Column("department", String(128)),
    Column("reason", Text, nullable=False),
    Column("reference", String(128)),
    Column("other_iccid", String(22)),
    Column("mac", Octets, nullable=False),
    UniqueConstraint("iccid", "seq"),
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
    Column("attempt_id", KEY, primary_key=True),
    Column("iccid", String(22), nullable=False, index=True),
    Column("import_id", String(36), index=True),
    Column("fingerprint", Octets, nullable=False),
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
    Column("temperature_c", Integer),
    Column("breakers", String(32), nullable=False, server_default=""),  # those not closed
    Column("updated_at", UtcMs, nullable=False),
)

bay_tie = Table(
    "bay_tie",
    metadata,
    Column("bay", String(128), primary_key=True),
    Column("iccid", String(22), nullable=False, unique=True),  # a card belongs into one bay
    Column("is_firm", Boolean, nullable=False),  # said by a person, not learned
    Column("tied_by", String(128), nullable=False),  # account or node
    Column("tied_at", UtcMs, nullable=False),
    Column("mac", Octets, nullable=False),
)

admission = Table(
    "admission",
    metadata,
    Column("imei", String(16), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("requested_by", String(36)),
    Column("requested_at", UtcMs),
    Column("decided_by", String(36)),  # who approved, or expelled
    Column("decided_at", UtcMs),
    Column("reason", Text, nullable=False),
    Column("bay", String(128)),  # where it was seen last
    Column("mac", Octets, nullable=False),
)

wish = Table(
    "wish",
    metadata,
    Column("wish_id", String(36), primary_key=True),
    Column("kind", String(16), nullable=False),  # at, reset, rescan, release, retry
    Column("bay", String(128), nullable=False, index=True),
    Column("body_enc", Octets),
    Column("requested_by", String(36), nullable=False),
    Column("at", UtcMs, nullable=False),
    Column("taken_at", UtcMs),
    Column("done_at", UtcMs),
    Column("result_enc", Octets),
    Column("error", Text),
)
