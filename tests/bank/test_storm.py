"""The benchmark's load generator: what it counts is what the simulated network saw."""

import json
import subprocess
from pathlib import Path

import pytest

from simulator import persona as personas
from tests.support.simulated import BankProcess
from tests.support.tools import require_tool

_SOURCE = Path(__file__).parents[2] / "bench" / "storm.c"
_FLAGS = ("--modems", "4", "--latency", "0", "--report-delay", "0")
_HELLO = "0011000D91683109000000F10000A705E8329BFD06"


@pytest.fixture(scope="module")
def storm(tmp_path_factory: pytest.TempPathFactory) -> str:
    program = tmp_path_factory.mktemp("storm") / "storm"
    command = [require_tool("cc"), "-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-o"]
    subprocess.run([*command, str(program), str(_SOURCE)], check=True, timeout=60)
    return str(program)


def run(storm: str, *arguments: str) -> tuple[int, dict[str, float]]:
    done = subprocess.run(
        [storm, *arguments], stdout=subprocess.PIPE, text=True, timeout=60, check=False
    )
    _, result = map(json.loads, done.stdout.splitlines())
    return done.returncode, result


@pytest.mark.parametrize("transport", ["pty", "unix"])
def test_every_completed_sms_is_in_the_ledger(storm: str, transport: str, tmp_path: Path) -> None:
    with BankProcess(tmp_path / "bank", *_FLAGS, "--transport", transport) as bank:
        status, result = run(storm, "--seconds", "1", str(bank.folder))
        submits = bank.ledger(kind="submit")
    assert status == 0
    assert result["completed"] == len(submits) > 4
    assert {line["modem"] for line in submits} == {f"modem0{n}" for n in range(1, 5)}
    assert result["p50_ms"] <= result["p99_ms"] <= result["max_ms"]


def test_modems_of_every_persona_send(storm: str, tmp_path: Path) -> None:
    n_modems = len(personas.names())
    flags = ("--persona", "all", "--modems", str(n_modems), *_FLAGS[2:])
    with BankProcess(tmp_path / "bank", *flags) as bank:
        status, result = run(storm, "--seconds", "1", str(bank.folder))
        submits = bank.ledger(kind="submit")
    assert status == 0, result
    assert result["completed"] == len(submits)
    assert len({line["modem"] for line in submits}) == n_modems


def test_what_the_network_refuses_is_counted_apart(storm: str, tmp_path: Path) -> None:
    scenario = tmp_path / "refusing.toml"
    scenario.write_text('modems = 1\n[[rules]]\ndestination = "+86139"\ncms = 38\ncount = 3\n')
    flags = (*_FLAGS[2:], "--scenario", str(scenario))
    with BankProcess(tmp_path / "bank", *flags) as bank:
        status, result = run(storm, "--seconds", "0.5", "--pdu", _HELLO, str(bank.folder))
        assert result["refused"] == len(bank.ledger(kind="refused")) == 3
        assert result["completed"] == len(bank.ledger(kind="submit", text="hello"))
    assert status == 1


def test_what_a_modem_sends_itself_comes_back_unsolicited(storm: str, tmp_path: Path) -> None:
    to_itself = _HELLO.replace("31090000", "31080000")
    routing = ("--init", "AT+CNMI=2,2,0,0,0")
    flags = (*_FLAGS, "--persona", "generic")
    with BankProcess(tmp_path / "bank", *flags) as bank:
        status, result = run(
            storm, "--modems", "1", "--seconds", "0.5", *routing, "--pdu", to_itself,
            str(bank.folder),
        )  # fmt: skip
        assert status == 0
        assert result["completed"] == len(bank.ledger(kind="submit", modem="modem01")) > 1
        assert result["unsolicited"] == len(bank.ledger(kind="deliver")) == result["completed"]


def test_commands_are_answered_without_any_sms(storm: str, tmp_path: Path) -> None:
    with BankProcess(tmp_path / "bank", *_FLAGS) as bank:
        load = ("--load", "command", "--command", "AT+CSQ", "--seconds", "0.5")
        status, result = run(storm, *load, str(bank.folder))
        assert bank.ledger(kind="submit") == []
    assert status == 0
    assert result["completed"] > 4


def test_a_refused_pin_ends_the_run_with_two_tries_left(storm: str, tmp_path: Path) -> None:
    with BankProcess(tmp_path / "bank", "--modems", "1", "--pin", "1234") as bank:
        cards = bank.folder / "cards.csv"
        cards.write_text(cards.read_text().replace(",1234,", ",4321,"))
        done = subprocess.run(
            [storm, str(bank.folder)], capture_output=True, text=True, timeout=60, check=False
        )
        (state,) = bank.control.state("modem01")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "modem01" in done.stderr
    assert isinstance(state["card"], dict)
    assert state["card"]["pin_tries"] == 2
