"""Every table, once. Phone numbers and texts stand encrypted, beside a blind index.

Times are UTC milliseconds since 1970 (`UtcMs`); states are the words of `modemctl.lifecycle`.
The migrations' sum must equal this metadata (a test proves it): a table stands in it once its
module is imported, so all of them are imported here, and everybody imports tables from here.
"""

from __future__ import annotations

from modemctl.store.tables.backups import backup, backup_act
from modemctl.store.tables.balances import balance
from modemctl.store.tables.batches import (
    ITS_MESSAGE,
    approval,
    batch,
    batch_chunk,
    batch_removed,
    confirmation,
    message,
    opt_out,
    quota,
    quota_contact,
    recipient,
    segment,
    segment_journal,
)
from modemctl.store.tables.cards import (
    admission,
    bay_tie,
    custody,
    modem,
    pin_attempt,
    pin_import,
    sim,
    wish,
)
from modemctl.store.tables.customers import customer, customer_import, customer_seal
from modemctl.store.tables.departments import department
from modemctl.store.tables.duties import card_number, duty, register_confirmation, self_test
from modemctl.store.tables.evidence import audit_entry, event, meta, node
from modemctl.store.tables.exports import export_note
from modemctl.store.tables.handovers import handover
from modemctl.store.tables.incidents import incident, incident_note
from modemctl.store.tables.incoming import call, inbox, report
from modemctl.store.tables.keys import data_key
from modemctl.store.tables.papers import paper
from modemctl.store.tables.parties import party_approval
from modemctl.store.tables.people import (
    account,
    api_key,
    approver_key,
    authorisation,
    elevation,
    qualification,
)
from modemctl.store.tables.pins import card_lock, pin_change, puk_request
from modemctl.store.tables.policies import policy_version
from modemctl.store.tables.records import erasure, legal_hold, purge_run
from modemctl.store.tables.requests import dual_request
from modemctl.store.tables.schema import UtcMs, from_ms, metadata, to_ms
from modemctl.store.tables.stops import stop, stop_batch, stop_flight, stop_seal
from modemctl.store.tables.texts import text_use
from modemctl.store.tables.violations import violation_case, violation_evidence
from modemctl.store.tables.webhooks import webhook, webhook_delivery, webhook_place

__all__ = [
    "ITS_MESSAGE",
    "UtcMs",
    "account",
    "admission",
    "api_key",
    "approval",
    "approver_key",
    "audit_entry",
    "authorisation",
    "backup",
    "backup_act",
    "balance",
    "batch",
    "batch_chunk",
    "batch_removed",
    "bay_tie",
    "call",
    "card_lock",
    "card_number",
    "confirmation",
    "custody",
    "customer",
    "customer_import",
    "customer_seal",
    "data_key",
    "department",
    "dual_request",
    "duty",
    "elevation",
    "erasure",
    "event",
    "export_note",
    "from_ms",
    "handover",
    "inbox",
    "incident",
    "incident_note",
    "legal_hold",
    "message",
    "meta",
    "metadata",
    "modem",
    "node",
    "opt_out",
    "paper",
    "party_approval",
    "pin_attempt",
    "pin_change",
    "pin_import",
    "policy_version",
    "puk_request",
    "purge_run",
    "qualification",
    "quota",
    "quota_contact",
    "recipient",
    "register_confirmation",
    "report",
    "segment",
    "segment_journal",
    "self_test",
    "sim",
    "stop",
    "stop_batch",
    "stop_flight",
    "stop_seal",
    "text_use",
    "to_ms",
    "violation_case",
    "violation_evidence",
    "webhook",
    "webhook_delivery",
    "webhook_place",
    "wish",
]
