"""Same seed, same ledger; and every scenario that comes with the simulator."""

import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from simulator import ledger
from simulator.control import serving
from simulator.reading import ScenarioError
from simulator.story import scenario
from simulator.story.scenario import Scenario

KINDS = {"submit", "refused", "deliver", "report", "call", "ussd", "fault", "power", "card",
         "registration", "story", "account"}  # fmt: skip


def spawn(folder: Path, *arguments: str, hash_seed: str) -> dict[str, object]:
    """A virtual run in a process of its own, whose sets and dicts are shuffled otherwise."""
    command = [sys.executable, "-m", "simulator", "run", *arguments, "--dir", str(folder), "--json"]
    environment = os.environ | {"PYTHONHASHSEED": hash_seed}
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=120, env=environment
    )
    answer = json.loads(done.stdout)
    assert isinstance(answer, dict)
    return answer


def test_three_runs_of_ten_thousand_events_give_the_same_ledger(tmp_path: Path) -> None:
    digests = set()
    for number in ("1", "2", "3"):
        folder = tmp_path / number
        limits = ("--until", "24h", "--events", "10000")
        answer = spawn(folder, "everything", *limits, hash_seed=number)
        assert int(str(answer["lines"])) >= 10_000
        assert int(str(answer["events"])) >= 10_000
        digests.add(hashlib.sha256((folder / "ledger.jsonl").read_bytes()).hexdigest())
    assert len(digests) == 1
    lines = list(ledger.read(tmp_path / "1" / "ledger.jsonl"))
    kinds = Counter(str(line["kind"]) for line in lines)
    assert kinds.keys() == KINDS, kinds
    assert lines[0]["time"] == "2026-01-01T00:00:00.000+00:00"
    assert [line["n"] for line in lines] == list(range(1, len(lines) + 1))
    times = [str(line["time"]) for line in lines]
    assert times == sorted(times)
    struck = Counter(str(line["fault"]) for line in lines if line["kind"] == "fault")
    assert len(struck) == 4, struck


def test_another_seed_gives_another_ledger(tmp_path: Path) -> None:
    chosen = scenario.load(scenario.find("everything"))
    books = []
    for seed in (1, 2):
        folder = tmp_path / str(seed)
        serving.play(scenario.override(chosen, {"seed": seed}), folder, until=600)
        books.append((folder / "ledger.jsonl").read_bytes())
    assert books[0] != books[1]


@pytest.mark.parametrize("name", scenario.names())
def test_named_scenario_plays_and_its_story_is_not_refused(tmp_path: Path, name: str) -> None:
    chosen = scenario.load(scenario.find(name))
    assert 20 < len(chosen.about) <= 110
    assert chosen.about.endswith(".")
    until = 60.0 if chosen.modems > 100 else 1200.0
    played = serving.play(chosen, tmp_path / name, until=until)
    assert played.seconds == until
    lines = list(ledger.read(tmp_path / name / "ledger.jsonl"))
    refused = [line for line in lines if line["kind"] == "story" and line["outcome"] != "done"]
    # A modem that is drawn may just then have no card.
    assert [line for line in refused if line["modem"] != "any"] == []


def test_scenarios_tell_what_they_promise(tmp_path: Path) -> None:
    def play(name: str, until: float) -> list[dict[str, ledger.Fact]]:
        serving.play(scenario.load(scenario.find(name)), tmp_path / name, until=until)
        return list(ledger.read(tmp_path / name / "ledger.jsonl"))

    full = play("full-storage", 1800)
    deliveries = [str(line["time"]) for line in full if line["kind"] == "deliver"]
    assert len([time for time in deliveries if time < "2026-01-01T00:10"]) == 10
    assert len(deliveries) >= 30
    limited = Counter(str(line["outcome"]) for line in play("limits", 3600) if "outcome" in line)
    assert {"cms:28", "cms:10", "cms:21"} <= limited.keys()
    lost = [line for line in play("lost-coverage", 600) if line["kind"] == "deliver"]
    assert [str(line["time"]) >= "2026-01-01T00:02" for line in lost] == [True]


def test_run_refuses_a_folder_with_a_ledger(tmp_path: Path) -> None:
    serving.play(Scenario(modems=1, pin_lock=scenario.PinLock.OFF), tmp_path, until=10)
    with pytest.raises(ScenarioError, match="an earlier run's ledger; take another folder"):
        serving.play(Scenario(modems=1), tmp_path, until=10)


def test_stop_in_a_timeline_ends_the_run(tmp_path: Path) -> None:
    chosen = scenario.override(Scenario(modems=1), {"timeline": [{"at": 5, "do": "stop"}]})
    assert serving.play(chosen, tmp_path, until=100).seconds == 5.0


def test_start_is_the_moment_of_the_first_line(tmp_path: Path) -> None:
    values = {"start": "2027-03-04T05:06:07+08:00", "pin_lock": "off"}
    serving.play(scenario.override(Scenario(modems=1), values), tmp_path, until=10)
    first = next(iter(ledger.read(tmp_path / "ledger.jsonl")))
    assert str(first["time"])[:20] == "2027-03-03T21:06:07."
    assert str(first["time"])[-6:] == "+00:00"


def test_end_of_a_run_is_no_event_of_its_world(tmp_path: Path) -> None:
    serving.play(Scenario(modems=3, pin_lock=scenario.PinLock.OFF), tmp_path, until=10)
    lines = list(ledger.read(tmp_path / "ledger.jsonl"))
    assert [(line["kind"], line["stat"]) for line in lines] == [("registration", 1)] * 3


def test_events_end_a_run_at_that_line(tmp_path: Path) -> None:
    chosen = scenario.load(scenario.find("chatter"))
    played = serving.play(chosen, tmp_path, until=86400, events=500)
    assert 500 <= played.lines < 520  # what one moment brings is not torn apart
    assert played.lines == len(list(ledger.read(tmp_path / "ledger.jsonl")))
