"""Every fault shows on the wire: §6.8 row 20."""

from pathlib import Path

import pytest

from simulator.dice import Dice
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
    bench = OneModem(tmp_path, "quectel")
    bench.say("AT+CNMI=2,1,0,2,0")
    bench.say("AT+CFUN=1,1")
    said = [line for line in bench.wait(5).split("\r\n") if line]
    assert said[:3] == ["RDY", "+CFUN: 1", "+CPIN: READY"]
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


# ---------------------------------------------------------------- answers


def set_fault(
    bench: OneModem, kind: FaultKind, *, on: str = "", seconds: float = 1.0, count: int | None = 1
) -> None:
    bench.modem.faults.set(Fault(kind=kind, on=on, seconds=seconds, count=count))


def test_answer_is_lost_though_the_command_was_carried_out(bench: OneModem) -> None:
    set_fault(bench, FaultKind.NO_ANSWER)
    assert bench.say("AT+CMEE=2") == ""
    assert bench.lines("AT+CMEE?") == ["+CMEE: 2", "OK"]


def test_slow_answer_keeps_the_line_busy_and_later_commands_wait(bench: OneModem) -> None:
    set_fault(bench, FaultKind.SLOW_ANSWER, seconds=7.0)
    assert bench.say("AT+CSQ") == ""
    assert bench.say("AT+CGSN") == ""
    assert bench.wait(6.9) == ""
    assert bench.wait(0.2) == "\r\n+CSQ: 20,99\r\n\r\nOK\r\n\r\n356000010000007\r\n\r\nOK\r\n"


def test_slow_answer_is_forgotten_by_a_reboot(bench: OneModem) -> None:
    set_fault(bench, FaultKind.SLOW_ANSWER, seconds=5.0)
    assert bench.say("AT+CSQ") == ""
    bench.modem.reboot()
    assert bench.wait(20) == ""
    assert bench.type(b"AT\r") == "AT\r\r\nOK\r\n"


def test_merged_lines_share_one_line_end(bench: OneModem) -> None:
    set_fault(bench, FaultKind.MERGED_LINES)
    assert bench.type(b"AT+CSQ\r") == "\r\n+CSQ: 20,99\r\nOK\r\n"
    assert bench.type(b"AT+CSQ\r") == "\r\n+CSQ: 20,99\r\n\r\nOK\r\n"


def test_truncated_line_loses_its_second_half_and_its_end(bench: OneModem) -> None:
    set_fault(bench, FaultKind.TRUNCATED_LINE, on="+CSQ")
    assert bench.type(b"AT+CGSN\r") == "\r\n356000010000007\r\n\r\nOK\r\n"
    assert bench.type(b"AT+CSQ\r") == "\r\n+CSQ: \r\nOK\r\n"


@pytest.mark.parametrize(("kind", "change"), [("doubled_byte", 1), ("lost_byte", -1)])
def test_one_octet_comes_twice_or_not_at_all(bench: OneModem, kind: str, change: int) -> None:
    whole = bench.type(b"AT+CGSN\r")
    set_fault(bench, FaultKind.DOUBLED_BYTE if kind == "doubled_byte" else FaultKind.LOST_BYTE)
    spoiled = bench.type(b"AT+CGSN\r")
    assert len(spoiled) == len(whole) + change
    longer, shorter = (spoiled, whole) if change > 0 else (whole, spoiled)
    assert any(longer[:at] + longer[at + 1 :] == shorter for at in range(len(longer)))
    assert bench.type(b"AT+CGSN\r") == whole


def test_write_comes_in_two_pieces_and_what_follows_keeps_its_place(bench: OneModem) -> None:
    set_fault(bench, FaultKind.SPLIT_WRITES, seconds=0.2)
    first = bench.type(b"AT+CSQ\r")
    assert "\r\n+CSQ: 20,99\r\n\r\nOK\r\n".startswith(first)
    assert 0 < len(first) < 21
    assert bench.type(b"AT\r") == ""
    assert first + bench.wait(0.3) == "\r\n+CSQ: 20,99\r\n\r\nOK\r\n\r\nOK\r\n"


def test_two_writes_come_as_one(bench: OneModem) -> None:
    set_fault(bench, FaultKind.MERGED_WRITES, seconds=3.0)
    assert bench.say("AT+CSQ") == ""
    bench.modem.receive(b"AT\r")
    assert bench.terminal.writes == [b"\r\n+CSQ: 20,99\r\n\r\nOK\r\n\r\nOK\r\n"]
    bench.terminal.take()
    set_fault(bench, FaultKind.MERGED_WRITES, seconds=3.0)
    assert bench.say("AT") == ""
    assert bench.wait(3.1) == "\r\nOK\r\n"


# ---------------------------------------------------------------- prompts


def test_prompt_lacks_its_line_end(bench: OneModem) -> None:
    set_fault(bench, FaultKind.PROMPT_WITHOUT_CRLF)
    assert bench.submit().startswith("> \r\n+CMGS: 0")


def test_urcs_come_between_prompt_and_payload(bench: OneModem) -> None:
    set_fault(bench, FaultKind.URC_AT_PROMPT)
    assert bench.type(b"AT+CMGS=24\r") == "\r\n> \r\n+CIEV: 2,3\r\n"
    bench.network.send_text(to=bench.card, origin="10086", text="now")
    assert bench.terminal.take() == '\r\n+CMTI: "SM",1\r\n'
    bench.type(b"\x1b")
    # Without the fault a prompt holds them back.
    assert bench.type(b"AT+CMGS=24\r") == "\r\n> "
    bench.network.send_text(to=bench.card, origin="10086", text="later")
    assert bench.terminal.take() == ""
    assert bench.type(b"\x1b") == '\r\nOK\r\n\r\n+CMTI: "SM",2\r\n'


def test_modem_is_dead_after_its_prompt_until_a_reboot(bench: OneModem) -> None:
    set_fault(bench, FaultKind.HANG_AT_PROMPT)
    assert bench.type(b"AT+CMGS=24\r") == "\r\n> "
    assert bench.type(HELLO.encode() + b"\x1a") + bench.wait(300) == ""
    assert taken(bench) == 0
    bench.modem.reboot()
    bench.wait(2)
    assert bench.type(b"AT\r") == "AT\r\r\nOK\r\n"


# ---------------------------------------------------------------- the modem


def test_modem_restarts_by_itself_at_a_command(bench: OneModem) -> None:
    set_fault(bench, FaultKind.REBOOT, on="+CSQ")
    assert bench.say("AT") == "OK"
    assert bench.say("AT+CSQ") == ""
    assert bench.wait(3) == ""
    assert bench.type(b"AT+CNMI?\r") == "AT+CNMI?\r\r\n+CNMI: 0,0,0,0,0\r\n\r\nOK\r\n"


@pytest.mark.parametrize("kind", [FaultKind.PORT_GONE, FaultKind.PORT_RENUMBERED])
def test_port_is_lost_at_a_command_which_is_not_carried_out(
    bench: OneModem, kind: FaultKind
) -> None:
    lost: list[tuple[float, FaultKind]] = []
    bench.modem.on_port_lost = lambda seconds, kind: lost.append((seconds, kind))
    set_fault(bench, kind, seconds=2.5)
    bench.say("AT+CMEE=2")
    assert lost == [(2.5, kind)]
    # The modem kept its power: what was set before still holds.
    assert bench.lines("AT+CMEE?") == ["+CMEE: 1", "OK"]


def test_reference_is_zero(bench: OneModem) -> None:
    bench.submit()
    set_fault(bench, FaultKind.ZERO_MR)
    assert "+CMGS: 0" in bench.submit()
    assert "+CMGS: 2" in bench.submit()


def test_full_storage_keeps_the_message_with_the_network_until_there_is_room(
    bench: OneModem,
) -> None:
    set_fault(bench, FaultKind.STORAGE_FULL, count=None)
    bench.network.send_text(to=bench.card, origin="10086", text="wait")
    assert bench.terminal.take() == ""
    assert bench.network.waiting(bench.card) == 1
    bench.modem.faults.clear()
    bench.say("AT+CMGD=1,4")
    assert bench.network.waiting(bench.card) == 0
    assert len(bench.ledger.read(kind="deliver")) == 1


def test_a_report_is_announced_under_a_wrong_index(bench: OneModem) -> None:
    bench.prepare("2,1,0,2,0")
    set_fault(bench, FaultKind.WRONG_INDEX)
    bench.submit()
    assert bench.wait(3) == '\r\n+CDSI: "SM",2\r\n'
    assert bench.say("AT+CMGR=2") == "+CMS ERROR: 321"
    assert bench.lines("AT+CMGR=1")[0].startswith("+CMGR: 0,,")


def test_busy_card_refuses_as_often_as_said(bench: OneModem) -> None:
    set_fault(bench, FaultKind.SIM_BUSY, count=2)
    assert bench.say("AT+CIMI") == "+CME ERROR: 14"
    assert bench.say("AT+CPMS?") == "+CMS ERROR: 314"
    assert bench.say("AT+CIMI").endswith("OK")


def test_radio_goes_off_by_itself_and_comes_back_when_the_fault_is_cleared(
    bench: OneModem,
) -> None:
    bench.say("AT+CREG=1")
    set_fault(bench, FaultKind.RADIO_OFF)
    assert "+CREG: 0" in bench.terminal.take()
    assert bench.say("AT+CFUN?") == "+CFUN: 4\r\n\r\nOK"
    assert bench.say("AT+CMGS=24") == "+CMS ERROR: 331"
    bench.modem.faults.clear(FaultKind.RADIO_OFF)
    assert "+CREG: 1" in bench.wait(2)


def test_routing_is_lost_silently(bench: OneModem) -> None:
    set_fault(bench, FaultKind.CNMI_LOST)
    assert bench.terminal.take() == ""
    assert bench.lines("AT+CNMI?") == ["+CNMI: 0,0,0,0,0", "OK"]
    bench.network.send_text(to=bench.card, origin="10086", text="silent")
    assert bench.terminal.take() == ""
    assert len(bench.ledger.read(kind="deliver")) == 1


def test_status_lines_flood_until_the_fault_is_cleared(bench: OneModem) -> None:
    set_fault(bench, FaultKind.URC_FLOOD, seconds=0.1, count=None)
    assert bench.wait(1.05).count("^RSSI:18") == 10
    bench.modem.faults.clear()
    assert bench.wait(5) == ""
    set_fault(bench, FaultKind.URC_FLOOD, seconds=0.1, count=3)
    assert bench.wait(5).count("^RSSI:18") == 3


# ---------------------------------------------------------------- when they strike


def test_a_rate_strikes_as_often_as_it_says_and_the_same_way_every_time() -> None:
    def strikes(seed: int, name: str) -> list[bool]:
        faults = Faults(Dice(seed), name)
        faults.set(Fault(kind=FaultKind.SILENCE, count=None, rate=0.2))
        return [faults.take(FaultKind.SILENCE) is not None for _ in range(1000)]

    first = strikes(1, "modem01")
    assert 150 < sum(first) < 250
    assert first == strikes(1, "modem01")
    assert first != strikes(1, "modem02")
    assert first != strikes(2, "modem01")


def test_what_struck_is_counted() -> None:
    faults = Faults()
    faults.set(Fault(kind=FaultKind.HANG, skip=1, count=2))
    for _ in range(5):
        faults.take(FaultKind.HANG)
    assert faults.struck == {"hang": 2}


def test_every_kind_of_fault_has_a_test_here() -> None:
    source = Path(__file__).read_text("utf-8")
    elsewhere = {FaultKind.HALF_ICCID}  # tests/unit/test_simulator_card.py
    missing = [
        kind.name
        for kind in FaultKind
        if kind not in elsewhere and f"FaultKind.{kind.name}" not in source
    ]
    assert missing == []
