"""What operators see of the daemon: metrics, logs and the service manager's view."""

from modemctl.telemetry.exporter import (
    BankSnapshot,
    ModemSample,
    Telemetry,
    WebhookSample,
    sample_loop_lag,
)
from modemctl.telemetry.logs import (
    WIRE_LOGGER,
    KeyValueFormatter,
    clean,
    log_context,
    setup_logging,
)
from modemctl.telemetry.metrics import LABELS, METRICS, Kind, Metric, metrics_markdown
from modemctl.telemetry.notify import ServiceManager

__all__ = [
    "LABELS",
    "METRICS",
    "WIRE_LOGGER",
    "BankSnapshot",
    "KeyValueFormatter",
    "Kind",
    "Metric",
    "ModemSample",
    "ServiceManager",
    "Telemetry",
    "WebhookSample",
    "clean",
    "log_context",
    "metrics_markdown",
    "sample_loop_lag",
    "setup_logging",
]
