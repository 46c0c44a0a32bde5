"""What could leave a line, a queue or a modem stuck, or tell what is not so."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator.faults import Fault, FaultKind
from simulator.network.rules import Fate, Rule
from tests.support.one_modem import HELLO, OneModem


@pytest.fixture
def bench(tmp_path: Path) -> OneModem:
    bench = OneModem(tmp_path)
    bench.prepare("2,1,0,0,0")
    return bench


def kinds(bench: OneModem) -> list[str]:
    return [str(line["kind"]) for line in bench.ledger.read() if line["kind"] != "registration"]


def test_a_stored_message_that_is_none_is_shown_as_octets_in_text_mode(bench: OneModem) -> None:
    assert bench.type(b"AT+CMGW=3\r") == "\r\n> "
    assert "+CMGW: 1" in bench.type(b"00070707\x1a")
    bench.say("AT+CMGF=1")
    assert bench.lines("AT+CMGR=1") == ["+CMGR: 2,,3", "00070707", "OK"]
    assert bench.lines('AT+CMGL="ALL"')[-1] == "OK"
    assert bench.say("AT") == "OK"


def test_an_arriving_message_that_is_none_is_shown_as_octets_and_the_next_one_comes(
    bench: OneModem,
) -> None:
    bench.say("AT+CMGF=1")
    bench.say("AT+CNMI=2,2,0,1,0")
    bench.network.send_raw(to=bench.card, tpdu=b"\x04\xff")
    bench.network.send_raw(to=bench.card, tpdu=b"\x02")
    bench.network.send_text(to=bench.card, origin="10086", text="fine")
    said = bench.terminal.take()
    assert said.count("+CMT:") == 2
    assert said.count("+CDS:") == 1
    assert "fine" in said
    assert bench.network.waiting(bench.card) == 0


def test_hundreds_of_submits_in_one_write_are_served_in_turn(tmp_path: Path) -> None:
    bench = OneModem(tmp_path, latency=0)
    bench.prepare()
    said = bench.type((b"AT+CMGS=24\r" + HELLO.encode() + b"\x1a") * 400)
    assert said.count("+CMGS: ") == 400
    assert kinds(bench).count("submit") == 400
    assert bench.say("AT") == "OK"


@pytest.mark.parametrize("loss", ["card", "radio", "coverage"])
def test_a_submit_on_the_air_is_lost_with_card_radio_or_network(bench: OneModem, loss: str) -> None:
    bench.type(b"AT+CMGS=24\r")
    bench.type(HELLO.encode() + b"\x1a")
    bench.wait(0.3)
    match loss:
        case "card":
            bench.modem.insert(None)
        case "radio":
            bench.modem.set_radio(is_on=False)
        case _:
            bench.network.lose_coverage()
    assert "+CMS ERROR: 331" in bench.terminal.take() + bench.wait(5)
    assert "submit" not in kinds(bench)
    assert bench.say("AT") == "OK"


@pytest.mark.parametrize("fate", [Fate.SILENCE, Fate.TAKEN_SILENCE])
def test_a_modem_gives_up_after_a_silent_network(bench: OneModem, fate: Fate) -> None:
    bench.network.set_rules([Rule(outcome=fate, count=1)])
    assert bench.submit() == "\r\n> "
    assert "+CMS ERROR: 332" in bench.wait(150)
    assert bench.say("AT") == "OK"
    assert "+CMGS: 1" in bench.submit()


def test_no_acknowledgement_is_awaited_after_the_network_was_left(bench: OneModem) -> None:
    bench.say("AT+CSMS=1")
    bench.say("AT+CNMI=2,2,0,0,0")
    bench.network.send_text(to=bench.card, origin="10086", text="once")
    assert "+CMT" in bench.terminal.take()
    bench.say("AT+CFUN=4")
    bench.say("AT+CFUN=1")
    assert bench.say("AT+CNMA") == "+CMS ERROR: 340"
    # The network brings it again, and this time it is acknowledged in time.
    assert bench.wait(5).count("+CMT") == 1
    assert bench.say("AT+CNMA") == "OK"
    assert bench.wait(60) == ""
    assert bench.lines("AT+CNMI?") == ["+CNMI: 2,2,0,0,0", "OK"]


def test_a_modem_without_power_does_not_restart_by_itself(bench: OneModem) -> None:
    bench.modem.lose_power()
    bench.modem.reboot()
    bench.modem.faults.set(Fault(kind=FaultKind.RADIO_OFF))
    bench.modem.faults.clear()
    bench.wait(60)
    assert (bench.modem.is_on, bench.modem.registration) == (False, 0)
    bench.modem.boot()
    bench.wait(60)
    assert (bench.modem.is_on, bench.modem.registration) == (True, 1)


def test_the_radio_stays_off_until_the_fault_is_cleared(bench: OneModem) -> None:
    bench.modem.faults.set(Fault(kind=FaultKind.RADIO_OFF, count=None))
    bench.say("AT+CFUN=1")
    bench.wait(10)
    assert bench.modem.registration == 0
    bench.modem.reboot()
    bench.wait(10)
    assert bench.modem.registration == 0
    bench.modem.faults.clear()
    bench.wait(10)
    assert bench.modem.registration == 1


def test_a_slash_inside_a_line_repeats_nothing_however_it_is_typed(bench: OneModem) -> None:
    bench.say("AT+CMEE=2")
    line = b'AT+CGDCONT=1,"IP","A/B"\r'
    whole = bench.type(line)
    by_octet = "".join(bench.type(bytes((octet,))) for octet in line)
    assert by_octet == whole
    assert bench.type(b"AT\r") == "\r\nOK\r\n"
    assert bench.type(b"A/\r") == "\r\nOK\r\n"
    assert "".join(bench.type(bytes((octet,))) for octet in b"\nA/") == "\r\nOK\r\n"


def test_a_text_goes_to_a_number_in_the_character_set_and_backspace_edits_it(
    bench: OneModem,
) -> None:
    bench.say("AT+CMGF=1")
    bench.type(b'AT+CMGS="10086"\r')
    bench.type(b"helx\blo\x1a")
    bench.wait(5)
    bench.say('AT+CSCS="UCS2"')
    number = "10010".encode("utf-16-be").hex()
    bench.type(f'AT+CMGS="{number}"\r'.encode())
    bench.type("你好".encode("utf-16-be").hex().encode() + b"\x1a")
    bench.wait(5)
    sent = [(line["destination"], line["text"]) for line in bench.ledger.read(kind="submit")]
    assert sent == [("10086", "hello"), ("10010", "你好")]


def test_a_new_card_is_ready_for_messages_in_its_own_time(tmp_path: Path) -> None:
    bench = OneModem(tmp_path, "simcom")
    bench.say("AT")
    first = bench.card
    pause = bench.modem.persona.sim_busy_seconds + bench.modem.persona.messaging_seconds
    bench.modem.insert(None)
    bench.modem.insert(first)
    bench.wait(pause - 0.2)
    bench.modem.insert(None)
    bench.modem.insert(first)
    bench.wait(bench.modem.persona.sim_busy_seconds + 0.1)
    assert not bench.modem.is_messaging_ready
    bench.wait(pause)
    assert bench.modem.is_messaging_ready


def test_what_is_buffered_in_mode_0_stays_until_another_mode(bench: OneModem) -> None:
    bench.say("AT+CNMI=0,2,0,0,0")
    bench.network.send_text(to=bench.card, origin="10086", text="kept")
    bench.say("AT+CNMI=0,2,0,0,0")
    assert "+CMT" in bench.say("AT+CNMI=2,2,0,0,0") + bench.terminal.take()


def test_a_slow_answer_to_a_submit_holds_urcs_back_too(bench: OneModem) -> None:
    bench.modem.faults.set(Fault(kind=FaultKind.SLOW_ANSWER, on="+CMGS", seconds=10.0))
    bench.type(b"AT+CMGS=24\r")
    bench.type(HELLO.encode() + b"\x1a")
    bench.wait(3)
    bench.network.send_text(to=bench.card, origin="10086", text="later")
    assert bench.terminal.take() == ""
    said = bench.wait(10)
    assert said.index("+CMGS: 0") < said.index("+CMTI")
