"""gammu, unmodified, against `python -m simulator`."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.simulated import BankProcess
from tests.support.tools import require_tool

CHINESE = "你好，世界。会议改到下午三点。"


@pytest.fixture
def bank(tmp_path: Path) -> Iterator[BankProcess]:
    flags = ("--modems", "2", "--persona", "generic", "--latency", "0.1", "--pin-lock", "off")
    with BankProcess(tmp_path / "bank", *flags) as bank:
        yield bank


def gammu(bank: BankProcess, *arguments: str) -> str:
    program = require_tool("gammu")
    config = bank.folder / "gammurc"
    config.write_text(f"[gammu]\ndevice = {bank.port()}\nconnection = at\n")
    done = subprocess.run(
        [program, "-c", str(config), *arguments],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
        env={"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_identify_tells_what_the_modem_is(bank: BankProcess) -> None:
    said = gammu(bank, "identify")
    modem = bank.control.state("modem01")[0]
    facts = {
        name.strip(): value.strip()
        for name, _, value in (line.partition(":") for line in said.splitlines())
    }
    card = modem["card"]
    assert isinstance(card, dict)
    assert facts["Manufacturer"] == "Generic"
    assert facts["Model"] == "unknown (GM100)"
    assert facts["Firmware"] == "GM100 1.04"
    assert facts["IMEI"] == modem["imei"]
    assert facts["SIM IMSI"] == card["imsi"]


def test_chinese_text_reaches_the_network_whole(bank: BankProcess) -> None:
    said = gammu(bank, "sendsms", "text", "+8613900000001", "-report", "-unicode", "-text", CHINESE)
    assert "OK, message reference=0" in said
    (sent,) = bank.ledger(kind="submit")
    assert (sent["destination"], sent["text"]) == ("+8613900000001", CHINESE)
    assert sent["wants_report"] is True


@pytest.mark.long
def test_long_text_arrives_as_segments_of_one_message(bank: BankProcess) -> None:
    text = "Zebra crossing {stop}. " * 15
    gammu(bank, "sendsms", "text", "+8613900000001", "-len", "400", "-text", text.strip())
    sent = bank.ledger(kind="submit")
    assert "".join(str(line["text"]) for line in sent) == text.strip()
    parts = [line["concat"] for line in sent]
    assert [part["seq"] for part in parts if isinstance(part, dict)] == [1, 2, 3]


def test_all_messages_are_listed_and_deleted(bank: BankProcess) -> None:
    bank.control.inject_sms("modem01", CHINESE, origin="+8613912345678")
    bank.control.inject_sms("modem01", "plain {text} €", origin="10086")
    listed = gammu(bank, "getallsms")
    assert CHINESE in listed
    assert "plain {text} €" in listed
    assert '"+8613912345678"' in listed
    assert "2 SMS parts in 2 SMS sequences" in listed
    gammu(bank, "deleteallsms", "1")
    assert "0 SMS parts in 0 SMS sequences" in gammu(bank, "getallsms")
    card = bank.control.state("modem01")[0]["card"]
    assert isinstance(card, dict)
    assert card["stored"] == 0


@pytest.mark.long
def test_a_network_refusal_is_shown_with_its_cause(bank: BankProcess) -> None:
    require_tool("gammu")
    bank.control.add_rule(destination="+86139", cms=38)
    with pytest.raises(AssertionError, match="error 38"):
        gammu(bank, "sendsms", "text", "+8613900000001", "-text", "no")
    assert [line["outcome"] for line in bank.ledger(kind="refused")] == ["cms:38"]


@pytest.mark.long
def test_ussd_answer_is_shown(bank: BankProcess) -> None:
    assert "Balance 10.00 CNY" in gammu(bank, "getussd", "*100#")


def test_libgammu_reads_the_imei(bank: BankProcess) -> None:
    # The C library in a child: its own command line has no bare "getimei".
    code = (
        "import sys, gammu; m = gammu.StateMachine();"
        "m.SetConfig(0, {'Device': sys.argv[1], 'Connection': 'at'});"
        "m.Init(); print(m.GetIMEI()); m.Terminate()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, bank.port()],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == bank.control.state("modem01")[0]["imei"]


@pytest.mark.long
def test_huawei_persona_is_driven_as_a_huawei(tmp_path: Path) -> None:
    flags = ("--modems", "1", "--persona", "huawei", "--latency", "0.1", "--pin-lock", "off")
    with BankProcess(tmp_path / "bank", *flags) as bank:
        bank.control.inject_sms("modem01", "slot zero", origin="10086")
        assert "slot zero" in gammu(bank, "getallsms")
        assert "Balance 10.00 CNY" in gammu(bank, "getussd", "*100#")
