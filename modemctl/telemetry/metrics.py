"""The table of metrics: the exporter, the docs, the dashboard and the alerts are held to it.

Labels come from closed sets (a bay, a family, a state, a code); never a phone number, ICCID or id.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """How a metric behaves. A counter only grows until the daemon restarts."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One row: a counter's name ends in `_total`; `buckets` are a histogram's upper bounds."""

    name: str
    kind: Kind
    help: str
    unit: str = ""
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


LABELS: Final = {
    "bay": "place in the bank",
    "blame": "`message`, `modem`, `sim`, `network`, `host`",
    "carrier": "network code (MCC and MNC)",
    "cause": "code of the refusal, such as `cms:38`",
    "currency": "as the settings write it (`balances.carriers.*.currency`)",
    "direction": "`incoming`, `outgoing`",
    "family": "driver family",
    "kind": "kind of the thing counted",
    "method": "HTTP method",
    "name": "department or carrier as the register writes it; empty: the fullest of its kind",
    "outcome": "how it ended",
    "phase": "what the command was waiting for",
    "policy": "id of the company's rule",
    "reason": "constant name of the reason",
    "route": "path template of the API",
    "state": "state after design's tables",
    "status": "HTTP status",
    "step": "step of the recovery ladder",
    "version": "version of the daemon",
    "webhook": "name of a webhook (`modemctl webhook list`)",
}
"""Every label with the closed set that its values come from."""

_MILLISECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_SUBMIT: Final = (0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 180.0)
_GROUP: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0)


def _gauge(name: str, text: str, *labels: str, unit: str = "") -> Metric:
    return Metric(name=f"modemctl_{name}", kind=Kind.GAUGE, help=text, labels=labels, unit=unit)


def _counter(name: str, text: str, *labels: str) -> Metric:
    return Metric(name=f"modemctl_{name}_total", kind=Kind.COUNTER, help=text, labels=labels)


def _histogram(name: str, text: str, *labels: str, unit: str, buckets: tuple[float, ...]) -> Metric:
    return Metric(
        name=f"modemctl_{name}",
        kind=Kind.HISTOGRAM,
        help=text,
        labels=labels,
        unit=unit,
        buckets=buckets,
    )


METRICS: Final = (
    # the bank, read from the actors at each scrape
    _gauge("build_info", "Always 1; tells the version that runs.", "version"),
    _gauge("modem_state", "1 for the state that a bay is in.", "bay", "family", "state"),
    _gauge("modem_paused", "1 where a person paused the bay.", "bay", "family"),
    _gauge("modem_signal_dbm", "Received signal strength.", "bay", "family", unit="dBm"),
    _gauge(
        "modem_temperature_celsius",
        "The modem's warmest sensor, where it tells.",
        "bay",
        "family",
        unit="celsius",
    ),
    _gauge("modem_registered", "1 while registered.", "bay", "family", "carrier"),
    _gauge(
        "breaker_state",
        "0 closed, 1 half open, 2 open: whether a bay's modem, card or carrier is left alone.",
        "bay",
        "kind",
    ),
    # the store, read from its counts
    _gauge("sims", "Cards in the register by state of their life cycle.", "state"),
    _gauge("sim_locks", "Cards in use by what their last start showed of the PIN lock.", "state"),
    _gauge(
        "limit_used_ratio",
        "Use of the tightest limit: of a department or carrier by name, of others of the fullest.",
        "kind",
        "name",
    ),
    _gauge("segments", "Segments by state, of batches that are not done.", "state"),
    _gauge("batches", "Batches by state.", "state"),
    _gauge("stops", "Stops that stand, by what they hold.", "kind"),
    _gauge("incidents", "Incidents that are not closed; `overdue` are also open.", "state"),
    _gauge(
        "balances",
        "Cards in bays by their last balance: `fine`, `low`, `spent` (0 or below), `unread`.",
        "state",
    ),
    _gauge(
        "self_tests",
        "Bays by what their last test found: `fine`, `faulty`; messages to themselves aside.",
        "state",
    ),
    _gauge("card_balance", "Last balance of the card in a bay.", "bay", "currency"),
    _gauge("register_faults", "Cards that differ from the register for too long.", "kind"),
    _gauge("duty_overdue", "1 where a regular duty is late (`modemctl duties`).", "kind"),
    _gauge("cases", "Violation cases that are not over; `overdue` are also counted.", "state"),
    _gauge(
        "emergencies", "Emergencies that their chain has to sign; `overdue`: also open.", "state"
    ),
    _gauge("store_writer_up", "1 while the writer's last commit went through."),
    _gauge("journal_backlog", "Requests that wait for the writer."),
    _gauge("tasks", "Tasks on the event loop: about the same as long as the bank is."),
    _gauge("vault_rows_old", "Values that a rotation of the data key has still to encrypt anew."),
    _gauge("reports_overdue", "Reports that should be filed by now, by what they are of.", "kind"),
    _gauge("audit_sequence", "Sequence number of the last audit entry of this node."),
    _gauge("nodes_lost", "Nodes on the database that were declared lost, and are not back."),
    _gauge("audit_faults", "Faults that the last verification of the audit log found."),
    # webhooks
    _gauge("webhook_up", "0 where the receiver is gone, or its row was altered.", "webhook"),
    _gauge("webhook_waiting", "Events that a webhook has still to get.", "webhook"),
    _gauge("webhook_dead_letters", "Events that were given up and can be replayed.", "webhook"),
    _gauge(
        "webhook_oldest_seconds",
        "Age of the oldest event that waits for a webhook.",
        "webhook",
        unit="seconds",
    ),
    _counter("webhook_tries", "Tries to deliver: `delivered`, `failed`.", "webhook", "outcome"),
    _counter("webhook_given_up", "Events that were given up.", "webhook"),
    _gauge("backup_time_seconds", "When the last good backup was whole.", unit="seconds"),
    _gauge("backup_bytes", "Size of the last good backup's file.", unit="bytes"),
    _gauge("backup_seconds", "How long the last good backup took.", unit="seconds"),
    _gauge("backup_failed", "1 where the last try of a backup failed."),
    # sending
    _counter("segment_transitions", "Segments that came into a state.", "state"),
    _counter("segments_refused", "Refusals that prove no send.", "cause", "blame"),
    _counter("balance_readings", "Attempts to read a card's balance.", "outcome"),
    _counter("modem_sent", "Segments that the network took.", "bay", "family"),
    _counter("modem_failures", "Failed sends by who is to blame.", "bay", "blame"),
    _counter("accounts_frozen", "Accounts that their behaviour froze.", "reason"),
    _counter(
        "policy_refusals", "Requests, cards and modems that a company rule forbade.", "policy"
    ),
    _histogram(
        "submit_seconds", "From command to outcome.", "family", unit="seconds", buckets=_SUBMIT
    ),
    # receiving
    _counter("inbox_messages", "Incoming TPDUs that were stored.", "kind"),
    _counter("calls", "Calls that were recorded.", "direction", "outcome"),
    # links and cards
    _counter("moves", "Cards and modems that turned up in another bay.", "kind"),
    _counter("pin_guard_stops", "PIN tries that the guard forbade.", "reason"),
    _counter("command_timeouts", "Commands without an answer in time.", "family", "phase"),
    _counter("realignments", "Attempts to bring a link back into step.", "family", "outcome"),
    _counter("recoveries", "Steps of the recovery ladder taken.", "family", "step"),
    _counter("hangs", "Bays in whose state nothing moved, taken to recovery.", "state"),
    _counter("recovery_skips", "Steps of the ladder that were not taken.", "step", "reason"),
    _counter("breaker_trips", "Breakers that opened, by what they stand for.", "kind"),
    _counter("unknown_urcs", "Unsolicited lines that no table knows.", "family"),
    _counter("protocol_errors", "Answers that no standard allows.", "family"),
    _counter("actor_restarts", "Actors that the supervisor started again.", "reason"),
    # the machine room
    _histogram(
        "journal_commit_seconds", "One group commit.", unit="seconds", buckets=_MILLISECONDS
    ),
    _histogram("journal_group_size", "Requests of one group commit.", unit="", buckets=_GROUP),
    _counter("storage_errors", "Transactions that failed in the database.", "kind"),
    _histogram(
        "loop_lag_seconds", "How late the event loop turns.", unit="seconds", buckets=_MILLISECONDS
    ),
    _counter("api_requests", "Requests to the API.", "method", "route", "status"),
    _histogram(
        "api_request_seconds", "Time to the answer.", "route", unit="seconds", buckets=_MILLISECONDS
    ),
)
"""All metrics of the daemon."""

_HEAD: Final = """\
# Metrics

Made from `modemctl/telemetry/metrics.py` by `./run docs`. `/metrics` serves the Prometheus text
format. Counters start at 0 with the daemon. No label ever holds a number, an ICCID or a message.

| metric | type | unit | labels | meaning |
|---|---|---|---|---|
"""


def metrics_markdown() -> str:
    """The page `docs/metrics.md`."""
    rows = [
        f"| `{metric.name}` | {metric.kind} | {metric.unit} "
        f"| {', '.join(f'`{label}`' for label in metric.labels)} | {metric.help} |\n"
        for metric in METRICS
    ]
    labels = [f"| `{name}` | {meaning} |\n" for name, meaning in LABELS.items()]
    head = "\n## Labels\n\n| label | values |\n|---|---|\n"
    return _HEAD + "".join(rows) + head + "".join(labels)
