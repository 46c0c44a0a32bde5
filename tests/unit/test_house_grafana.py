"""Dashboard, alerts and runbooks are held to the table of metrics."""

import json
import re
import subprocess
from collections.abc import Iterator
from enum import StrEnum
from itertools import combinations
from pathlib import Path

import pytest
import yaml

from drivers.interface import Blame
from modemctl.lifecycle import BatchState, ModemState, SegmentState
from modemctl.policy.locks import LockState
from modemctl.telemetry import METRICS, Kind
from tests.support.tools import require_tool

ROOT = Path(__file__).resolve().parents[2]
DASHBOARD = json.loads((ROOT / "grafana/modemctl.json").read_text(encoding="utf-8"))
ALERTS_FILE = ROOT / "grafana/alerts.yml"
ALERTS = [
    rule
    for group in yaml.safe_load(ALERTS_FILE.read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
RUNBOOKS = ROOT / "docs/runbooks"
LABELS_OF_PROMETHEUS = {"instance", "job", "le"}


def served_names() -> dict[str, set[str]]:
    """Every sample's name with its labels, as a scrape shows them."""
    names: dict[str, set[str]] = {}
    for metric in METRICS:
        endings = ("_bucket", "_sum", "_count") if metric.kind is Kind.HISTOGRAM else ("",)
        names |= {metric.name + ending: set(metric.labels) for ending in endings}
    return names


def panels() -> list[dict]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def expressions() -> Iterator[tuple[str, str]]:
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for rule in ALERTS:
        yield rule["alert"], rule["expr"]


def promtool_accepts(*arguments: str | Path) -> None:
    command = [require_tool("promtool"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("where", "expression"), list(expressions()))
def test_every_name_and_label_is_in_the_table(where: str, expression: str) -> None:
    served = served_names()
    found = re.findall(r"\b(modemctl_\w+)(?:\{([^}]*)\})?", expression)
    assert found or expression.startswith("up{")
    labels: set[str] = set()
    for name, matchers in found:
        assert name in served, f"{where}: {name}"
        labels |= served[name]
        asked = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))
        assert asked <= served[name] | LABELS_OF_PROMETHEUS, f"{where}: {name}"
    for grouped in re.findall(r"\bby \(([^)]*)\)", expression):
        asked = {label.strip() for label in grouped.split(",")}
        assert asked <= labels | LABELS_OF_PROMETHEUS, where


@pytest.mark.parametrize(
    ("metric", "label", "closed_set"),
    [
        ("modemctl_modem_state", "state", ModemState),
        ("modemctl_segments", "state", SegmentState),
        ("modemctl_sim_locks", "state", LockState),
        ("modemctl_segment_transitions_total", "state", SegmentState),
        ("modemctl_batches", "state", BatchState),
        ("modemctl_modem_failures_total", "blame", Blame),
    ],
)
def test_values_asked_for_exist(metric: str, label: str, closed_set: type[StrEnum]) -> None:
    asked = {
        value
        for _, expression in expressions()
        for matchers in re.findall(rf"\b{metric}\{{([^}}]*)\}}", expression)
        for values in re.findall(rf'\b{label}(?:=~|!=|=)"([^"]*)"', matchers)
        for value in values.split("|")
    }
    assert asked <= {str(value) for value in closed_set}
    assert asked or metric in {"modemctl_batches", "modemctl_modem_failures_total"}


def test_every_metric_is_shown_somewhere() -> None:
    shown = " ".join(expression for _, expression in expressions())
    unseen = {"modemctl_build_info", "modemctl_modem_paused"}
    for metric in METRICS:
        assert (metric.name in shown) != (metric.name in unseen), metric.name


def test_counters_are_only_used_as_rates() -> None:
    counters = {metric.name for metric in METRICS if metric.kind is Kind.COUNTER}
    for where, expression in expressions():
        for name in counters:
            # These two compare with their own past: the first of its kind must not be missed.
            if where not in {"ModemctlPinGuardStopped", "ModemctlAccountFrozen"}:
                assert not re.search(rf"(?<!rate\()(?<!increase\(){name}\b", expression), where


def test_panels_stay_in_24_columns_and_do_not_overlap() -> None:
    places = [(panel["id"], panel["gridPos"]) for panel in DASHBOARD["panels"]]
    assert len({number for number, _ in places}) == len(places)
    for _, grid in places:
        assert grid["x"] >= 0
        assert grid["w"] > 0
        assert grid["h"] > 0
        assert grid["x"] + grid["w"] <= 24
    for (one, a), (other, b) in combinations(places, 2):
        is_beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        is_below = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert is_beside or is_below, (one, other)


def test_dashboard_can_be_imported_anywhere() -> None:
    assert re.fullmatch(r"[a-z0-9-]{1,40}", DASHBOARD["uid"])
    assert DASHBOARD["schemaVersion"] in {41, 42}
    assert "id" not in DASHBOARD
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    assert variables["ds"]["type"] == "datasource"
    for panel in panels():
        assert panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${ds}"}
        assert panel["targets"], panel["title"]
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references)
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${ds}"
            used = set(re.findall(r"\$(\w+)", target["expr"])) - {"__rate_interval"}
            assert used <= variables.keys()


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_alert_says_what_how_bad_and_what_to_do(rule: dict) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    notes = rule["annotations"]
    assert notes.keys() == {"summary", "description", "runbook"}
    assert notes["runbook"] == f"docs/runbooks/{rule['alert']}.md"
    page = (ROOT / notes["runbook"]).read_text(encoding="utf-8")
    assert page.startswith(f"# {rule['alert']}\n")
    for chapter in ("## What it means", "## Look", "## Do"):
        assert chapter in page
    assert f"Severity {rule['labels']['severity']};" in page
    shown = re.search(r"```promql\n(.*?)```", page, re.DOTALL)
    assert shown is not None
    assert " ".join(shown[1].split()) == " ".join(rule["expr"].split())
    held = re.search(r"when this holds(?: for (\w+))?:", page)
    assert held is not None
    assert held[1] == rule.get("for")


def test_no_runbook_without_an_alert() -> None:
    assert {page.stem for page in RUNBOOKS.glob("*.md")} == {rule["alert"] for rule in ALERTS}


def test_promtool_accepts_the_alerts() -> None:
    promtool_accepts("check", "rules", ALERTS_FILE)


def test_promtool_parses_each_panel(tmp_path: Path) -> None:
    rules = [
        {
            "record": f"panel:{number}",
            "expr": re.sub(r"\$__rate_interval", "5m", expression).replace("$", ""),
        }
        for number, (_, expression) in enumerate(expressions())
    ]
    path = tmp_path / "panels.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    promtool_accepts("check", "rules", path)


def test_alerts_fire_and_stay_silent_when_they_should(tmp_path: Path) -> None:
    cases = (ROOT / "tests/vectors/alerts_test.yml").read_text(encoding="utf-8")
    path = tmp_path / "alerts_test.yml"
    path.write_text(cases.replace("ALERTS_FILE", str(ALERTS_FILE)))
    promtool_accepts("test", "rules", path)


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    cases = yaml.safe_load((ROOT / "tests/vectors/alerts_test.yml").read_text(encoding="utf-8"))
    asked = [one for case in cases["tests"] for one in case["alert_rule_test"]]
    names = {rule["alert"] for rule in ALERTS}
    assert {one["alertname"] for one in asked if one.get("exp_alerts")} == names
    assert {one["alertname"] for one in asked if not one.get("exp_alerts")} == names
