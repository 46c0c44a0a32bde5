"""What a person and a program see of a conformance run, and its exit status."""

import csv
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulator import persona
from simulator.faults import Fault, FaultKind
from tests.support.simulated import BankProcess, wait_until

PIN = "1234"


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BankProcess]:
    flags = ("--modems", "2", "--persona", "huawei,quectel", "--pin", PIN, "--pin-lock", "off")
    folder = tmp_path_factory.mktemp("report") / "bank"
    with BankProcess(folder, *flags, "--latency", "0") as bank:
        wait_until(
            lambda: all(modem["registration"] == 1 for modem in bank.control.state()),
            what="registered",
        )
        yield bank


def conformance(port: str, *flags: str, columns: int = 80) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "simulator", "conformance", port, *flags],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "COLUMNS": str(columns)},
    )


QUICK = ("--patience", "0.3", "--listen", "0")


def secrets(bank: BankProcess, modem: str) -> list[str]:
    with (bank.folder / "cards.csv").open() as lines:
        card = next(row for row in csv.DictReader(lines) if row["modem"] == modem)
    swapped = "".join(b + a for a, b in zip(card["iccid"][::2], card["iccid"][1::2], strict=True))
    imei = next(str(state["imei"]) for state in bank.control.state() if state["modem"] == modem)
    return [card["iccid"], swapped, card["imsi"], imei, card["number"].lstrip("+")]


@pytest.fixture(scope="module")
def table(bank: BankProcess, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    drafts = tmp_path_factory.mktemp("drafts") / "new"
    done = conformance(bank.port("modem01"), *QUICK, "--write", "--draft", str(drafts))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout, drafts


def test_the_table_fits_a_terminal_of_80_columns(table: tuple[str, Path]) -> None:
    lines = table[0].splitlines()
    own = [line for line in lines if "/" not in line[:1] and not line.startswith("written:")]
    assert [line for line in own if len(line.rstrip()) > 80] == []


def test_the_table_says_what_is_odd_why_it_matters_and_shows_the_octets(
    table: tuple[str, Path],
) -> None:
    text = table[0]
    assert "Line discipline" in text
    assert " odd       an unknown command              COMMAND NOT SUPPORT" in text
    assert "each probe costs a" in text
    assert "(V.250 §5.7.1)" in text
    assert "AT+NOSUCHCOMMAND → ␍␊COMMAND NOT SUPPORT␍␊" in text
    assert "offers but refuses mode 2, 3" in text
    assert "All settings are as they were." in text
    assert text.splitlines()[-3].startswith("Usable")


def test_flags_that_were_not_given_are_named(table: tuple[str, Path]) -> None:
    words = " ".join(table[0].split())
    assert "--send-to" in words
    assert "--pin" in words
    assert "--write (" not in words


def test_secrets_are_masked_in_table_and_drafts(bank: BankProcess, table: tuple[str, Path]) -> None:
    text, drafts = table
    written = [path.read_text() for path in sorted(drafts.iterdir())]
    assert len(written) == 2
    for secret in secrets(bank, "modem01"):
        for shown in (text, *written):
            assert secret not in shown
    assert "46000**********" in text


def test_the_drafts_are_a_persona_and_a_table_of_capabilities(table: tuple[str, Path]) -> None:
    drafts = table[1]
    drafted = persona.parse((drafts / "persona.toml").read_text())
    assert (drafted.vendor, drafted.first_slot, drafted.creg_is_quoted) == ("huawei", 0, False)
    seen = tomllib.loads((drafts / "capabilities.toml").read_text())
    assert seen["messages"]["routing"] == "1,1,0,2,0"
    assert seen["messages"]["first_slot"] == 0
    assert seen["card"]["pin_counter_command"] == "^CPIN?"
    assert seen["identity"]["family"] == "huawei"
    assert seen["checks"]["line.at"] == "can"


def test_json_holds_every_check_with_its_clause_and_evidence(bank: BankProcess) -> None:
    done = conformance(bank.port("modem02"), "--json", *QUICK)
    found = json.loads(done.stdout)
    assert (found["outcome"], found["exit_status"], done.returncode) == ("usable", 0, 0)
    assert (found["family"], found["model"]) == ("quectel", "EC25")
    checks = {check["name"]: check for check in found["checks"]}
    assert len(checks) == len(found["checks"]) > 60
    assert all(check["clause"] and check["suffers"] for check in checks.values())
    prompt = checks["sms.prompt"]["evidence"]
    assert {"typed": "AT+CMGS=20", "got": "␍␊> "}.items() <= prompt[-2].items()
    assert found["timings"]["AT+CSQ"]["n"] >= 5
    assert found["timings"]["AT+CSQ"]["min"] <= found["timings"]["AT+CSQ"]["max"]
    for secret in secrets(bank, "modem02"):
        assert secret not in done.stdout


def test_secrets_are_shown_to_whom_asks_for_them(bank: BankProcess) -> None:
    done = conformance(bank.port("modem02"), "--json", "--show-secrets", *QUICK)
    iccid, swapped, imsi, imei, _ = secrets(bank, "modem02")
    for secret in (iccid, swapped, imsi, imei):
        assert secret in done.stdout


def test_a_locked_card_lacks_the_essential_and_a_pin_stays_off_the_screen(tmp_path: Path) -> None:
    flags = ("--modems", "1", "--persona", "generic", "--pin", PIN, "--latency", "0")
    with BankProcess(tmp_path / "bank", *flags) as bank:
        done = conformance(bank.port(), *QUICK)
        assert done.returncode == 1
        assert "Essential, and missing or not shown:" in done.stdout
        assert "it asks for its PIN" in " ".join(done.stdout.split())
        opened = conformance(bank.port(), *QUICK, "--pin", PIN, "-v")
        assert opened.returncode == 0, opened.stdout
        assert PIN not in opened.stdout.replace(bank.port(), "")
        assert 'AT+CPIN="****"' in opened.stdout


def test_a_modem_that_falls_silent_is_told_with_status_2(tmp_path: Path) -> None:
    flags = ("--modems", "1", "--persona", "generic", "--pin-lock", "off", "--latency", "0")
    with BankProcess(tmp_path / "bank", *flags) as bank:
        bank.control.set_fault(
            "modem01", Fault(kind=FaultKind.SILENCE, count=None, on="+CGMM", skip=0)
        )
        bank.control.set_fault("modem01", Fault(kind=FaultKind.PORT_GONE, on="+CGMR", seconds=60))
        done = conformance(bank.port(), "--patience", "0.1", "--listen", "0")
        assert done.returncode == 2
        assert "Broken off" in done.stdout
        assert "vanished" in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("port", "words"),
    [
        ("/dev/no-such-port", ["there is no such port"]),
        ("tcp://127.0.0.1:1", ["refused", "running there?"]),
    ],
)
def test_what_is_no_port_is_told_with_a_cure_and_status_2(port: str, words: list[str]) -> None:
    done = conformance(port)
    assert done.returncode == 2
    for word in words:
        assert word in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 2


@pytest.mark.parametrize(
    "flags",
    [
        ("--send-to", "13800000001"),
        ("--send-to", "+86abc"),
        ("--pin", "12"),
        ("--pin", "12345678901"),
    ],
)
def test_a_number_or_pin_of_the_wrong_form_is_refused_before_the_port_is_opened(
    flags: tuple[str, str],
) -> None:
    done = conformance("/dev/no-such-port", *flags)
    assert done.returncode == 2
    assert "Invalid value" in done.stderr
    assert "no such port" not in done.stderr
