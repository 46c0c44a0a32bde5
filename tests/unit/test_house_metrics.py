"""What the product counts is in the table of metrics, with the table's labels."""

import ast
from collections.abc import Iterator
from pathlib import Path

from modemctl.telemetry import METRICS, Kind

ROOT = Path(__file__).resolve().parents[2]
TABLE = {metric.name: metric for metric in METRICS}
COUNTING = {"count": Kind.COUNTER, "observe": Kind.HISTOGRAM}


def calls() -> Iterator[tuple[str, str, str, set[str]]]:
    """Place, method, metric and labels of every call that counts."""
    for package in ("modemctl", "api", "drivers"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                    continue
                name = node.args[0].value if node.args and _is_text(node.args[0]) else ""
                if node.func.attr in COUNTING and name.startswith("modemctl_"):
                    labels = {str(keyword.arg) for keyword in node.keywords} - {"amount"}
                    yield f"{path.name}:{node.lineno}", node.func.attr, name, labels


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def test_product_counts_what_the_table_knows() -> None:
    found = list(calls())
    assert found
    for place, method, name, labels in found:
        assert name in TABLE, f"{place}: {name}"
        assert TABLE[name].kind is COUNTING[method], f"{place}: {name}"
        assert labels == set(TABLE[name].labels), f"{place}: {name}"


def test_product_feeds_every_counter_and_histogram_of_the_table() -> None:
    fed = {name for _, _, name, _ in calls()}
    assert {name for name, metric in TABLE.items() if metric.kind in COUNTING.values()} == fed
