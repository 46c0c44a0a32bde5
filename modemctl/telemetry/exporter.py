"""What the daemon counts, and how a scrape sees it."""

import asyncio
import bisect
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.registry import Collector

from modemctl.telemetry.metrics import METRICS, Kind, Metric

_BY_NAME: Final[Mapping[str, Metric]] = {metric.name: metric for metric in METRICS}

_LABEL: Final = re.compile(r"(?!.*\d{7})[\w:./+{}-]{1,80}", re.ASCII)
"""A label's value; seven digits in a row could be a phone number, an ICCID or an id."""

_HIDDEN: Final = "hidden"

_BREAKER_VALUES: Final = {"closed": 0, "half_open": 1, "open": 2}

_Family = GaugeMetricFamily | CounterMetricFamily | HistogramMetricFamily

_N_LIMITS: Final = 200
"""Most departments and carriers whose use is told."""

_N_SERIES: Final = 8_192
"""Most series of one counter or histogram; 512 bays with 5 blames need 2,560."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModemSample:
    """One bay at the moment of a scrape; `carrier` is MCC and MNC, None while unregistered."""

    bay: str
    family: str
    state: str
    is_paused: bool = False
    is_registered: bool = False
    carrier: str | None = None
    signal_dbm: int | None = None
    temperature_c: int | None = None
    breakers: Mapping[str, str] = field(default_factory=dict)
    """What a breaker stands for → its state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSample:
    """How far one webhook is; `oldest` is the age (s) of the oldest event that waits for it.

    `is_well` False: it is disabled, or its row was altered.
    """

    is_well: bool
    n_waiting: int = 0
    n_dead: int = 0
    oldest: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BankSnapshot:
    """What one source knows; what it does not know it leaves empty."""

    modems: Sequence[ModemSample] = ()
    sims: Mapping[str, int] = field(default_factory=dict)
    sim_locks: Mapping[str, int] = field(default_factory=dict)
    stops: Mapping[str, int] = field(default_factory=dict)
    incidents: Mapping[str, int] = field(default_factory=dict)
    cases: Mapping[str, int] = field(default_factory=dict)
    emergencies: Mapping[str, int] = field(default_factory=dict)
    limits: Mapping[tuple[str, str], float] = field(default_factory=dict)
    """Kind and name of whom limits fall on → used share of the tightest."""
    register_faults: Mapping[str, int] = field(default_factory=dict)
    """Kind of difference → cards."""
    balances: Mapping[str, int] = field(default_factory=dict)
    self_tests: Mapping[str, int] = field(default_factory=dict)
    card_balances: Mapping[tuple[str, str], float] = field(default_factory=dict)
    """Bay and currency → the last balance of its card."""
    duties: Mapping[str, bool] = field(default_factory=dict)
    """Regular duty → whether it is late."""
    segments: Mapping[str, int] = field(default_factory=dict)
    batches: Mapping[str, int] = field(default_factory=dict)
    is_writer_up: bool | None = None
    n_journal_backlog: int | None = None
    n_tasks: int | None = None
    audit_sequence: int | None = None
    vault_rows_old: int | None = None
    overdue: Mapping[str, int] = field(default_factory=dict)
    """Kind of report → how many are overdue."""
    audit_faults: int | None = None
    nodes_lost: int | None = None
    webhooks: Mapping[str, WebhookSample] = field(default_factory=dict)
    """Name of a webhook → how far it is."""
    backup_made_at: float | None = None
    """Seconds since 1970."""
    backup_octets: int | None = None
    backup_seconds: float | None = None
    backup_failed: bool | None = None


@dataclass(slots=True, kw_only=True)
class _Buckets:
    counts: list[int]
    total: float = 0.0


class Telemetry:
    """The daemon's counters and the sources that are read at each scrape. Thread-safe."""

    def __init__(self, *, version: str) -> None:
        self._version = version
        self._sources: list[Callable[[], BankSnapshot]] = []
        self._lock = threading.Lock()
        self._counts: dict[str, dict[tuple[str, ...], float]] = {
            metric.name: {} if metric.labels else {(): 0.0}
            for metric in METRICS
            if metric.kind is Kind.COUNTER
        }
        self._observed: dict[str, dict[tuple[str, ...], _Buckets]] = {
            metric.name: {} if metric.labels else {(): _empty(metric)}
            for metric in METRICS
            if metric.kind is Kind.HISTOGRAM
        }
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Exporter(self._families))

    def register(self, snapshot: Callable[[], BankSnapshot]) -> None:
        """Adds a source; each scrape calls it, from any thread: it may neither wait nor fail."""
        self._sources.append(snapshot)

    def count(self, name: str, amount: float = 1, **labels: str) -> None:
        """Adds to a counter.

        Raises:
            KeyError: The table has no such counter, or it has other labels.
        """
        series = self._counts[name]
        key = _label_values(_BY_NAME[name], labels)
        with self._lock:
            if key not in series and len(series) >= _N_SERIES:
                key = tuple(_HIDDEN for _ in key)
            series[key] = series.get(key, 0.0) + amount

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Adds one observation to a histogram, in the metric's unit.

        Raises:
            KeyError: The table has no such histogram, or it has other labels.
        """
        metric = _BY_NAME[name]
        series = self._observed[name]
        key = _label_values(metric, labels)
        with self._lock:
            if key not in series:
                if len(series) >= _N_SERIES:
                    key = tuple(_HIDDEN for _ in key)
                series.setdefault(key, _empty(metric))
            buckets = series[key]
            buckets.counts[bisect.bisect_left(metric.buckets, value)] += 1
            buckets.total += value

    def value(self, name: str, **labels: str) -> float:
        """A counter's present value, or the number of a histogram's observations."""
        key = _label_values(_BY_NAME[name], labels)
        with self._lock:
            if name in self._counts:
                return self._counts[name].get(key, 0.0)
            observed = self._observed[name].get(key)
            return float(sum(observed.counts)) if observed else 0.0

    def render(self) -> bytes:
        """Everything in the Prometheus text format."""
        return generate_latest(self._registry)

    def _families(self) -> Iterator[_Family]:
        gauges = {metric.name: _gauge(metric) for metric in METRICS if metric.kind is Kind.GAUGE}
        gauges["modemctl_build_info"].add_metric([self._version], 1)
        for source in self._sources:
            _add_snapshot(gauges, source())
        yield from gauges.values()
        with self._lock:
            yield from [_counter(name, series) for name, series in self._counts.items()]
            yield from [_histogram(name, series) for name, series in self._observed.items()]


class _Exporter(Collector):
    def __init__(self, families: Callable[[], Iterator[_Family]]) -> None:
        self._collect = families

    def collect(self) -> Iterator[_Family]:
        return self._collect()


def _empty(metric: Metric) -> _Buckets:
    return _Buckets(counts=[0] * (len(metric.buckets) + 1))


def _label_values(metric: Metric, labels: Mapping[str, str]) -> tuple[str, ...]:
    if len(labels) != len(metric.labels):
        raise KeyError(f"{metric.name} takes the labels {', '.join(metric.labels) or 'none'}")
    return tuple(_safe(labels[name]) for name in metric.labels)


def _safe(value: str) -> str:
    return value if _LABEL.fullmatch(value) else _HIDDEN


def _gauge(metric: Metric) -> GaugeMetricFamily:
    return GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)


def _counter(name: str, series: Mapping[tuple[str, ...], float]) -> CounterMetricFamily:
    metric = _BY_NAME[name]
    family = CounterMetricFamily(name, metric.help, labels=metric.labels)
    for key, value in series.items():
        family.add_metric(key, value)
    return family


def _histogram(name: str, series: Mapping[tuple[str, ...], _Buckets]) -> HistogramMetricFamily:
    metric = _BY_NAME[name]
    family = HistogramMetricFamily(name, metric.help, labels=metric.labels)
    bounds = [*(repr(bound) for bound in metric.buckets), "+Inf"]
    for key, buckets in series.items():
        so_far = 0
        cumulated: list[tuple[str, float]] = []
        for bound, count in zip(bounds, buckets.counts, strict=True):
            so_far += count
            cumulated.append((bound, so_far))
        family.add_metric(key, cumulated, sum_value=buckets.total)
    return family


_BY_STATE: Final = (
    "sims", "sim_locks", "stops", "incidents", "cases", "emergencies", "segments", "batches",
    "balances", "self_tests",
)  # fmt: skip


def _add_snapshot(gauges: Mapping[str, GaugeMetricFamily], snapshot: BankSnapshot) -> None:
    for modem in snapshot.modems:
        _add_modem(gauges, modem)
    for name in _BY_STATE:
        counts: Mapping[str, int] = getattr(snapshot, name)
        for state, number in counts.items():
            gauges[f"modemctl_{name}"].add_metric([_safe(state)], number)
    for kind, number in snapshot.overdue.items():
        gauges["modemctl_reports_overdue"].add_metric([_safe(kind)], number)
    _add_limits(gauges["modemctl_limit_used_ratio"], snapshot.limits)
    for (bay, currency), amount in snapshot.card_balances.items():
        gauges["modemctl_card_balance"].add_metric([_safe(bay), _safe(currency)], amount)
    for kind, number in snapshot.register_faults.items():
        gauges["modemctl_register_faults"].add_metric([_safe(kind)], number)
    for duty, is_late in snapshot.duties.items():
        gauges["modemctl_duty_overdue"].add_metric([_safe(duty)], is_late)
    _add_webhooks(gauges, snapshot.webhooks)
    numbers: tuple[tuple[str, float | None], ...] = (
        ("store_writer_up", snapshot.is_writer_up),
        ("journal_backlog", snapshot.n_journal_backlog),
        ("tasks", snapshot.n_tasks),
        ("audit_sequence", snapshot.audit_sequence),
        ("vault_rows_old", snapshot.vault_rows_old),
        ("audit_faults", snapshot.audit_faults),
        ("nodes_lost", snapshot.nodes_lost),
        ("backup_time_seconds", snapshot.backup_made_at),
        ("backup_bytes", snapshot.backup_octets),
        ("backup_seconds", snapshot.backup_seconds),
        ("backup_failed", snapshot.backup_failed),
    )
    for name, value in numbers:
        if value is not None:
            gauges[f"modemctl_{name}"].add_metric([], value)


def _add_webhooks(
    gauges: Mapping[str, GaugeMetricFamily], webhooks: Mapping[str, WebhookSample]
) -> None:
    for name, one in webhooks.items():
        labels = [_safe(name)]
        gauges["modemctl_webhook_up"].add_metric(labels, one.is_well)
        gauges["modemctl_webhook_waiting"].add_metric(labels, one.n_waiting)
        gauges["modemctl_webhook_dead_letters"].add_metric(labels, one.n_dead)
        gauges["modemctl_webhook_oldest_seconds"].add_metric(labels, one.oldest)


def _add_limits(gauge: GaugeMetricFamily, limits: Mapping[tuple[str, str], float]) -> None:
    """Names that may not be shown fall together: the fullest of them counts."""
    shown: dict[tuple[str, str], float] = {}
    for (kind, name), ratio in limits.items():
        key = (_safe(kind), name and _safe(name))
        shown[key] = max(ratio, shown.get(key, 0.0))
    for labels, ratio in sorted(shown.items())[:_N_LIMITS]:
        gauge.add_metric(list(labels), ratio)


def _add_modem(gauges: Mapping[str, GaugeMetricFamily], modem: ModemSample) -> None:
    bay, family = _safe(modem.bay), _safe(modem.family)
    gauges["modemctl_modem_state"].add_metric([bay, family, _safe(modem.state)], 1)
    gauges["modemctl_modem_paused"].add_metric([bay, family], modem.is_paused)
    carrier = _safe(modem.carrier) if modem.carrier else "none"
    gauges["modemctl_modem_registered"].add_metric([bay, family, carrier], modem.is_registered)
    if modem.signal_dbm is not None:
        gauges["modemctl_modem_signal_dbm"].add_metric([bay, family], modem.signal_dbm)
    if modem.temperature_c is not None:
        gauges["modemctl_modem_temperature_celsius"].add_metric([bay, family], modem.temperature_c)
    for kind, state in modem.breakers.items():
        value = _BREAKER_VALUES.get(state, 0)
        gauges["modemctl_breaker_state"].add_metric([bay, _safe(kind)], value)


async def sample_loop_lag(telemetry: Telemetry, *, interval: float = 0.25) -> None:
    """Measures until cancelled how late the event loop wakes us, every `interval` seconds.

    From then on a scrape also tells how many tasks the loop has.
    """
    loop = asyncio.get_running_loop()
    telemetry.register(lambda: BankSnapshot(n_tasks=len(asyncio.all_tasks(loop))))
    while True:
        due = loop.time() + interval
        await asyncio.sleep(interval)
        telemetry.observe("modemctl_loop_lag_seconds", max(0.0, loop.time() - due))
