"""Each rule of the company has a place that enforces it and a test that notices its absence."""

import ast
from collections.abc import Iterator

import pytest

from modemctl.policy.rules import RULES
from tests.support.rule_proofs import LATER, ROOT, Proof, read_proofs

PROOFS = read_proofs()


def names_in(file: str) -> Iterator[str]:
    """Names of the tests of a file."""
    for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name


@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: proof.label)
def test_the_entry_names_a_rule_a_place_and_a_test(proof: Proof) -> None:
    assert proof.id in RULES
    text = (ROOT / proof.file).read_text(encoding="utf-8")
    assert text.count(proof.find) == 1, "the text to find occurs exactly once"
    changed = text.replace(proof.find, proof.replace)
    assert ast.dump(ast.parse(changed)) != ast.dump(ast.parse(text)), "the change is a change"
    file, _, name = proof.test.partition("::")
    assert name.partition("[")[0] in names_in(file)


def test_no_rule_but_those_that_come_later_is_without_a_proof() -> None:
    due = {rule for rule in RULES if not rule.startswith("TEL-")} - LATER
    assert due - {proof.id for proof in PROOFS} == set()
