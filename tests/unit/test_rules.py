"""The table of the company's rules: complete, and the only ids that code names."""

import re
from pathlib import Path

import api
import modemctl
from modemctl.policy.rules import RULES, RuleClass

PREFIXES = {"SIM": 18, "SMS": 12, "TEL": 13, "SEC": 14, "CC": 6}
NAMED = re.compile(r"\b((?:SIM|SMS|TEL|SEC|CC)-[0-9]{2})\b")


def test_all_63_ids_are_there_in_order():
    expected = [f"{name}-{i:02d}" for name, n in PREFIXES.items() for i in range(1, n + 1)]
    assert list(RULES) == expected
    assert len(RULES) == 63


def test_each_rule_has_two_titles_and_a_class():
    for rule_id, rule in RULES.items():
        assert rule.id == rule_id
        assert rule.classes <= set(RuleClass)
        assert rule.classes
        assert rule.title_en.isascii()
        assert re.search(r"[\u4e00-\u9fff]", rule.title_zh)
    assert len({rule.title_en for rule in RULES.values()}) == 63
    assert len({rule.title_zh for rule in RULES.values()}) == 63


def test_code_names_no_rule_that_does_not_exist():
    rooms = [Path(room.__file__ or "").parent for room in (modemctl, api)]
    sources = [path for room in rooms for path in room.rglob("*.py")]
    named = {found for path in sources for found in NAMED.findall(path.read_text("utf-8"))}
    assert "SMS-01" in named
    assert named <= RULES.keys()
