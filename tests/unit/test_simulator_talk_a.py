"""Messages, USSD and calls as Huawei, ZTE, Quectel and SIMCom tell them; at-dialects §3.5–§3.7."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator import ledger
from simulator.network.network import Rule
from simulator.phone import CallOutcome, CallPlan
from tests.support.one_modem import HELLO, HELLO_LENGTH, OneModem

STRANGER = "+8613900000000"


def urcs(text: str) -> list[str]:
    return [line for line in text.split("\r\n") if line]


def receive(bench: OneModem, text: str = "hi") -> str:
    bench.network.send_text(to=bench.card, origin=STRANGER, text=text)
    return bench.terminal.take()


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


def test_blank_line_between_a_direct_message_s_head_and_its_pdu(tmp_path: Path) -> None:
    bench = OneModem(tmp_path, "e1752")
    bench.prepare("1,2,0,0,0")
    assert receive(bench).startswith("\r\n+CMT: ,22\r\n\r\n0891683108100005F0")


def test_huawei_lists_reports_among_its_messages(tmp_path: Path) -> None:
    bench = OneModem(tmp_path, "huawei")
    bench.prepare("1,1,0,2,0")
    receive(bench)
    bench.submit()
    assert bench.wait(5) == '\r\n+CDSI: "SM",1\r\n'
    kinds = [bytes.fromhex(line)[9] & 3 for line in bench.lines("AT+CMGL=4")[1:-1:2]]
    assert kinds == [0, 2]


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
        bench.modem.reboot()
        bench.wait(12)
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


def test_push_message_is_marked_by_a_sim800(tmp_path: Path) -> None:
    push = "400D91683119325476F8000462112221436523" + "0E" + "0605040B8423F0" + "00112233445566"
    for model, mark in (("simcom", ',"MMS PUSH"'), ("quectel", "")):
        (tmp_path / model).mkdir()
        bench = OneModem(tmp_path / model, model)
        bench.prepare("2,1,0,0,0")
        bench.network.send_raw(to=bench.card, tpdu=bytes.fromhex(push))
        assert urcs(bench.terminal.take())[0].endswith(f",1{mark}")


def test_quectel_s_own_command_sends_one_part_of_a_long_text(tmp_path: Path) -> None:
    bench = OneModem(tmp_path, "quectel", latency=0.0)
    assert bench.say('AT+QCMGS="+4917123456",120,2,2') == "+CMS ERROR: 302"
    bench.say("AT+CMGF=1")
    assert bench.say('AT+QCMGS="+4917123456",120,3,2') == "+CMS ERROR: 305"
    for part, text in ((1, "one "), (2, "two")):
        assert bench.type(f'AT+QCMGS="+4917123456",120,{part},2\r'.encode()) == "\r\n> "
        assert "+CMGS: " in bench.type(text.encode() + b"\x1a")
    bench.ledger.close()
    sent = [line for line in ledger.read(tmp_path / "ledger.jsonl") if line["kind"] == "submit"]
    assert [(line["text"], line["concat"]) for line in sent] == [
        ("one ", {"ref": 120, "total": 2, "seq": 1}),
        ("two", {"ref": 120, "total": 2, "seq": 2}),
    ]


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
