"""The benchmarks of the store run, with tiny sizes; no time is asserted."""

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from modemctl.model import Bay
from modemctl.store import wishes
from tests.support.banks import Site

ROOT = Path(__file__).parents[2]


def run(script: str, *arguments: str) -> list[dict[str, object]]:
    done = subprocess.run(
        [sys.executable, f"bench/{script}.py", *arguments, "--json"],
        cwd=ROOT, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(found, list)
    return found


@pytest.mark.timeout(300)
def test_a_deep_store_is_filled_and_timed():
    with TemporaryDirectory(prefix="modemctl-", dir="/tmp") as room:  # a socket's path is short
        rows = run(
            "deep_store", "--segments", "300", "--groups", "1", "--repeat", "1", "--cards", "4",
            "--folder", room,
        )  # fmt: skip
        assert not list(Path(room).iterdir()), "ten million segments are not left behind"
    assert [(row["segments"], row["group"]) for row in rows] == [(0, 4), (30, 4), (300, 4)]
    assert all(row["scans"] == [] for row in rows)
    assert all(float(str(row["ms_each"])) > 0 for row in rows)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("parts", [("accepted", "metrics"), ("sms-store", "calls-store")])
def test_each_part_alone_has_its_baseline(parts):
    only = [word for part in parts for word in ("--only", part)]
    rows = run(
        "alone", "--modems", "2", "--cards", "2", "--recipients", "20", "--messages", "8",
        "--scrapes", "1", "--groups", "1", *only,
    )  # fmt: skip
    assert {row["part"] for row in rows} == set(parts)
    assert all(float(str(row["ratio"])) > 0 for row in rows)


@pytest.mark.parametrize("script", ["alone", "deep_store", "soak"])
def test_help_has_an_example(script):
    done = subprocess.run(
        [sys.executable, f"bench/{script}.py", "--help"],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert "Example: bench/" in done.stdout.replace("\n", " ")


def test_a_person_beside_the_daemon_is_heard(tmp_path):
    """What the turmoil and the soak rely on: a bay left failed would rest for hours."""
    site = Site(tmp_path / "site", "/nowhere/*")
    site.retry("modem01")
    (found,) = site.write(lambda tx: wishes.take(tx, [Bay("modem01")]))
    assert [(one.kind, one.error) for one in found] == [("retry", None)]
