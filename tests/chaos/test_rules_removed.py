"""A rule that is taken out is missed: the change is made in a copy of the tree, a test fails.

A few at random in `./run check` (`MODEMCTL_SEED` chooses others), all with `MODEMCTL_LONG=1`.
"""

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.rule_proofs import ROOT, Proof, read_proofs

LONG = os.environ.get("MODEMCTL_LONG") == "1"
SEED = int(os.environ.get("MODEMCTL_SEED", "20261122"))
SAMPLED = 3
LIMIT_S = 110
TREE = ("modemctl", "drivers", "api", "simulator", "tests", "docs", "grafana", "systemd")
FILES = ("pyproject.toml", "README.md", "README.zh-CN.md", "CHANGELOG.md", "run")


def chosen() -> list[Proof]:
    """All proofs, or as many as the check has time for."""
    proofs = list(read_proofs())
    if LONG or len(proofs) <= SAMPLED:
        return proofs
    return random.Random(SEED).sample(proofs, SAMPLED)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the sources, to be changed."""
    copy = tmp_path_factory.mktemp("tree")
    for name in TREE:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, copy / name)
    yield copy
    shutil.rmtree(copy)


def verdict(tree: Path, test: str) -> subprocess.CompletedProcess[str]:
    """What pytest says of one test of the copy."""
    path = f"{tree}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    return subprocess.run(
        [sys.executable, "-B", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=line", test],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


@pytest.mark.parametrize("proof", chosen(), ids=lambda proof: proof.label)
def test_a_test_misses_the_rule(tree: Path, proof: Proof) -> None:
    print(f"MODEMCTL_SEED={SEED}")
    place = tree / proof.file
    text = place.read_text(encoding="utf-8")
    place.write_text(text.replace(proof.find, proof.replace), encoding="utf-8")
    try:
        done = verdict(tree, proof.test)
    finally:
        place.write_text(text, encoding="utf-8")
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout + done.stderr
    assert " error" not in done.stdout.splitlines()[-1], done.stdout


def test_unchanged_they_pass(tree: Path) -> None:
    proofs = chosen()
    assert proofs
    done = verdict(tree, proofs[0].test)
    assert done.returncode == pytest.ExitCode.OK, done.stdout + done.stderr
