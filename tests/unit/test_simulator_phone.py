"""Calls in and out, in each model's words: at-dialects §3.7, §6.8 row 15."""

from pathlib import Path

import pytest

from simulator.phone import CallOutcome, CallPlan
from tests.support.one_modem import OneModem


def plan(outcome: CallOutcome, *, rings: int = 2, number: str = "+8613912345678") -> CallPlan:
    return CallPlan(number=number, outcome=outcome, rings=rings, seconds=7.0, ring_seconds=5.0)


def lines(text: str) -> list[str]:
    return [line for line in text.split("\r\n") if line]


@pytest.fixture
def bench(tmp_path: Path) -> OneModem:
    return OneModem(tmp_path)


def test_missed_call_rings_and_ends_with_no_carrier(bench: OneModem) -> None:
    bench.say("AT+CLIP=1")
    assert bench.modem.phone.ring(plan(CallOutcome.MISSED))
    caller = '+CLIP: "+8613912345678",145,,,,0'
    assert lines(bench.terminal.take()) == ["RING", caller]
    assert lines(bench.wait(5)) == ["RING", caller]
    assert lines(bench.wait(5)) == ["NO CARRIER"]
    (call,) = bench.ledger.read(kind="call")
    assert (call["direction"], call["outcome"], call["rings"]) == ("in", "missed", 2)
    assert (call["modem"], call["number"], call["seconds"]) == ("modem01", "+8613912345678", 0)


def test_ring_type_is_told_where_asked(bench: OneModem) -> None:
    bench.say("AT+CRC=1")
    bench.modem.phone.ring(plan(CallOutcome.MISSED))
    assert lines(bench.terminal.take()) == ["+CRING: VOICE"]


def test_client_answers_and_the_other_side_hangs_up(bench: OneModem) -> None:
    bench.modem.phone.ring(plan(CallOutcome.MISSED))
    assert bench.lines("AT+CLCC")[-2:] == ['+CLCC: 1,1,4,0,0,"+8613912345678",145,""', "OK"]
    assert bench.say("ATA") == "OK"
    assert bench.lines("AT+CLCC")[0].startswith("+CLCC: 1,1,0,")
    assert lines(bench.wait(7)) == ["NO CARRIER"]
    (call,) = bench.ledger.read(kind="call")
    assert (call["outcome"], call["seconds"], call["cause"]) == ("answered", 7, 16)
    assert bench.say("ATA") == "NO CARRIER"


@pytest.mark.parametrize("command", ["ATH", "AT+CHUP"])
def test_client_rejects(bench: OneModem, command: str) -> None:
    bench.modem.phone.ring(plan(CallOutcome.MISSED))
    bench.terminal.take()
    assert bench.say(command) == "OK"
    assert bench.wait(60) == ""
    assert [call["outcome"] for call in bench.ledger.read(kind="call")] == ["rejected"]


def test_huawei_tells_a_person_s_outgoing_call(tmp_path: Path) -> None:
    bench = OneModem(tmp_path, "huawei")
    assert bench.modem.phone.dial(plan(CallOutcome.ANSWERED, rings=1), is_client=False)
    assert lines(bench.terminal.take()) == ["^ORIG:1,0"]
    assert lines(bench.wait(1)) == ["^CONF:1"]
    assert lines(bench.wait(5)) == ["^CONN:1,0"]
    assert lines(bench.wait(7)) == ["^CEND:1,7,104,16"]
    (call,) = bench.ledger.read(kind="call")
    assert (call["direction"], call["outcome"], call["seconds"]) == ("out", "answered", 7)


def test_the_lines_of_a_dialled_call_follow_its_ok_at_a_distance(tmp_path: Path) -> None:
    bench = OneModem(tmp_path, "huawei")
    assert bench.say("ATD+8613900000001;") == "OK"
    assert lines(bench.wait(0.2)) == ["^ORIG:1,0"]
    assert lines(bench.wait(0.5)) == ["^CONF:1"]


def test_huawei_says_29_where_this_side_ended(tmp_path: Path) -> None:
    bench = OneModem(tmp_path, "huawei")
    bench.modem.phone.ring(plan(CallOutcome.ANSWERED, rings=1))
    bench.wait(5)
    assert lines(bench.type(b"AT+CHUP\r")) == ["^CEND:1,0,29,16", "OK"]


def test_quectel_tells_calls_once_asked(tmp_path: Path) -> None:
    bench = OneModem(tmp_path, "quectel")
    bench.modem.phone.dial(plan(CallOutcome.BUSY), is_client=False)
    assert bench.terminal.take() == ""
    bench.wait(10)
    bench.say("AT^DSCI=1")
    bench.modem.phone.dial(plan(CallOutcome.ANSWERED, rings=1), is_client=False)
    assert lines(bench.wait(13)) == [
        "^DSCI: 1,0,2,0,+8613912345678,145",
        "^DSCI: 1,0,7,0,+8613912345678,145",
        "^DSCI: 1,0,3,0,+8613912345678,145",
        "^DSCI: 1,0,6,0,+8613912345678,145",
        "NO CARRIER",
    ]


def test_simcom_tells_calls_by_clcc_lines(tmp_path: Path) -> None:
    bench = OneModem(tmp_path, "simcom")
    bench.say("AT+CLCC=1")
    bench.modem.phone.ring(plan(CallOutcome.MISSED, rings=1))
    said = lines(bench.wait(5))
    assert said == [
        '+CLCC: 1,1,4,0,0,"+8613912345678",145,""',
        "RING",
        '+CLCC: 1,1,6,0,0,"+8613912345678",145,""',
        "NO CARRIER",
    ]


def test_simcom_lte_tells_how_long_it_was(tmp_path: Path) -> None:
    bench = OneModem(tmp_path, "sim7600")
    bench.modem.phone.ring(plan(CallOutcome.ANSWERED, rings=1))
    bench.wait(5)
    assert lines(bench.wait(7)) == ["VOICE CALL: END: 000007", "NO CARRIER"]


@pytest.mark.parametrize(
    ("outcome", "final", "cause"),
    [
        (CallOutcome.BUSY, "BUSY", 17),
        (CallOutcome.NO_ANSWER, "NO ANSWER", 19),
        (CallOutcome.REJECTED, "NO CARRIER", 21),
    ],
)
def test_unanswered_outgoing_calls(
    bench: OneModem, outcome: CallOutcome, final: str, cause: int
) -> None:
    bench.modem.phone.dial(plan(outcome), is_client=False)
    assert bench.wait(20).strip() == final
    (call,) = bench.ledger.read(kind="call")
    assert (call["direction"], call["cause"], call["seconds"]) == ("out", cause, 0)


def test_client_dials_and_hears_ok_at_once(bench: OneModem) -> None:
    assert bench.say("ATD+8613912345678;") == "OK"
    assert bench.lines("AT+CLCC")[0].startswith("+CLCC: 1,0,2,")
    assert bench.say("ATD123;") == "+CME ERROR: 3"
    assert bench.wait(30).strip() == "NO CARRIER"
    assert bench.lines("AT+CEER") == ["+CEER: Normal call clearing", "OK"]


def test_second_call_finds_the_line_taken(bench: OneModem) -> None:
    assert bench.modem.phone.ring(plan(CallOutcome.MISSED))
    assert not bench.modem.phone.ring(plan(CallOutcome.MISSED))
    assert not bench.modem.phone.dial(plan(CallOutcome.MISSED), is_client=False)


def test_call_dies_with_the_power(bench: OneModem) -> None:
    bench.modem.phone.ring(plan(CallOutcome.MISSED))
    bench.modem.reboot()
    bench.wait(60)
    assert [call["outcome"] for call in bench.ledger.read(kind="call")] == ["dropped"]
