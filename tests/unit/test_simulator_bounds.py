"""Numbers that make no sense: each is refused with its key and a cure, whoever brings it."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from simulator.clock import VirtualClock
from simulator.control import server as control
from simulator.faults import Fault, FaultKind
from simulator.reading import ScenarioError
from simulator.story import scenario
from simulator.story.scenario import Scenario
from tests.support.virtual_bank import virtual_bank

_FAULT = {"do": "set_fault", "modem": 1}
_RULE = {"do": "set_network_error"}


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (_FAULT | {"fault": "slow_answer", "seconds": float("nan")}, "seconds: nan: a finite"),
        (_FAULT | {"fault": "slow_answer", "seconds": float("inf")}, "seconds: inf: a finite"),
        (_FAULT | {"fault": "slow_answer", "seconds": 1e300}, "seconds: 1e+300: at most"),
        (_FAULT | {"fault": "port_gone", "seconds": -100}, "seconds: -100: not below 0"),
        (_FAULT | {"fault": "urc_flood", "seconds": 0}, "seconds: at least 0.001 with urc_flood"),
        (_FAULT | {"fault": "silence", "rate": float("nan")}, "rate: nan: a finite"),
        (_FAULT | {"fault": "silence", "rate": 1.5}, "rate: 1.5: not above 1"),
        (_FAULT | {"fault": "silence", "rate": -0.5}, "rate: -0.5: not below 0"),
        (_FAULT | {"fault": "silence", "skip": -1}, "skip: -1: not below 0"),
        (_FAULT | {"fault": "silence", "count": -1}, "count: -1: not below 1"),
        (_FAULT | {"fault": "cms_error", "code": -1}, "code: -1: not below 0"),
        ({"do": "set_latency", "seconds": float("nan")}, "seconds: nan: a finite"),
        ({"do": "set_latency", "report_delay": float("-inf")}, "report_delay: -inf: a finite"),
        ({"do": "set_latency", "seconds": "99999999999d"}, 'seconds: "99999999999d": at most'),
        ({"do": "set_latency", "seconds": 10**400}, "at most 1000000000 seconds"),
        (_RULE | {"rule": {"answer_delay": float("nan")}}, "rule.answer_delay: nan: a finite"),
        (_RULE | {"rule": {"rate": float("nan")}}, "rule.rate: nan: a finite"),
        (_RULE | {"rule": {"st": 256}}, "rule.st: 256: not above 255"),
        (_RULE | {"rule": {"temporary": [300]}}, "rule.temporary[1]: 300: not above 255"),
        (_RULE | {"rule": {"cms": -5}}, "rule.cms: -5: not below 0"),
        ({"do": "set_carrier_latency", "carrier": "CHINA MOBILE",
          "latency": {"sigma": float("inf")}}, "latency.sigma: inf: a finite"),
        ({"do": "traffic", "source": "senders", "per_minute": float("inf")}, "per_minute: inf"),
        ({"do": "traffic", "source": "senders", "per_minute": 1e300}, "per_minute: 1e+300: not"),
        ({"do": "inject_call", "modem": 1, "seconds": float("nan")}, "seconds: nan: a finite"),
        ({"do": "inject_call", "modem": 1, "seconds": -1}, "seconds: -1: not below 0"),
        ({"do": "inject_call", "modem": 1, "rings": -1}, "rings: -1: not below 0"),
        ({"do": "inject_call", "modem": 1, "ring_seconds": 0}, "ring_seconds: 0: not below 0.001"),
        ({"do": "inject_sms", "to": "modem01", "dcs": 256}, "dcs: 256: not above 255"),
        ({"do": "set_balance", "modem": 1, "balance": float("nan")}, "balance: nan:"),
    ],
)  # fmt: skip
def test_number_without_sense_is_refused(
    tmp_path: Path, request_: dict[str, object], said: str
) -> None:
    with virtual_bank(tmp_path) as bank:
        answer = control.answer(bank.controller, json.dumps(request_).encode())
        assert answer["ok"] is False
        assert said in str(answer["error"])


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"latency": float("inf")}, "latency: inf: a finite"),
        ({"zone": 30.0}, "zone: 30.0: not above"),
        ({"zone": float("nan")}, "zone: nan: a finite"),
        ({"time_factor": float("nan")}, "time_factor: nan: a finite"),
        ({"timeline": [{"do": "reboot", "modem": 1, "every": 1e-9}]}, "every: 1e-09: not below"),
        ({"timeline": [{"do": "reboot", "modem": 1, "at": float("inf")}]}, "at: inf: a finite"),
        ({"faults": [{"modem": 1, "fault": "urc_flood", "seconds": 0}]}, "with urc_flood"),
        ({"carriers": [{"name": "A", "numeric": "46000", "per_second": float("nan")}]},
         "per_second: nan: a finite"),
        ({"carriers": [{"name": "A", "numeric": "46000", "retry": -1}]}, "retry: -1: not below 0"),
    ],
)  # fmt: skip
def test_scenario_with_a_number_without_sense_is_refused(
    table: dict[str, object], said: str
) -> None:
    with pytest.raises(ScenarioError) as caught:
        scenario.override(Scenario(), table)
    assert said in str(caught.value)


def test_fault_made_by_hand_is_checked_too() -> None:
    with pytest.raises(ValueError, match="urc_flood"):
        Fault(kind=FaultKind.URC_FLOOD, seconds=0.0)
    with pytest.raises(ValueError, match="not below 0"):
        Fault(kind=FaultKind.PORT_GONE, seconds=-1.0)


@pytest.mark.parametrize("delay", [-100.0, float("nan"), float("-inf")])
def test_virtual_time_never_runs_back(delay: float) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    clock = VirtualClock(start)
    seen: list[datetime] = []
    clock.call_later(delay, lambda: seen.append(clock.now()))
    clock.advance(1)
    assert seen == [start]


def test_virtual_time_beyond_all_dates_never_comes() -> None:
    clock = VirtualClock(datetime(2026, 1, 1, tzinfo=UTC))
    seen: list[datetime] = []
    clock.call_later(1e300, lambda: seen.append(clock.now()))
    clock.advance(86_400.0)
    assert seen == []
