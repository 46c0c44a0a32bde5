"""Line discipline of a simulated modem: at-dialects §1 and §6.8 rows 1–6, 16, 22."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.wire import syntax
from simulator.wire.syntax import Command, Op, SyntaxFault
from tests.support.one_modem import HELLO, OneModem


@pytest.fixture
def bench(tmp_path: Path) -> OneModem:
    return OneModem(tmp_path)


# ---------------------------------------------------------------- grammar


def names(text: str) -> list[str]:
    return [f"{command.key}{command.text}" for command in syntax.parse(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("E0", ["E0"]),
        ("E0 +CMEE=1", ["E0", "+CMEE=1"]),
        ("+CMEE=1;+CREG=2", ["+CMEE=1", "+CREG=2"]),
        ("E0V1&C1S3=13+CSQ", ["E0", "V1", "&C1", "S3=13", "+CSQ"]),
        ("E0 &C0 +CMEE=1", ["E0", "&C0", "+CMEE=1"]),
        ("\\Q3", ["\\Q3"]),
        ("s0?", ["S0?"]),
        ("D+49123456;", ["D+49123456"]),
        ("D123;+CLCC", ["D123", "+CLCC"]),
        ('+cusd = 1 , "*100#;a b",15', ['+CUSD=1,"*100#;a b",15']),
        ("^CURC=0;^CPIN?", ["^CURC=0", "^CPIN?"]),
        ("+CPMS=?", ["+CPMS=?"]),
    ],
)
def test_command_lines_are_cut_as_v250_says(text: str, expected: list[str]) -> None:
    assert names(text) == expected


def test_parameters_lose_quotes_and_keep_empty_places() -> None:
    command = Command(name="+X", op=Op.SET, text='"SM",,"a,b",5,')
    assert command.args == ["SM", "", "a,b", "5", ""]


@pytest.mark.parametrize("text", ["1", "+", "E0)", "+CMGF 1,2"])
def test_what_is_no_command_is_refused(text: str) -> None:
    with pytest.raises(SyntaxFault):
        syntax.parse(text)


@given(text=st.text(max_size=60))
def test_any_line_parses_or_raises_the_one_error(text: str) -> None:
    with contextlib.suppress(SyntaxFault):
        syntax.parse(text)


def test_body_starts_behind_the_first_at_after_the_last_control_character() -> None:
    assert syntax.body("AT+CGATT?") == "+CGATT?"
    assert syntax.body("\x1b") is None
    assert syntax.body("\nat") == ""
    assert syntax.body("Atb") is None
    assert syntax.body(f"{HELLO}\x1aAT+CSQ") == "+CSQ"
    assert syntax.body(f"{HELLO}AT+CSQ") == "+CSQ"


# ---------------------------------------------------------------- the line


def test_echo_is_on_at_power_up_and_obeys(tmp_path: Path) -> None:
    bench = OneModem(tmp_path, echo=True)
    assert bench.type(b"AT\r") == "AT\r\r\nOK\r\n"
    assert bench.type(b"ATE0\r") == "ATE0\r\r\nOK\r\n"
    assert bench.type(b"AT\r") == "\r\nOK\r\n"
    for back in ("ATZ", "AT&F"):
        bench.say("ATE0")
        bench.say(back)
        assert bench.type(b"AT\r") == "AT\r\r\nOK\r\n"


def test_octets_one_at_a_time_give_the_same_answer(tmp_path: Path) -> None:
    bench = OneModem(tmp_path, echo=True)
    whole = bench.type(b"AT+CMEE=1;+CSQ\r")
    single = "".join(bench.type(bytes((octet,))) for octet in b"AT+CMEE=1;+CSQ\r")
    assert whole == single == "AT+CMEE=1;+CSQ\r\r\n+CSQ: 20,99\r\n\r\nOK\r\n"


@pytest.mark.parametrize("junk", [b"\x1b\r", b"\r", b"\n", b"\x1a\r", HELLO.encode() + b"\x1a\r"])
def test_junk_at_idle_is_swallowed_silently(bench: OneModem, junk: bytes) -> None:
    assert bench.type(junk) == ""
    assert bench.say("AT") == "OK"


def test_first_failure_ends_a_chain_and_earlier_effects_stay(bench: OneModem) -> None:
    assert bench.say("AT+CRC=1;+NONSENSE;+CRC=0") == "ERROR"
    assert bench.lines("AT+CRC?") == ["+CRC: 1", "OK"]


def test_slash_repeats_the_last_line_without_return(bench: OneModem) -> None:
    bench.say("AT+CSQ")
    assert bench.type(b"A/") == "\r\n+CSQ: 20,99\r\n\r\nOK\r\n"


def test_backspace_takes_a_character_back(bench: OneModem) -> None:
    assert bench.lines("AT+CSX\bQ") == ["+CSQ: 20,99", "OK"]


def test_numeric_and_quiet_results(bench: OneModem) -> None:
    assert bench.type(b"ATV0\r") == "0\r"
    assert bench.type(b"AT+CSQ\r") == "+CSQ: 20,99\r\n0\r"
    assert bench.type(b"AT+NONSENSE\r") == "4\r"
    assert bench.type(b"ATV1\r") == "\r\nOK\r\n"
    assert bench.type(b"ATQ1\r") == ""
    assert bench.type(b"AT+CSQ\r") == "\r\n+CSQ: 20,99\r\n"
    assert bench.type(b"ATQ0\r") == "\r\nOK\r\n"


def test_overlong_line_is_an_error(bench: OneModem) -> None:
    assert bench.say("AT+CMEE=" + "1" * 600) == "ERROR"
    assert bench.type(b"x" * 100_000) == ""
    assert bench.type(b"\r") == ""
    assert bench.say("AT") == "OK"


@pytest.mark.parametrize(
    "line",
    ["AT&F", "ATX4", "AT&C1", "AT&D2", "AT\\Q3", "ATI", "ATH", "ATZ", "ATS0=0", "AT+IFC=2,2",
     "AT+IPR=115200", "at+csq", "AT + CSQ", "ATE0V1Q0 +CMEE=1"],
)  # fmt: skip
def test_commands_that_every_client_sends_end_with_ok(bench: OneModem, line: str) -> None:
    assert bench.say(line).endswith("OK")


def test_error_detail_follows_cmee(bench: OneModem) -> None:
    for level, said in (
        ("0", "ERROR"),
        ("1", "+CME ERROR: 50"),
        ("2", "+CME ERROR: incorrect parameters"),
    ):
        bench.say(f"AT+CMEE={level}")
        assert bench.say("AT+CLIP=7") == said


def test_each_answer_is_one_write(bench: OneModem) -> None:
    bench.modem.receive(b"AT+CSQ\r")
    assert bench.terminal.writes == [b"\r\n+CSQ: 20,99\r\n\r\nOK\r\n"]


def test_input_while_busy_waits_for_its_turn(bench: OneModem) -> None:
    bench.prepare()
    said = bench.type(b"AT+CMGS=24\r") + bench.type(HELLO.encode() + b"\x1aAT+CSQ\r")
    assert said == "\r\n> "
    assert bench.wait(1.1) == "\r\n+CMGS: 0\r\n\r\nOK\r\n\r\n+CSQ: 20,99\r\n\r\nOK\r\n"


def test_an_octet_aborts_a_scan_and_is_swallowed(bench: OneModem) -> None:
    assert bench.type(b"AT+COPS=?\r") == ""
    # Within 125 ms it does not abort. Source: V.250 §5.6.1.
    bench.wait(0.1)
    assert bench.type(b"\r") == ""
    bench.wait(0.1)
    assert bench.type(b"A") == "\r\nOK\r\n"
    assert bench.wait(5) == ""
    assert bench.say("AT") == "OK"


def test_a_scan_takes_its_time(bench: OneModem) -> None:
    assert bench.type(b"AT+COPS=?\r") == ""
    assert bench.wait(3).endswith("\r\n\r\nOK\r\n")


# ---------------------------------------------------------------- the prompt


def test_prompt_is_four_octets_and_escape_answers_ok(bench: OneModem) -> None:
    bench.prepare()
    assert bench.type(b"AT+CMGS=24\r") == "\r\n> "
    assert bench.type(HELLO.encode()) == ""
    assert bench.type(b"\x1b") == "\r\nOK\r\n"
    assert bench.ledger.read(kind="submit") == []


def test_payload_is_echoed_where_echo_is_on(tmp_path: Path) -> None:
    bench = OneModem(tmp_path, echo=True)
    bench.type(b"AT+CMGF=0\r")
    assert bench.type(b"AT+CMGS=24\r") == "AT+CMGS=24\r\r\n> "
    assert bench.type(HELLO.encode() + b"\x1a") == f"{HELLO}\x1a"


def test_prompt_without_input_expires(bench: OneModem) -> None:
    bench.prepare()
    bench.type(b"AT+CMGS=24\r")
    assert bench.wait(61) == "\r\n+CMS ERROR: 304\r\n"
    assert bench.say("AT") == "OK"


@pytest.mark.parametrize("length", [23, 25])
def test_wrong_length_is_refused(bench: OneModem, length: int) -> None:
    bench.prepare()
    assert bench.submit(length=length) == "\r\n> \r\n+CMS ERROR: 304\r\n"
    assert bench.ledger.read(kind="submit") == []


@pytest.mark.parametrize("pdu", ["zz", "00", "0" * 49, HELLO[:-1] + "x"])
def test_what_is_no_pdu_is_refused(bench: OneModem, pdu: str) -> None:
    bench.prepare()
    assert bench.submit(pdu=pdu) == "\r\n> \r\n+CMS ERROR: 304\r\n"


@pytest.mark.parametrize("length", ["", "0", "165", "x"])
def test_impossible_length_gets_no_prompt(bench: OneModem, length: str) -> None:
    bench.prepare()
    assert bench.say(f"AT+CMGS={length}") == "+CMS ERROR: 304"


def test_no_urc_comes_between_prompt_and_result(bench: OneModem) -> None:
    bench.prepare("2,2,0,1,0")
    bench.type(b"AT+CMGS=24\r")
    bench.network.send_text(to=bench.card, origin="10086", text="now")
    assert bench.wait(0.5) == ""
    said = bench.type(HELLO.encode() + b"\x1a") + bench.wait(1.1)
    assert said.startswith("\r\n+CMGS: 0\r\n\r\nOK\r\n\r\n+CMT: ,")


def test_text_mode_asks_again_after_each_return(bench: OneModem) -> None:
    bench.say("AT+CMGF=1")
    assert bench.type(b'AT+CMGS="+8613900000001"\r') == "\r\n> "
    assert bench.type(b"one\rtwo") == "\r\n> "
    assert bench.type(b"\x1a") + bench.wait(1.1) == "\r\n+CMGS: 0\r\n\r\nOK\r\n"
    (sent,) = bench.ledger.read(kind="submit")
    assert sent["text"] == "one\ntwo"


@given(cuts=st.lists(st.integers(1, 60), max_size=8))
def test_any_split_of_the_octets_gives_the_same_dialogue(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int]
) -> None:
    bench = OneModem(tmp_path_factory.mktemp("split"), latency=0)
    octets = b"AT+CMGF=0\rAT+CMGS=24\r" + HELLO.encode() + b"\x1a\rAT+CSQ\r"
    said = ""
    for cut in cuts:
        said += bench.type(octets[:cut])
        octets = octets[cut:]
    said += bench.type(octets)
    assert said == ("\r\nOK\r\n\r\n> \r\n+CMGS: 0\r\n\r\nOK\r\n\r\n+CSQ: 20,99\r\n\r\nOK\r\n")
    bench.ledger.close()
