"""Every fault shows on the wire: §6.8 row 20."""

from pathlib import Path

import pytest

from simulator.faults import Fault, FaultKind, Faults
from tests.support.one_modem import HELLO, OneModem


@pytest.fixture
def bench(tmp_path: Path) -> OneModem:
    bench = OneModem(tmp_path)
    bench.prepare("2,1,0,0,0")
    return bench


def taken(bench: OneModem) -> int:
    return len(bench.ledger.read(kind="submit"))


def test_silence_answers_nothing_as_often_as_said(bench: OneModem) -> None:
    bench.modem.faults.set(Fault(kind=FaultKind.SILENCE, count=2))
    assert [bench.say("AT") for _ in range(3)] == ["", "", "OK"]
    bench.modem.faults.set(Fault(kind=FaultKind.SILENCE, count=None))
    assert [bench.say("AT") for _ in range(9)] == [""] * 9
    bench.modem.faults.clear()
    assert bench.say("AT") == "OK"


def test_prompt_does_not_come(bench: OneModem) -> None:
    bench.modem.faults.set(Fault(kind=FaultKind.NO_PROMPT))
    assert bench.type(b"AT+CMGS=24\r") == ""
    assert bench.type(b"\x1b") == "\r\nOK\r\n"


def test_prompt_lacks_its_blank(bench: OneModem) -> None:
    bench.modem.faults.set(Fault(kind=FaultKind.BARE_PROMPT))
    assert bench.submit().startswith("\r\n>\r\n+CMGS: 0")


def test_hang_after_the_payload_lasts_until_a_reboot(bench: OneModem) -> None:
    bench.modem.faults.set(Fault(kind=FaultKind.HANG))
    assert bench.submit() == "\r\n> "
    assert bench.say("AT") == ""
    assert bench.wait(300) == ""
    assert taken(bench) == 0
    bench.modem.reboot()
    bench.wait(2)
    assert bench.type(b"AT\r") == "AT\r\r\nOK\r\n"


def test_answer_is_lost_but_the_network_took_it(bench: OneModem) -> None:
    bench.modem.faults.set(Fault(kind=FaultKind.LOST_ANSWER))
    assert bench.submit() == "\r\n> "
    assert taken(bench) == 1
    assert bench.say("AT") == "OK"
    assert "+CMGS: 1" in bench.submit()


def test_late_answer_comes_before_those_to_later_questions(bench: OneModem) -> None:
    bench.modem.faults.set(Fault(kind=FaultKind.LATE_ANSWER, seconds=20.0))
    assert bench.submit() == "\r\n> "
    assert taken(bench) == 1
    assert bench.type(b"\x1bAT+CGSN\r") == ""
    assert bench.wait(20) == "\r\n+CMGS: 0\r\n\r\nOK\r\n\r\n356000010000007\r\n\r\nOK\r\n"


def test_error_after_the_payload_with_and_without_sending(bench: OneModem) -> None:
    bench.modem.faults.set(Fault(kind=FaultKind.CMS_ERROR, code=331))
    assert bench.submit() == "\r\n> \r\n+CMS ERROR: 331\r\n"
    assert taken(bench) == 0
    bench.modem.faults.set(Fault(kind=FaultKind.CMS_ERROR_SENT, code=500))
    assert bench.submit() == "\r\n> \r\n+CMS ERROR: 500\r\n"
    assert taken(bench) == 1


def test_ok_though_nothing_left(bench: OneModem) -> None:
    bench.modem.faults.set(Fault(kind=FaultKind.OK_NOT_SENT))
    assert "+CMGS: 0" in bench.submit()
    assert taken(bench) == 0


def test_reference_is_repeated(bench: OneModem) -> None:
    bench.submit()
    bench.modem.faults.set(Fault(kind=FaultKind.REPEATED_MR))
    assert "+CMGS: 0" in bench.submit()
    assert "+CMGS: 1" in bench.submit()


@pytest.mark.parametrize(
    ("kind", "sent"), [(FaultKind.REBOOT_ON_SUBMIT, 0), (FaultKind.REBOOT_AFTER_SUBMIT, 1)]
)
def test_restart_around_the_submit(bench: OneModem, kind: FaultKind, sent: int) -> None:
    bench.modem.faults.set(Fault(kind=kind))
    assert bench.submit() == "\r\n> "
    bench.wait(3)
    assert taken(bench) == sent
    assert bench.type(b"AT+CNMI?\r").endswith("+CNMI: 0,0,0,0,0\r\n\r\nOK\r\n")


def test_urc_in_an_answer_and_garbage_before_it(bench: OneModem) -> None:
    bench.modem.faults.set(Fault(kind=FaultKind.URC_IN_ANSWER))
    assert bench.lines("AT+CSQ") == ["+CSQ: 20,99", "+CIEV: 2,3", "OK"]
    bench.modem.faults.set(Fault(kind=FaultKind.GARBAGE))
    assert bench.type(b"AT\r") == "\x00\xf8\x80~\r\nOK\r\n"


def test_echo_comes_back_by_itself(bench: OneModem) -> None:
    bench.modem.faults.set(Fault(kind=FaultKind.ECHO_AGAIN))
    assert bench.type(b"AT\r") == "\r\nOK\r\n"
    assert bench.type(b"AT\r") == "AT\r\r\nOK\r\n"


def test_slow_output_comes_octet_by_octet_in_order(bench: OneModem) -> None:
    bench.modem.faults.set(Fault(kind=FaultKind.SLOW_OUTPUT))
    bench.modem.receive(b"AT+CSQ\rAT\r")
    bench.clock.advance(1)
    assert all(len(write) == 1 for write in bench.terminal.writes)
    assert bench.terminal.take() == "\r\n+CSQ: 20,99\r\n\r\nOK\r\n\r\nOK\r\n"


def test_skip_lets_chances_pass() -> None:
    faults = Faults()
    faults.set(Fault(kind=FaultKind.HANG, skip=2))
    struck = [faults.take(FaultKind.HANG) is not None for _ in range(4)]
    assert struck == [False, False, True, False]


def test_reboot_forgets_settings_and_says_the_boot_lines(tmp_path: Path) -> None:
    bench = OneModem(tmp_path, "simcom")
    bench.say("AT+CNMI=2,1,0,2,0")
    bench.say("AT+CFUN=1,1")
    said = [line for line in bench.wait(5).split("\r\n") if line]
    assert said == ["RDY", "+CFUN: 1", "+CPIN: READY", "Call Ready", "SMS Ready"]
    assert bench.type(b"AT+CNMI?\r").startswith("AT+CNMI?\r\r\n+CNMI: 0,0,0,0,0")


def test_nothing_is_heard_while_the_power_is_off(bench: OneModem) -> None:
    bench.modem.switch_off()
    assert bench.type(b"AT\r") == ""
    bench.network.send_text(to=bench.card, origin="10086", text="wait")
    assert bench.network.waiting(bench.card) == 1
    bench.modem.boot()
    bench.wait(3)
    assert bench.network.waiting(bench.card) == 0


def test_card_pulled_in_mid_submit_and_put_back(bench: OneModem) -> None:
    bench.type(b"AT+CMGS=24\r")
    bench.modem.insert(None)
    assert "+CMS ERROR: 310" in bench.type(HELLO.encode() + b"\x1a")
    assert bench.say("AT+CPIN?") == "+CME ERROR: 10"
    assert bench.say("AT+CMGL=4") == "+CMS ERROR: 310"
    bench.modem.insert(bench.card)
    bench.wait(2)
    assert "+CMGS: 0" in bench.submit()
