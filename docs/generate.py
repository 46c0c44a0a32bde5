"""Writes the pages that are made from the code. Usage: ./run docs"""

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from api.reference import api_markdown
from modemctl import lifecycle
from modemctl.config import reference_markdown
from modemctl.policy.rules import RULES
from modemctl.telemetry import metrics_markdown
from tests.support.rule_proofs import read_proofs

POLICY_HEAD: Final = """\
# The company's rules, and what keeps them

Printed by `./run docs` from `modemctl/policy/rules.py` and `tests/policy/`. For each rule: what the
controller does about it (enforce: refuse or act; record: keep evidence; alert; report), where, and
the tests that fail when it is taken out there. A refusal names the rule's id (`policy`).

A dash: not yet. Telephones (TEL) and the deployment's rules (CC-05, CC-06) come later, though
parts of them are there.

| id | rule | kind | kept by | missed by |
|---|---|---|---|---|
"""
HERE: Final = Path(__file__).resolve().parent


def architecture_markdown() -> str:
    """The page as it stands, its diagrams drawn anew from the state tables, in their order."""
    diagrams = iter(
        (
            lifecycle.modem_diagram(),
            lifecycle.diagram(lifecycle.SEGMENT),
            lifecycle.diagram(lifecycle.BATCH),
            lifecycle.diagram(lifecycle.CARD),
        )
    )
    page = (HERE / "architecture.md").read_text(encoding="utf-8")
    return re.sub(r"(?<=```mermaid\n).*?(?=\n```)", lambda _: next(diagrams), page, flags=re.DOTALL)


def policy_markdown() -> str:
    """Each rule of the company: what kind it is, what enforces it, which test misses it."""
    proofs = read_proofs()
    lines = []
    for rule in RULES.values():
        mine = [one for one in proofs if one.id == rule.id]
        places = ", ".join(f"`{one}`" for one in dict.fromkeys(one.file for one in mine))
        tests = "<br>".join(f"`{one}`" for one in dict.fromkeys(_short(one.test) for one in mine))
        kinds = ", ".join(sorted(rule.classes))
        title = f"{rule.title_en} · {rule.title_zh}"
        lines.append(f"| {rule.id} | {title} | {kinds} | {places or '–'} | {tests or '–'} |")
    return POLICY_HEAD + "\n".join(lines) + "\n"


def _short(test: str) -> str:
    return test.removeprefix("tests/")


PAGES: Final[Mapping[str, Callable[[], str]]] = MappingProxyType(
    {
        "api.md": api_markdown,
        "architecture.md": architecture_markdown,
        "configuration.md": reference_markdown,
        "metrics.md": metrics_markdown,
        "policy.md": policy_markdown,
    }
)


def main() -> int:
    """Returns the exit status."""
    for name, make in PAGES.items():
        (HERE / name).write_text(make(), encoding="utf-8")
        sys.stdout.write(f"docs/{name}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
