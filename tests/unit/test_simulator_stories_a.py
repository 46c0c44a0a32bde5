"""What Huawei, ZTE, Quectel and SIMCom models say by themselves, and what they cannot bear.

One test a quirk row of at-dialects §2.2, §3.3, §3.5–§3.8 and peers §2.1, octet by octet where the
shape of the line is the quirk.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator.faults import Fault, FaultKind
from simulator.network import Rule
from simulator.persona import PortRole
from simulator.phone import CallOutcome, CallPlan
from tests.support.one_modem import HELLO, HELLO_LENGTH, OneModem, Terminal

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
        ("simcom", "+CMS ERROR: 314", "+CMS ERROR: 517"),
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
    assert bench.lines("AT+CPIN?") == ["+CPIN:READY", "OK"]
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


# ---------------------------------------------------------------- messages


@pytest.mark.parametrize(
    ("model", "head"),
    [("quectel", "+CMT: ,"), ("ec20", '+CMT: "",'), ("eg06", "+CMT: ")],
)
def test_direct_message_s_head(tmp_path: Path, model: str, head: str) -> None:
    bench = OneModem(tmp_path, model)
    bench.prepare("2,2,0,0,0")
    line, pdu = urcs(receive(bench))
    assert line == f"{head}{len(pdu) // 2 - 9}"


def test_direct_report_s_head(tmp_path: Path) -> None:
    for model, head in (("zte", "+CDS: ,"), ("huawei", "+CDS: ")):
        (tmp_path / model).mkdir()
        bench = OneModem(tmp_path / model, model)
        bench.say("AT+CPMS?")
        bench.prepare("1,1,0,1,0")
        bench.submit()
        line, pdu = urcs(bench.wait(5))[-2:]
        assert line == f"{head}{len(pdu) // 2 - 9}"


def test_ec25_announces_a_report_where_it_is_not(tmp_path: Path) -> None:
    bench = OneModem(tmp_path, "quectel")
    bench.prepare("2,1,0,2,0")
    bench.submit()
    assert bench.wait(5) == '\r\n+CDSI: "SM",0\r\n'
    bench.say('AT+CPMS="SM"')
    assert bench.say("AT+CMGR=0") == "+CMS ERROR: 321"
    bench.say('AT+CPMS="SR"')
    assert bench.lines("AT+CMGR=1")[0].startswith("+CMGR: 0,,")


@pytest.mark.parametrize(
    ("model", "switch", "line"),
    [
        ("huawei", "AT", '^SMMEMFULL: "SM"'),
        ("zte", 'AT+CPMS="SM","SM","SM"', '+ZSMMEMFULL: "SM"'),
        ("quectel", 'AT+QINDCFG="smsfull",1', '+QIND: "smsfull","SM"'),
        ("sim7600", "AT", "+SMS FULL"),
    ],
)
def test_full_store_is_told(tmp_path: Path, model: str, switch: str, line: str) -> None:
    bench = OneModem(tmp_path, model, card_slots=1)
    bench.say("AT+CPMS?")
    bench.say('AT+CPMS="SM","SM","SM"')
    bench.prepare("1,1,0,0,0")
    bench.say(switch)
    assert receive(bench).startswith("\r\n+CMTI: ")
    assert receive(bench) == f"\r\n{line}\r\n"


def test_simcom_wants_no_acknowledgement_of_a_message(tmp_path: Path) -> None:
    for model, ack in (("simcom", "+CMS ERROR: 340"), ("quectel", "OK")):
        (tmp_path / model).mkdir()
        bench = OneModem(tmp_path / model, model)
        bench.prepare("2,2,0,0,0")
        bench.say("AT+CSMS=1")
        receive(bench)
        assert bench.say("AT+CNMA") == ack


def test_acknowledgement_with_a_prompt_is_refused(tmp_path: Path) -> None:
    for model in ("huawei", "zte"):
        (tmp_path / model).mkdir()
        bench = OneModem(tmp_path / model, model)
        bench.say("AT+CPMS?")
        bench.prepare("1,2,0,0,0")
        bench.say("AT+CSMS=1")
        receive(bench)
        assert bench.say("AT+CNMA=1,2") == "ERROR"
        assert bench.say("AT+CNMA=0") == "OK"


def test_routing_is_gone_after_a_restart_and_on_some_after_the_radio(tmp_path: Path) -> None:
    for model, left in (("mu609", "0,0,0,0,0"), ("huawei", "1,1,0,2,0")):
        (tmp_path / model).mkdir()
        bench = OneModem(tmp_path / model, model)
        bench.say("AT^CURC=0")
        bench.prepare("1,1,0,2,0")
        bench.say("AT+CFUN=4")
        bench.say("AT+CFUN=1")
        bench.wait(3)
        assert bench.lines("AT+CNMI?") == [f"+CNMI: {left}", "OK"]
        restart(bench)
        bench.say("ATE0")
        assert bench.lines("AT+CNMI?") == ["+CNMI: 0,0,0,0,0", "OK"]


def test_zte_without_a_centre_needs_one_in_the_pdu(tmp_path: Path) -> None:
    bench = OneModem(tmp_path, "zte")
    bench.say("AT+CPMS?")
    bench.prepare("1,1,0,0,0")
    bench.say("AT+CSMP=17,167,0,0")
    assert bench.submit().endswith("+CMS ERROR: 330\r\n")
    with_centre = "0891" + "683108100005F0" + HELLO[2:]
    bench.type(f"AT+CMGS={HELLO_LENGTH}\r".encode())
    assert "+CMGS: " in bench.type(with_centre.encode() + b"\x1a") + bench.wait(5)


def test_e1752_puts_blank_lines_between_its_messages(tmp_path: Path) -> None:
    bench = OneModem(tmp_path, "e1752")
    bench.prepare("1,1,0,0,0")
    receive(bench)
    shown = bench.type(b"AT+CMGL=4\r")
    assert shown.startswith("\r\n+CMGL: 0,0,,")
    assert shown.endswith("\r\n\r\n\r\n\r\nOK\r\n")


@pytest.mark.parametrize(
    ("model", "cause", "told"),
    [("e1550", 38, 500), ("eg06", 38, 350), ("quectel", 38, 38), ("huawei", 38, 38)],
)
def test_catch_all_codes(tmp_path: Path, model: str, cause: int, told: int) -> None:
    bench = OneModem(tmp_path, model)
    bench.prepare("1,1,0,0,0")
    bench.network.set_rules([Rule(cms=cause)])
    assert (bench.submit() + bench.wait(5)).endswith(f"+CMS ERROR: {told}\r\n")


@pytest.mark.parametrize(
    ("model", "seconds"), [("m35", 2.0), ("e1550", 1.0), ("eg06", 0.3), ("quectel", 0.0)]
)
def test_result_of_a_segment_takes_the_model_s_time(
    tmp_path: Path, model: str, seconds: float
) -> None:
    bench = OneModem(tmp_path, model, latency=1.0)
    bench.prepare("1,1,0,0,0")
    bench.type(f"AT+CMGS={HELLO_LENGTH}\r".encode())
    bench.type(HELLO.encode() + b"\x1a")
    assert bench.wait(0.9 + seconds) == ""
    assert "+CMGS: 0" in bench.wait(0.2)


# ---------------------------------------------------------------- USSD


def test_ussd_of_a_sim800_has_blanks_and_fails_in_hex(tmp_path: Path) -> None:
    bench = OneModem(tmp_path, "simcom")
    bench.say('AT+CSCS="GSM"')
    assert bench.say('AT+CUSD=1,"*100#",15') == "OK"
    assert '", 15' in bench.wait(3)
    bench.say('AT+CSCS="HEX"')
    bench.say('AT+CUSD=1,"*100#",15')
    assert bench.wait(3) == "\r\n+CUSD: 2\r\n"


def test_ussd_of_a_zte_is_ucs2_whatever_the_character_set(tmp_path: Path) -> None:
    bench = OneModem(tmp_path, "zte")
    bench.say('AT+CUSD=1,"*100#",15')
    (line,) = urcs(bench.wait(3))
    text = line.split('"')[1]
    assert bytes.fromhex(text).decode("utf-16-be").isprintable()


def test_ussd_of_a_huawei_is_packed_until_it_is_told_otherwise(tmp_path: Path) -> None:
    bench = OneModem(tmp_path, "e1752")
    assert bench.say('AT+CUSD=1,"AA180C3602",15') == "OK"
    packed = bench.wait(3)
    bytes.fromhex(packed.split('"')[1])
    bench.say("AT^USSDMODE=0")
    bench.say('AT+CUSD=1,"*100#",15')
    plain = bench.wait(3).split('"')[1]
    assert not set(plain) <= set("0123456789ABCDEF")


# ---------------------------------------------------------------- calls


def incoming(bench: OneModem) -> list[str]:
    plan = CallPlan(number="+4917", outcome=CallOutcome.MISSED, rings=1, ring_seconds=2.0)
    bench.modem.phone.ring(plan)
    return urcs(bench.terminal.take() + bench.wait(10))


def outgoing(bench: OneModem) -> list[str]:
    plan = CallPlan(
        number="+4917", outcome=CallOutcome.ANSWERED, rings=1, ring_seconds=2.0, seconds=5.0
    )
    bench.modem.phone.dial(plan, is_client=False)
    return urcs(bench.terminal.take() + bench.wait(30))


@pytest.mark.parametrize(
    ("model", "switches", "told"),
    [
        ("huawei", (), ["^ORIG:1,0", "^CONF:1", "^CONN:1,0", "^CEND:1,5,104,16"]),
        ("zte", ("AT+CPMS?",), ["CONNECT", "HANGUP: 16", "+ZCEND:1"]),
        (
            "quectel",
            ("AT^DSCI=1",),
            [f"^DSCI: 1,0,{stat},0,+4917,145" for stat in (2, 7, 3, 6)] + ["NO CARRIER"],
        ),
        (
            "ec20",
            ('AT+QINDCFG="ccinfo",1',),
            [f'+QIND: "ccinfo",1,0,{stat},0,0,"+4917",145' for stat in (2, 3, 0, -1)]
            + ["NO CARRIER"],
        ),
        ("simcom", ("AT+MORING=1",), ["MO RING", "MO CONNECTED", "NO CARRIER"]),
        (
            "simcom",
            ("AT+CLCC=1",),
            [f'+CLCC: 1,0,{stat},0,0,"+4917",145,""' for stat in (2, 3, 0, 6)] + ["NO CARRIER"],
        ),
        ("sim7600", (), ["VOICE CALL: BEGIN", "VOICE CALL: END: 000005", "NO CARRIER"]),
    ],
)
def test_call_out_is_told(
    tmp_path: Path, model: str, switches: tuple[str, ...], told: list[str]
) -> None:
    bench = OneModem(tmp_path, model)
    for switch in switches:
        bench.say(switch)
    assert outgoing(bench) == told


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("huawei", ["RING", "^CEND:1,0,104,16"]),
        ("sim7600", ["RING", "VOICE CALL: END", "MISSED_CALL: 12:00PM +4917", "NO CARRIER"]),
        ("quectel", ["RING", "NO CARRIER"]),
    ],
)
def test_missed_call_is_told(tmp_path: Path, model: str, told: list[str]) -> None:
    assert incoming(OneModem(tmp_path, model)) == told


def test_zte_s_dialling_has_its_result_when_it_is_answered(tmp_path: Path) -> None:
    bench = OneModem(tmp_path, "zte")
    bench.say("AT+CPMS?")
    assert bench.say("ATD+4917123456;") == ""
    told = urcs(bench.wait(60))
    assert told == ["CONNECT", "HANGUP: 16", "+ZCEND:1"]
    assert bench.say("ATD+4917123456;") == ""
    bench.wait(0.1)
    bench.modem.phone.cut(21)
    assert urcs(bench.terminal.take()) == ["OK", "HANGUP: 21", "+ZCEND:1"]


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
