"""What Huawei, ZTE, Quectel and SIMCom models say by themselves, and what they cannot bear.

One test a quirk row of at-dialects §2.2, §3.3, §3.5–§3.8 and peers §2.1, octet by octet where the
shape of the line is the quirk.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator.faults import Fault, FaultKind
from simulator.persona import PortRole
from tests.support.one_modem import HELLO_LENGTH, OneModem, Terminal

STRANGER = "+8613900000000"


def urcs(text: str) -> list[str]:
    return [line for line in text.split("\r\n") if line]


def receive(bench: OneModem, text: str = "hi") -> str:
    bench.network.send_text(to=bench.card, origin=STRANGER, text=text)
    return bench.terminal.take()


def restart(bench: OneModem) -> list[str]:
    bench.say("ATE0")
    bench.modem.reboot()
    return urcs(bench.wait(12))


# ---------------------------------------------------------------- waking up


@pytest.mark.parametrize(
    ("model", "story"),
    [
        ("quectel", ["RDY", "+CFUN: 1", "+CPIN: READY", "+QUSIM: 1", "+QIND: SMS DONE"]),
        ("ec20", ["RDY", "+CFUN: 1", "+CPIN: READY", "+QUSIM: 1", "+QIND: PB DONE"]),
        ("m35", ["\0\0RDY", "+CFUN: 1", "+CPIN: READY", "Call Ready", "SMS Ready"]),
        ("sim7600", ["*ATREADY: 1", "+CPIN: READY", "SMS DONE", "PB DONE"]),
        ("huawei", ["^STIN:0,0,0", "^SIMST:1", "^SRVST:0", "^BOOT:27710117,0,0,0,75", "^SIMST:1"]),
        ("zte", ["+ZUSIMR:2"]),
    ],
)
def test_boot_tells_its_lines_in_their_order(tmp_path: Path, model: str, story: list[str]) -> None:
    bench = OneModem(tmp_path, model)
    assert restart(bench)[: len(story)] == story


@pytest.mark.parametrize(
    ("model", "line"),
    [("quectel", "+CPIN: SIM PIN"), ("m35", "+CPIN: SIM PIN"), ("huawei", "^SIMST:0")],
)
def test_boot_with_a_locked_card_says_so(tmp_path: Path, model: str, line: str) -> None:
    bench = OneModem(tmp_path, model, is_locked=True)
    told = restart(bench)
    assert line in told
    assert "+CPIN: READY" not in told


def test_registration_is_told_in_the_vendor_s_words(tmp_path: Path) -> None:
    for model, line in (
        ("huawei", "^SRVST:2"),
        ("huawei", "^MODE:5,4"),
        ("e3372", '^HCSQ:"LTE",51,44,146,28'),
        ("zte", '+ZDONR: "CHINA MOBILE",460,0,"CS_PS","ROAM_OFF"'),
        ("zte", '+ZPASR: "UMTS"'),
    ):
        (tmp_path / model).mkdir(exist_ok=True)
        assert line in restart(OneModem(tmp_path / model, model))


def test_network_time_comes_where_it_was_asked_for(tmp_path: Path) -> None:
    bench = OneModem(tmp_path, "simcom")
    bench.say("AT+CLTS=1")
    bench.modem.search_again()
    told = urcs(bench.wait(2))
    assert told[0].startswith("*PSUTTZ: 2026,11,22,12,0,")
    assert told[1] == "DST: 0"


def test_module_that_finds_its_rate_itself_is_dumb_and_deaf_until_at(tmp_path: Path) -> None:
    bench = OneModem(tmp_path, "simcom")
    bench.modem.reboot()
    assert bench.wait(5) == ""
    # The first octet is lost, and with it the command.
    assert bench.type(b"AT\r") == ""
    assert bench.type(b"AT\r") == "AT\r\r\nOK\r\n"


def test_module_at_a_fixed_rate_tells_its_boot(tmp_path: Path) -> None:
    bench = OneModem(tmp_path, "simcom")
    assert bench.say("AT+IPR=115200") == "OK"
    story = ["RDY", "+CFUN: 1", "+CPIN: READY", "Call Ready", "SMS Ready"]
    assert restart(bench) == story


@pytest.mark.parametrize(
    ("model", "busy", "early"),
    [
        ("simcom", "+CMS ERROR: 512", "+CMS ERROR: 517"),
        ("m35", "+CMS ERROR: 314", "+CMS ERROR: 302"),
        ("quectel", "+CMS ERROR: 314", "+CMS ERROR: 314"),
    ],
)
def test_messages_are_refused_until_their_service_is_ready(
    tmp_path: Path, model: str, busy: str, early: str
) -> None:
    bench = OneModem(tmp_path, model, is_locked=True)
    pin = bench.card.pin
    assert bench.say(f'AT+CPIN="{pin}"') == "OK"
    assert bench.say(f"AT+CMGS={HELLO_LENGTH}") == busy
    if model == "simcom":
        assert bench.say("AT+CPIN?") == "+CME ERROR: 14"
        assert bench.say("AT+CIMI") == "+CME ERROR: 14"
    ready = bench.modem.persona.sim_busy_seconds
    bench.wait(ready + 0.05)
    assert bench.lines("AT+CPIN?") == ["+CPIN: READY", "OK"]
    assert bench.say(f"AT+CMGS={HELLO_LENGTH}") == early
    bench.wait(bench.modem.persona.messaging_seconds + 2)
    assert bench.type(f"AT+CMGS={HELLO_LENGTH}\r".encode()) == "\r\n> "


def test_old_firmware_restarts_when_it_is_asked_too_early(tmp_path: Path) -> None:
    bench = OneModem(tmp_path, "e173", is_locked=True)
    assert bench.say(f'AT+CPIN="{bench.card.pin}"') == "OK"
    assert bench.lines("AT+CPIN?") == ['+CPIN:"READY"', "OK"]
    assert bench.say("AT+CPMS?") == ""
    assert not bench.modem.is_on
    assert "^SIMST:0" in urcs(bench.wait(4))


def test_mu609_restarts_when_it_is_asked_for_its_ports(tmp_path: Path) -> None:
    bench = OneModem(tmp_path, "mu609")
    assert bench.say("AT^GETPORTMODE") == ""
    assert not bench.modem.is_on
    bench.wait(5)
    assert bench.say("AT").endswith("OK")


# ---------------------------------------------------------------- the card


def test_card_events_come_where_they_were_asked_for(tmp_path: Path) -> None:
    cases = {
        "quectel": ("AT+QSIMSTAT=1", ["+QSIMSTAT: 1,0", "+CPIN: NOT READY"], "+QSIMSTAT: 1,1"),
        "simcom": ("AT+CSMINS=1", ["+CSMINS: 1,0", "+CPIN: NOT INSERTED"], "+CSMINS: 1,1"),
        "huawei": ("AT", ["^SIMST:255"], "^SIMST:1"),
        "zte": ("AT", ["+ZUSIMR:2"], "+ZUSIMR:2"),
    }
    for model, (switch, gone, back) in cases.items():
        (tmp_path / model).mkdir()
        bench = OneModem(tmp_path / model, model)
        assert bench.say(switch) == "OK"
        bench.modem.insert(None)
        assert [line for line in urcs(bench.wait(1)) if line in gone] == gone
        bench.modem.insert(bench.card)
        assert back in urcs(bench.wait(3))


def test_pulled_card_of_a_hot_swapping_lte_module(tmp_path: Path) -> None:
    bench = OneModem(tmp_path, "sim7600")
    assert bench.say("AT+UIMHOTSWAPON=1") == "OK"
    bench.modem.insert(None)
    assert urcs(bench.wait(1))[:2] == ["+CPIN: NOT INSERTED", "SIM REMOVED"]


def test_stick_has_nothing_that_tells_of_a_pulled_card(tmp_path: Path) -> None:
    bench = OneModem(tmp_path, "e1550")
    bench.say("AT^CURC=0")
    bench.modem.insert(None)
    assert bench.wait(5) == ""
    assert bench.say("AT+CPIN?") == "+CME ERROR: 10"


# ---------------------------------------------------------------- noise


def test_zte_floods_until_it_is_asked_for_its_stores(tmp_path: Path) -> None:
    bench = OneModem(tmp_path, "zte")
    bench.modem.client_came()
    assert urcs(bench.wait(20)).count("+ZUSIMR:2") == 10
    bench.say("AT+CPMS?")
    assert bench.wait(60) == ""


@pytest.mark.parametrize(
    ("model", "line"),
    [
        ("huawei", "^BOOT:27710117,0,0,0,75"),
        ("e3372", '^HCSQ:"LTE",51,44,146,28'),
        ("mu609", "^CSNR:-72,-4"),
    ],
)
def test_huawei_s_noise_ends_with_curc(tmp_path: Path, model: str, line: str) -> None:
    bench = OneModem(tmp_path, model)
    bench.modem.client_came()
    assert line in urcs(bench.wait(25))
    assert bench.say("AT^CURC=0") == "OK"
    bench.modem.search_again()
    assert bench.wait(60) == ""
    assert bench.say("AT^CURC=1") == "OK"
    assert line in urcs(bench.wait(25))


def test_curc_silences_new_messages_too_on_some_firmware(tmp_path: Path) -> None:
    bench = OneModem(tmp_path, "e173")
    bench.prepare("2,1,0,0,0")
    assert receive(bench) == '\r\n+CMTI: "SM",0\r\n'
    bench.say("AT^CURC=0")
    assert receive(bench) == ""
    assert bench.lines("AT+CPMS?")[0].startswith('+CPMS: "SM",2,')


def test_weak_supply_of_a_sim800_shows(tmp_path: Path) -> None:
    bench = OneModem(tmp_path, "simcom")
    bench.modem.client_came()
    assert bench.wait(121) == "\r\nUNDER-VOLTAGE WARNNING\r\n"


def test_signal_is_told_by_itself_where_it_was_asked_for(tmp_path: Path) -> None:
    bench = OneModem(tmp_path, "sim7600")
    bench.modem.client_came()
    assert bench.wait(40) == ""
    bench.say("AT+AUTOCSQ=1,1")
    assert "+CSQ: 20,99" in urcs(bench.wait(40))


# ---------------------------------------------------------------- ports


def test_unsolicited_lines_move_to_the_port_of_choice(tmp_path: Path) -> None:
    bench = OneModem(tmp_path, "quectel")
    other = Terminal()
    bench.modem.ports[PortRole.MODEM] = other
    bench.prepare("2,1,0,0,0")
    assert bench.lines('AT+QURCCFG="urcport"') == ['+QURCCFG: "urcport","usbat"', "OK"]
    assert receive(bench) == '\r\n+CMTI: "ME",1\r\n'
    # A client of the modem port hears nothing of it: that is the complaint of the field.
    assert other.take() == ""
    assert bench.say('AT+QURCCFG="urcport","usbmodem"') == "OK"
    assert receive(bench) == ""
    assert other.take() == '\r\n+CMTI: "ME",2\r\n'
    restart(bench)
    bench.say("ATE0")
    assert bench.lines('AT+QURCCFG="urcport"') == ['+QURCCFG: "urcport","usbmodem"', "OK"]
    assert bench.say('AT+QURCCFG="urcport","nowhere"') == "ERROR"


# ---------------------------------------------------------------- power


@pytest.mark.parametrize(
    ("model", "command", "told"),
    [
        ("quectel", "AT+QPOWD=1", ["OK", "POWERED DOWN"]),
        ("m35", "AT+QPOWD=1", ["OK", "NORMAL POWER DOWN"]),
        ("simcom", "AT+CPOWD=1", ["NORMAL POWER DOWN"]),
        ("sim7600", "AT+CPOF", ["OK"]),
    ],
)
def test_power_down_by_command(tmp_path: Path, model: str, command: str, told: list[str]) -> None:
    bench = OneModem(tmp_path, model)
    assert urcs(bench.say(command) + "\r\n" + bench.wait(1)) == told
    assert bench.say("AT") == ""
    bench.modem.boot()
    bench.wait(10)
    bench.say("AT")
    assert bench.say("AT").endswith("OK")


@pytest.mark.parametrize(
    ("model", "command"),
    [
        ("huawei", "AT^RESET"),
        ("mu609", "AT+CFUN=16"),
        ("zte", "AT+ZRST"),
        ("sim7600", "AT+CRESET"),
        ("ec20", "AT+CFUN=1,1"),
    ],
)
def test_restart_by_command(tmp_path: Path, model: str, command: str) -> None:
    bench = OneModem(tmp_path, model)
    gone: list[float] = []
    bench.modem.on_reenumerate = gone.append
    bench.say("AT+CMGF=1")
    assert bench.say(command) == "OK"
    bench.wait(10)
    assert gone == [bench.modem.persona.boot_seconds]
    # Echo is back, and what was set is gone.
    assert bench.say("AT+CMGF?").split("\r\r\n")[0] == "AT+CMGF?"
    bench.say("ATE0")
    assert bench.lines("AT+CMGF?") == ["+CMGF: 0", "OK"]


# ---------------------------------------------------------------- bad days of any model


@pytest.mark.parametrize(
    ("kind", "command", "told"),
    [
        (FaultKind.HALF_ICCID, "AT+CRSM=176,12258,0,0,10", 'FFFFFFFFFF"'),
        (FaultKind.SIM_BUSY, "AT+CIMI", "+CME ERROR: 14"),
        (FaultKind.STORAGE_FULL, "AT+CSQ", '+QIND: "smsfull","ME"'),
        (FaultKind.CNMI_LOST, "AT+CNMI?", "+CNMI: 0,0,0,0,0"),
        (FaultKind.URC_FLOOD, "AT", "^RSSI:18"),
        (FaultKind.REBOOT, "AT+CSQ", "RDY"),
        (FaultKind.URC_AT_PROMPT, f"AT+CMGS={HELLO_LENGTH}", "\r\n> \r\n"),
    ],
)
def test_bad_day(tmp_path: Path, kind: FaultKind, command: str, told: str) -> None:
    bench = OneModem(tmp_path, "quectel")
    bench.prepare("2,1,0,0,0")
    bench.say('AT+QINDCFG="smsfull",1')
    bench.modem.faults.set(Fault(kind=kind))
    said = bench.type(command.encode() + b"\r")
    if kind is FaultKind.STORAGE_FULL:
        said = receive(bench)
    assert told in said + bench.wait(5)
