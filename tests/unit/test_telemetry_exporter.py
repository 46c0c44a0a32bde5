import asyncio
import gc
import re
import sys
import threading
import time
from types import FrameType

import pytest
from prometheus_client.parser import text_string_to_metric_families

from modemctl.telemetry import (
    LABELS,
    METRICS,
    BankSnapshot,
    Kind,
    ModemSample,
    Telemetry,
    sample_loop_lag,
)


def samples(telemetry: Telemetry) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(telemetry.render().decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def test_every_metric_of_the_table_is_served_with_its_type_and_help() -> None:
    text = Telemetry(version="1.2").render().decode()
    for metric in METRICS:
        assert f"# HELP {metric.name} {metric.help}\n" in text
        assert f"# TYPE {metric.name} {metric.kind}\n" in text
    assert text.count("# TYPE ") == len(METRICS)


def test_table_keeps_its_own_rules() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    for metric in METRICS:
        assert re.fullmatch(r"modemctl_[a-z][a-z0-9_]*", metric.name)
        assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER)
        assert bool(metric.buckets) == (metric.kind is Kind.HISTOGRAM)
        assert list(metric.buckets) == sorted(set(metric.buckets))
        assert set(metric.labels) <= LABELS.keys()
        assert metric.help.endswith(".")
        if metric.unit == "seconds":
            assert metric.name.endswith("_seconds")
    used = {label for metric in METRICS for label in metric.labels}
    assert used == LABELS.keys()


def test_counters_add_up_by_label() -> None:
    telemetry = Telemetry(version="1")
    telemetry.count("modemctl_segments_refused_total", cause="cms:38", blame="network")
    telemetry.count("modemctl_segments_refused_total", 2, blame="network", cause="cms:38")
    telemetry.count("modemctl_segments_refused_total", cause="cms:21", blame="message")
    told = samples(telemetry)
    key = ("modemctl_segments_refused_total", (("blame", "network"), ("cause", "cms:38")))
    assert told[key] == 3
    assert telemetry.value("modemctl_segments_refused_total", cause="cms:21", blame="message") == 1


def test_counters_lose_nothing_between_threads() -> None:
    telemetry = Telemetry(version="1")

    def work() -> None:
        for _ in range(5_000):
            telemetry.count("modemctl_storage_errors_total", kind="busy")
            telemetry.observe("modemctl_journal_group_size", 3)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert telemetry.value("modemctl_storage_errors_total", kind="busy") == 20_000
    assert telemetry.value("modemctl_journal_group_size") == 20_000


def test_histogram_is_cumulative_and_bounds_are_inclusive() -> None:
    telemetry = Telemetry(version="1")
    for value in (1, 2, 3, 600):
        telemetry.observe("modemctl_journal_group_size", value)
    told = samples(telemetry)

    def bucket(bound: str) -> float:
        return told["modemctl_journal_group_size_bucket", (("le", bound),)]

    assert (bucket("1.0"), bucket("2.0"), bucket("4.0")) == (1, 2, 3)
    assert (bucket("512.0"), bucket("+Inf")) == (3, 4)
    assert told["modemctl_journal_group_size_sum", ()] == 606


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("modemctl_nonsense_total", {}),
        ("modemctl_loop_lag_seconds", {}),
        ("modemctl_calls_total", {"direction": "incoming"}),
        ("modemctl_calls_total", {"direction": "incoming", "result": "x"}),
        ("modemctl_calls_total", {"direction": "incoming", "outcome": "x", "more": "y"}),
    ],
)
def test_what_the_table_does_not_know_is_refused(name: str, labels: dict[str, str]) -> None:
    with pytest.raises(KeyError):
        Telemetry(version="1").count(name, **labels)


@pytest.mark.parametrize(
    "value", ["+8613800138000", "89860012345678901234", "text with spaces", "x" * 81, "", "短信"]
)
def test_numbers_and_free_text_never_become_labels(value: str) -> None:
    telemetry = Telemetry(version="1")
    telemetry.count("modemctl_storage_errors_total", kind=value)
    telemetry.register(
        lambda: BankSnapshot(
            modems=[ModemSample(bay=value or "-", family="x", state="ready", carrier=value)],
            segments={value: 1},
        )
    )
    assert telemetry.value("modemctl_storage_errors_total", kind="hidden") == 1
    if value:
        assert value not in telemetry.render().decode()


def test_real_bays_and_routes_pass_as_labels() -> None:
    telemetry = Telemetry(version="1")
    for route in ("/v1/batches/{batch_id}", "/metrics"):
        telemetry.count("modemctl_api_requests_total", method="GET", route=route, status="200")
    bay = "pci-0000:00:14.0-usb-0:1.2.4:1.2-port0"
    telemetry.count("modemctl_modem_sent_total", bay=bay, family="quectel")
    assert "hidden" not in telemetry.render().decode()


def test_series_of_one_counter_are_bounded() -> None:
    telemetry = Telemetry(version="1")
    for number in range(9_000):
        telemetry.count("modemctl_storage_errors_total", kind=f"kind-{number}")
    text = telemetry.render().decode()
    assert text.count("modemctl_storage_errors_total{") == 8_193
    assert telemetry.value("modemctl_storage_errors_total", kind="hidden") == 808


def test_snapshot_becomes_gauges_and_sources_complete_each_other() -> None:
    telemetry = Telemetry(version="1")
    modem = ModemSample(
        bay="07",
        family="huawei",
        state="ready",
        is_registered=True,
        carrier="46000",
        signal_dbm=-71,
    )
    absent = ModemSample(bay="08", family="unknown", state="absent", is_paused=True)
    telemetry.register(lambda: BankSnapshot(modems=[modem, absent]))
    telemetry.register(lambda: BankSnapshot(segments={"in_doubt": 3}, self_tests={"faulty": 2}))
    telemetry.register(lambda: BankSnapshot(is_writer_up=False))
    told = samples(telemetry)
    bay7, bay8 = (("bay", "07"), ("family", "huawei")), (("bay", "08"), ("family", "unknown"))
    assert told["modemctl_modem_state", (*bay7, ("state", "ready"))] == 1
    assert told["modemctl_modem_signal_dbm", bay7] == -71
    assert told["modemctl_modem_paused", bay8] == 1
    assert ("modemctl_modem_signal_dbm", bay8) not in told
    assert told["modemctl_segments", (("state", "in_doubt"),)] == 3
    assert told["modemctl_self_tests", (("state", "faulty"),)] == 2
    assert told["modemctl_store_writer_up", ()] == 0
    assert ("modemctl_journal_backlog", ()) not in told
    assert ("modemctl_tasks", ()) not in told


def calls_of_a_scrape(n_modems: int) -> int:
    """Calls of Python functions: as many on any machine."""
    telemetry = Telemetry(version="1")
    modems = [
        ModemSample(
            bay=f"pci-0000:00:14.0-usb-0:{n // 16}.{n % 16}:1.2",
            family="quectel",
            state="ready",
            carrier="46000",
            signal_dbm=-70,
        )
        for n in range(n_modems)
    ]
    telemetry.register(lambda: BankSnapshot(modems=modems))
    for modem in modems:
        telemetry.count("modemctl_modem_sent_total", bay=modem.bay, family=modem.family)
        telemetry.count("modemctl_modem_failures_total", bay=modem.bay, blame="network")
    n_calls = 0

    def see(frame: FrameType, event: str, argument: object) -> None:
        nonlocal n_calls
        n_calls += event == "call"

    before = sys.getprofile()
    gc.collect()
    gc.disable()  # what earlier tests left would be told its end within
    sys.setprofile(see)
    try:
        telemetry.render()
    finally:
        sys.setprofile(before)
        gc.enable()
    return n_calls


def test_a_scrape_costs_the_same_for_each_modem() -> None:
    few, some, many = (calls_of_a_scrape(n) for n in (64, 128, 512))
    each = (some - few) / 64
    assert (many - few) / 448 == pytest.approx(each, rel=0.02)  # bench/alone.py tells the time
    assert each < 200


async def test_a_blocked_loop_shows_as_lag() -> None:
    telemetry = Telemetry(version="1")
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        sampler = group.create_task(sample_loop_lag(telemetry, interval=0.01))
        while telemetry.value("modemctl_loop_lag_seconds") < 1:
            await asyncio.sleep(0)
        n_before = telemetry.value("modemctl_loop_lag_seconds")
        began = time.perf_counter()
        while time.perf_counter() < began + 0.12:
            pass
        while telemetry.value("modemctl_loop_lag_seconds") == n_before:
            await asyncio.sleep(0)
        told = samples(telemetry)
        sampler.cancel()
    assert told["modemctl_loop_lag_seconds_sum", ()] >= 0.1
    assert told["modemctl_tasks", ()] == 2
