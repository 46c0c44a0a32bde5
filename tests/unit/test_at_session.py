"""The state machine of one AT link: bytes and time in, events out."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from drivers.at.command import Bare, Command, Final, Finals, asking, by_hand, plain, secret
from drivers.at.framer import BARE_PROMPT_SILENCE
from drivers.at.questions import Fact, Question, questions_about
from drivers.at.session import (
    BARE_END_SILENCE,
    CANCEL_TIMEOUT,
    DRAIN,
    QUESTIONS_A_ROUND,
    REALIGN_GRACE,
    Aligned,
    Completed,
    EchoSeen,
    Event,
    Expired,
    GaveUp,
    PromptUp,
    Session,
    Stray,
    Urc,
)
from drivers.at.states import TABLE, Input, State
from drivers.at.urcs import SHARED
from drivers.at.values import is_registration_answer
from drivers.errors import OutOfStep

PDU = "0791947101670000040C9194712143658700C862111222436540053190BB7C07"
CSQ = asking("AT+CSQ")
CMGS = asking("AT+CMGS=24", timeout=10.0)
FACTS = [
    Fact(text=text, is_told_by=lambda line, answer=answer: line == answer)
    for text, answer in {"AT+CGSN": "490154203237518", "AT+CGMM": "EC25"}.items()
]
QUESTIONS = questions_about(FACTS)

Feed = Callable[[Session, bytes], None]


def whole(session: Session, data: bytes) -> None:
    session.receive_data(data, 1.0)


def byte_by_byte(session: Session, data: bytes) -> None:
    for at in range(len(data)):
        session.receive_data(data[at : at + 1], 1.0)


both_ways = pytest.mark.parametrize("feed", [whole, byte_by_byte])


def started(command: Command) -> Session:
    session = Session(SHARED)
    session.send(command, 0.0)
    assert session.data_to_send() == command.text.encode() + b"\r"
    return session


def at_prompt() -> Session:
    session = Session(SHARED)
    session.submit(CMGS, 0.0)
    session.receive_data(b"\r\n> ", 0.1)
    assert events(session) == [PromptUp()]
    session.data_to_send()
    return session


def submitted() -> Session:
    session = at_prompt()
    session.supply(b"00ABCD", 0.2, timeout=180.0)
    assert session.data_to_send() == b"00ABCD\x1a"
    return session


def out_of_step(command: Command = CSQ) -> Session:
    session = started(command)
    session.tick(command.timeout)
    assert isinstance(session.next_event(), Expired)
    return session


def events(session: Session) -> list[Event]:
    found = []
    while (event := session.next_event()) is not None:
        found.append(event)
    return found


def completed(session: Session) -> tuple[list[str], str]:
    (event,) = events(session)
    assert isinstance(event, Completed)
    return [line.text for line in event.lines], event.final.text


# ---------------------------------------------------------------- the table


def test_table_names_every_state() -> None:
    assert set(TABLE) == set(State)


def test_every_state_is_reached_and_every_input_is_used() -> None:
    moves = [(by, to) for row in TABLE.values() for by, to in row.items()]
    assert {to for _, to in moves} == set(State)
    assert {by for by, _ in moves} == set(Input)


def test_out_of_step_only_realignment_or_the_end_may_follow() -> None:
    assert set(TABLE[State.OUT_OF_STEP]) == {Input.REALIGN, Input.EXPIRED, Input.CLOSE}


# ---------------------------------------------------------------- answers


ANSWERS: list[tuple[str, Command, bytes, list[str], str]] = [
    ("prefix", CSQ, b"\r\n+CSQ: 20,99\r\n\r\nOK\r\n", ["+CSQ: 20,99"], "OK"),
    ("prefix in lower case", CSQ, b"\r\n+csq: 20,99\r\n\r\nOK\r\n", ["+csq: 20,99"], "OK"),
    ("echo", CSQ, b"AT+CSQ\r\r\n+CSQ: 20,99\r\n\r\nOK\r\n", ["+CSQ: 20,99"], "OK"),
    ("error", CSQ, b"\r\nERROR\r\n", [], "ERROR"),
    ("Huawei unknown", CSQ, b"\r\nCOMMAND NOT SUPPORT\r\n", [], "COMMAND NOT SUPPORT"),
    ("coded error", CSQ, b"\r\n+CME ERROR: 14\r\n", [], "+CME ERROR: 14"),
    (
        "IMEI among noise",
        Command(text="AT+CGSN", shown="AT+CGSN", bare=Bare.IMEI),
        b"\r\n^RSSI:18\r\n\r\n490154203237518\r\n\r\n^RSSI:19\r\n\r\nOK\r\n",
        ["490154203237518"],
        "OK",
    ),
    (
        "IMSI",
        Command(text="AT+CIMI", shown="AT+CIMI", bare=Bare.DIGITS),
        b"\r\n+CIEV: 1\r\n\r\n262011234567890\r\n\r\nOK\r\n",
        ["262011234567890"],
        "OK",
    ),
    (
        "model that starts like a command",
        Command(text="AT+CGMM", shown="AT+CGMM", bare=Bare.TEXT),
        b"AT+CGMM\r\r\nATLAS 5\r\n\r\nOK\r\n",
        ["ATLAS 5"],
        "OK",
    ),
    (
        "bare ICCID of SIM800",
        Command(text="AT+CCID", shown="AT+CCID", bare=Bare.ICCID),
        b"\r\n8949012345678901234f\r\n\r\nOK\r\n",
        ["8949012345678901234f"],
        "OK",
    ),
    (
        "dialling",
        Command(text="ATD1;", shown="ATD", finals=Finals.CALL),
        b"\r\nNO CARRIER\r\n",
        [],
        "NO CARRIER",
    ),
    (
        "data call",
        Command(text="ATD1", shown="ATD", finals=Finals.CALL),
        b"\r\nCONNECT 115200\r\n",
        [],
        "CONNECT 115200",
    ),
    (
        "by hand",
        by_hand("AT+XYZ?", timeout=5.0),
        b"AT+XYZ?\r\r\nwhatever 1\r\n\r\nATX\r\n\r\nOK\r\n",
        ["whatever 1", "ATX"],
        "OK",
    ),
]


@both_ways
@pytest.mark.parametrize(
    ("command", "data", "lines", "final"),
    [case[1:] for case in ANSWERS],
    ids=[c[0] for c in ANSWERS],
)
def test_answer_is_told_from_noise(
    command: Command, data: bytes, lines: list[str], final: str, feed: Feed
) -> None:
    session = started(command)
    feed(session, data)
    got = [event for event in events(session) if isinstance(event, Completed)]
    assert [line.text for line in got[0].lines] == lines
    assert got[0].final.text == final
    assert session.state is State.IDLE
    assert session.deadline is None


def test_numbers_of_errors_are_read() -> None:
    session = started(CSQ)
    session.receive_data(b"\r\n+CMS ERROR: 38\r\n", 1.0)
    (event,) = events(session)
    assert isinstance(event, Completed)
    assert (event.final.cms, event.final.cme, event.final.is_ok) == (38, None, False)


# The words are the standards' (TS 27.007 §9.2, TS 27.005 §3.2.5), as modems that go on telling
# words wrote them; the shapes are those of simulators that are not ours.
@pytest.mark.parametrize(
    ("line", "cme", "cms"),
    [
        ("+CME ERROR: SIM busy", 14, None),
        ("+CME ERROR:sim PIN  Required.", 11, None),
        ("+CME ERROR: incorrect password", 16, None),
        ("+CMS ERROR: (U)SIM PUK required", None, 316),
        ("+CMS ERROR: Invalid memory index", None, 321),
        ("+CME ERROR 10", 10, None),
        ("+CMS ERROR : 38", None, 38),
        ("+CME ERROR: 9999999", None, None),
        ("+CME ERROR: no such command", None, None),
        ("+CMS ERROR: destination out of order", None, None),  # the network's words are no proof
        ("+CMS ERROR:", None, None),
        ("ERROR: UNKNOWN", None, None),
        ("error", None, None),
    ],
)
def test_an_error_ends_its_command_and_tells_its_number(
    line: str, cme: int | None, cms: int | None
) -> None:
    session = started(CSQ)
    session.receive_data(f"\r\n{line}\r\n".encode(), 1.0)
    (event,) = events(session)
    assert isinstance(event, Completed)
    assert event.final == Final(text=line, is_ok=False, cme=cme, cms=cms)


@both_ways
def test_no_carrier_ends_no_other_command(feed: Feed) -> None:
    session = started(CSQ)
    feed(session, b"\r\nNO CARRIER\r\n\r\n+CSQ: 1,99\r\n\r\nOK\r\n")
    urc, answer = events(session)
    assert urc == Urc(head="NO CARRIER")
    assert isinstance(answer, Completed)


@both_ways
def test_urc_of_the_same_name_is_told_from_the_answer(feed: Feed) -> None:
    command = Command(
        text="AT+CREG?", shown="AT+CREG?", prefixes=("+CREG:",), accepts=is_registration_answer
    )
    session = started(command)
    feed(session, b'\r\n+CREG: 1,"CE00","5449"\r\n\r\n+CREG: 2,1,"CE00","5449"\r\n\r\nOK\r\n')
    urc, answer = events(session)
    assert urc == Urc(head='+CREG: 1,"CE00","5449"')
    assert isinstance(answer, Completed)
    assert [line.text for line in answer.lines] == ['+CREG: 2,1,"CE00","5449"']


LIST = Command(text="AT+CMGL=4", shown="AT+CMGL=4", prefixes=("+CMGL:",), has_payload=True)


@both_ways
def test_listed_message_takes_its_hex_line(feed: Feed) -> None:
    session = started(LIST)
    feed(session, f"\r\n+CMGL: 1,0,,24\r\n{PDU}\r\n+CMGL: 2,1,,24\r\n{PDU}\r\n\r\nOK\r\n".encode())
    (event,) = events(session)
    assert isinstance(event, Completed)
    assert [line.payload for line in event.lines] == [PDU, PDU]


@both_ways
def test_delivery_between_two_listed_messages_keeps_its_own_hex_line(feed: Feed) -> None:
    session = started(LIST)
    feed(
        session,
        f"\r\n+CMGL: 1,0,,24\r\n\r\n+CMT: ,24\r\nAA{PDU[2:]}\r\n{PDU}\r\n\r\nOK\r\n".encode(),
    )
    urc, answer = events(session)
    assert urc == Urc(head="+CMT: ,24", payload=f"AA{PDU[2:]}")
    assert isinstance(answer, Completed)
    assert answer.lines[0].payload == PDU


@both_ways
def test_listed_message_without_its_hex_line_stays_without(feed: Feed) -> None:
    session = started(LIST)
    feed(session, b"\r\n+CMGL: 1,0,,24\r\nnot hex\r\n\r\nOK\r\n")
    event = events(session)[-1]
    assert isinstance(event, Completed)
    assert event.lines[0].payload is None


# ---------------------------------------------------------------- by itself


@both_ways
def test_delivery_split_anywhere_is_one_event(feed: Feed) -> None:
    session = Session(SHARED)
    feed(session, f"\r\n+CMT: ,24\r\n\r\n{PDU}\r\n".encode())
    assert events(session) == [Urc(head="+CMT: ,24", payload=PDU)]


@both_ways
def test_delivery_that_lost_its_hex_line_takes_no_other(feed: Feed) -> None:
    session = Session(SHARED)
    feed(session, b"\r\n+CDS: 25\r\n\r\nRING\r\n")
    assert events(session) == [Urc(head="+CDS: 25"), Urc(head="RING")]


@both_ways
def test_menu_of_several_lines_is_one_event(feed: Feed) -> None:
    """Its lines are no results, whatever they say."""
    session = started(CSQ)
    feed(session, b'\r\n+CUSD: 1,"1 Balance\nOK\n2 Number\r\nERROR",15\r\n\r\n')
    feed(session, b"+CSQ: 1,99\r\n\r\nOK\r\n")
    urc, answer = events(session)
    assert urc == Urc(head='+CUSD: 1,"1 Balance\nOK\n2 Number\nERROR",15')
    assert isinstance(answer, Completed)
    assert [line.text for line in answer.lines] == ["+CSQ: 1,99"]


@both_ways
def test_text_with_a_quote_of_its_own_takes_no_result(feed: Feed) -> None:
    session = started(Command(text="AT+CFUN=1", shown="AT+CFUN=1"))
    feed(session, b'\r\n+CUSD: 0,"Plan 5" for 3",15\r\n\r\nOK\r\n')
    urc, answer = events(session)
    assert urc == Urc(head='+CUSD: 0,"Plan 5" for 3",15')
    assert isinstance(answer, Completed)


@both_ways
def test_text_that_lost_its_end_takes_no_answer_and_no_other_event(feed: Feed) -> None:
    session = started(CSQ)
    feed(session, b'\r\n+CUSD: 0,"lost\r\n\r\n+CSQ: 1,99\r\n\r\nOK\r\n')
    urc, answer = events(session)
    assert urc == Urc(head='+CUSD: 0,"lost')
    assert isinstance(answer, Completed)
    feed(session, b'\r\n+CUSD: 0,"lost\r\n\r\nRING\r\n')
    assert events(session) == [Urc(head='+CUSD: 0,"lost'), Urc(head="RING")]


def test_text_without_end_is_given_up() -> None:
    session = Session(SHARED)
    whole(session, b'+CUSD: 0,"' + b"more of it\r\n" * 200)
    assert len(events(session)[0].head) <= 1024


def test_final_result_that_nobody_waits_for_is_a_stray() -> None:
    session = Session(SHARED)
    whole(session, b"\r\nOK\r\n")
    assert events(session) == [Stray(text="OK")]


def test_over_long_line_is_a_stray() -> None:
    session = Session(SHARED)
    whole(session, b"x" * 5000 + b"\r\n")
    (event,) = events(session)
    assert isinstance(event, Stray)


def test_unknown_line_is_told_as_such() -> None:
    session = Session(SHARED)
    whole(session, b"\r\n*PSUTTZ: 1\r\n")
    assert events(session) == [Urc(head="*PSUTTZ: 1", is_known=False)]


def test_echo_is_told() -> None:
    session = started(CSQ)
    whole(session, b"AT+CSQ\r")
    assert events(session) == [EchoSeen()]


def test_command_line_nobody_sent_is_no_echo_when_idle() -> None:
    session = Session(SHARED)
    whole(session, b"ATLANTIS\r\n")
    assert events(session) == [Urc(head="ATLANTIS", is_known=False)]


# ---------------------------------------------------------------- deadlines


def test_deadline_is_absolute_whatever_comes_by_itself() -> None:
    session = started(CSQ)
    for second in range(5):
        session.receive_data(b"\r\nRING\r\n", float(second))
        assert session.deadline == 5.0
    session.tick(4.999)
    assert session.state is State.BUSY
    session.tick(5.0)
    assert session.state is State.OUT_OF_STEP
    assert events(session)[-1] == Expired(command=CSQ, phase=State.BUSY)


def test_nothing_may_be_sent_out_of_step() -> None:
    session = out_of_step()
    with pytest.raises(OutOfStep):
        session.send(CSQ, 9.0)
    with pytest.raises(OutOfStep):
        session.submit(CMGS, 9.0)
    assert session.data_to_send() == b""


def test_second_command_before_the_answer_is_refused() -> None:
    session = started(CSQ)
    with pytest.raises(OutOfStep):
        session.send(CSQ, 0.1)


def test_answer_without_ok_is_complete_after_silence_where_the_family_says_so() -> None:
    session = started(Command(text="AT+CPIN?", shown="x", prefixes=("+CPIN:",), ends_bare=True))
    session.receive_data(b"\r\n+CPIN: READY\r\n", 1.0)
    assert session.deadline == 1.0 + BARE_END_SILENCE
    session.tick(1.0 + BARE_END_SILENCE)
    assert completed(session) == (["+CPIN: READY"], "")


def test_ok_still_ends_an_answer_that_may_lack_it() -> None:
    session = started(Command(text="AT+CPIN?", shown="x", prefixes=("+CPIN:",), ends_bare=True))
    session.receive_data(b"\r\n+CPIN: READY\r\n\r\nOK\r\n", 1.0)
    assert completed(session) == (["+CPIN: READY"], "OK")
    session.tick(9.0)
    assert events(session) == []


# ---------------------------------------------------------------- the prompt


@both_ways
@pytest.mark.parametrize("prompt", [b"\r\n> ", b"> ", b"\r\n>\r\n", b'\r\n+CMTI: "SM",1\r\n\r\n> '])
def test_prompt_leads_to_the_payload_in_one_write(prompt: bytes, feed: Feed) -> None:
    session = Session(SHARED)
    session.submit(CMGS, 0.0)
    session.data_to_send()
    feed(session, prompt)
    assert events(session)[-1] == PromptUp()
    assert session.deadline is None
    session.supply(b"0011", 5.0, timeout=180.0)
    assert session.data_to_send() == b"0011\x1a"
    assert session.deadline == 185.0


def test_bare_prompt_is_believed_after_silence() -> None:
    session = Session(SHARED)
    session.submit(CMGS, 0.0)
    session.receive_data(b"\r\n>", 1.0)
    assert session.deadline == 1.0 + BARE_PROMPT_SILENCE
    session.tick(1.0 + BARE_PROMPT_SILENCE)
    assert events(session) == [PromptUp()]


def test_refusal_instead_of_the_prompt_ends_the_command() -> None:
    session = Session(SHARED)
    session.submit(CMGS, 0.0)
    whole(session, b"\r\n+CMS ERROR: 302\r\n")
    assert completed(session) == ([], "+CMS ERROR: 302")
    assert session.state is State.IDLE


def test_ok_instead_of_the_prompt_is_another_commands() -> None:
    session = Session(SHARED)
    session.submit(CMGS, 0.0)
    whole(session, b"\r\nOK\r\n")
    assert events(session) == [Stray(text="OK")]
    assert session.state is State.PROMPTING


def test_missing_prompt_puts_the_link_out_of_step() -> None:
    session = Session(SHARED)
    session.submit(CMGS, 0.0)
    session.tick(10.0)
    assert events(session) == [Expired(command=CMGS, phase=State.PROMPTING)]
    assert session.state is State.OUT_OF_STEP


def test_greater_sign_is_no_prompt_for_any_other_command() -> None:
    session = started(CSQ)
    whole(session, b"\r\n> \r\n+CSQ: 3,99\r\n\r\nOK\r\n")
    assert isinstance(events(session)[-1], Completed)


@both_ways
def test_result_with_reference_follows_the_payload(feed: Feed) -> None:
    session = submitted()
    feed(session, b'\r\n+CMTI: "SM",1\r\n\r\n+CMGS: 41\r\n\r\nOK\r\n')
    urc, answer = events(session)
    assert urc == Urc(head='+CMTI: "SM",1')
    assert isinstance(answer, Completed)
    assert [line.text for line in answer.lines] == ["+CMGS: 41"]


@both_ways
def test_echoed_payload_is_no_answer(feed: Feed) -> None:
    session = submitted()
    feed(session, b"00ABCD\x1a\r\n\r\n+CMGS: 41\r\n\r\nOK\r\n")
    echo, answer = events(session)
    assert echo == EchoSeen()
    assert isinstance(answer, Completed)


def test_silence_after_the_payload_expires_as_submitted() -> None:
    session = submitted()
    session.tick(180.2)
    assert events(session) == [Expired(command=CMGS, phase=State.SUBMITTED)]


@pytest.mark.parametrize("final", ["OK", "ERROR"])
def test_escape_withholds(final: str) -> None:
    session = at_prompt()
    session.cancel(1.0)
    assert session.data_to_send() == b"\x1b"
    whole(session, f"\r\n{final}\r\n".encode())
    assert completed(session) == ([], final)
    assert session.state is State.IDLE


def test_unanswered_escape_puts_the_link_out_of_step() -> None:
    session = at_prompt()
    session.cancel(1.0)
    session.tick(1.0 + CANCEL_TIMEOUT)
    assert session.state is State.OUT_OF_STEP


def test_prompt_that_the_modem_withdraws_ends_the_command() -> None:
    session = at_prompt()
    whole(session, b"\r\n+CMS ERROR: 500\r\n")
    assert completed(session) == ([], "+CMS ERROR: 500")
    with pytest.raises(OutOfStep):
        session.supply(b"00", 1.0, timeout=1.0)


def test_reference_before_the_payload_is_a_late_one() -> None:
    session = at_prompt()
    whole(session, b"\r\n+CMGS: 40\r\n")
    assert events(session) == [Urc(head="+CMGS: 40")]


# ---------------------------------------------------------------- out of step


def test_late_answer_is_dropped_and_known_lines_are_still_told() -> None:
    session = out_of_step()
    whole(session, b'\r\n+CSQ: 20,99\r\n\r\nOK\r\n\r\n+CMTI: "SM",3\r\n\r\nRING\r\n')
    assert events(session) == [Urc(head='+CMTI: "SM",3'), Urc(head="RING")]


def test_late_answer_that_looks_like_a_urc_is_dropped() -> None:
    session = out_of_step(asking("AT+CPIN?"))
    whole(session, b"\r\n+CPIN: READY\r\n")
    assert events(session) == []


def test_lines_before_the_deadline_are_among_the_dropped() -> None:
    session = started(CSQ)
    whole(session, b"\r\n+CSQ: 20,99\r\n")
    session.tick(5.0)
    session.realign(QUESTIONS, 5.0)
    session.tick(5.0 + DRAIN)
    whole(session, b"\r\n490154203237518\r\n\r\nOK\r\n")
    assert events(session)[-1] == Aligned(dropped=("+CSQ: 20,99",))


@both_ways
def test_realignment_sends_escape_then_one_question(feed: Feed) -> None:
    session = out_of_step()
    session.realign(QUESTIONS, 10.0)
    assert session.data_to_send() == b"\x1b"
    feed(session, b"\r\nOK\r\n")  # the answer to ESC
    session.tick(10.0 + DRAIN)
    assert session.data_to_send() == b"AT+CGSN\r"
    feed(session, b"AT+CGSN\r\r\n490154203237518\r\n\r\nOK\r\n")
    assert events(session) == [EchoSeen(), Aligned(dropped=("OK",))]
    assert session.state is State.IDLE
    session.send(CSQ, 20.0)


def test_only_the_answer_to_the_latest_question_is_believed() -> None:
    session = out_of_step()
    session.realign(QUESTIONS, 10.0)
    session.tick(11.0)
    session.tick(14.0)
    session.data_to_send()
    whole(session, b"\r\n490154203237518\r\n\r\nOK\r\n")  # to the first
    assert events(session) == []
    whole(session, b"\r\nEC25\r\n\r\nERROR\r\n")  # not in this way
    whole(session, b"\r\nOK\r\n")
    assert events(session) == []
    whole(session, b"\r\nEC25\r\n\r\nRING\r\n\r\nOK\r\n")
    assert isinstance(events(session)[-1], Aligned)


def test_late_reference_comes_out_with_the_dropped_lines() -> None:
    session = submitted()
    session.tick(181.0)
    session.realign(QUESTIONS, 181.0)
    whole(session, b"\r\n+CMGS: 41\r\n\r\nOK\r\n")
    session.tick(182.0)
    whole(session, b"\r\n490154203237518\r\n\r\nOK\r\n")
    assert events(session)[-1] == Aligned(dropped=("+CMGS: 41", "OK"))


def test_control_z_is_never_part_of_a_recovery() -> None:
    session = submitted()
    session.data_to_send()
    session.tick(181.0)
    sent = b""
    for round_at in (200.0, 300.0, 400.0):
        session.realign(QUESTIONS, round_at)
        for second in range(60):
            session.tick(round_at + second)
            sent += session.data_to_send()
    assert b"\x1b" in sent
    assert b"\x1a" not in sent


def test_no_question_is_asked_twice_before_the_link_is_in_step() -> None:
    session = out_of_step()
    asked: list[bytes] = []
    for round_at in (100.0, 200.0, 300.0):
        session.realign(QUESTIONS, round_at)
        for second in range(60):
            session.tick(round_at + second)
            asked += [line for line in session.data_to_send().split(b"\r") if b"AT" in line]
    assert asked == [b"AT+CGSN", b"AT+CGMM", b"AT+CGSN;+CGMM", b"AT+CGMM;+CGSN"]
    assert len(asked) == QUESTIONS_A_ROUND
    assert session.state is State.OUT_OF_STEP
    assert isinstance(events(session)[-1], GaveUp)


def test_question_of_two_facts_wants_both_in_order() -> None:
    session = out_of_step()
    session.realign([QUESTIONS[2]], 10.0)
    session.tick(11.0)
    whole(session, b"\r\nEC25\r\n\r\n490154203237518\r\n\r\nOK\r\n")
    assert events(session) == []
    whole(session, b"\r\n490154203237518\r\n\r\nEC25\r\n\r\nOK\r\n")
    assert isinstance(events(session)[-1], Aligned)


def test_question_is_never_the_command_that_was_given_up() -> None:
    session = out_of_step(asking("AT+CGSN"))
    session.realign(QUESTIONS, 10.0)
    session.tick(11.0)
    assert session.data_to_send() == b"\x1bAT+CGMM\r"


def test_unknown_modem_is_in_step_after_ok_and_silence() -> None:
    session = Session(SHARED)
    session.realign([Question(text="AT", timeout=1.0)], 0.0, quiet=0.1, drain=0.1)
    session.tick(0.1)
    session.receive_data(b"\r\nOK\r\n", 0.2)
    session.receive_data(b"\r\nsomebody else's\r\n", 0.25)
    session.tick(0.3)
    assert session.state is State.REALIGNING
    session.tick(0.35)
    assert events(session) == [Aligned(dropped=("somebody else's",))]


def test_noise_without_end_ends_a_realignment() -> None:
    session = Session(SHARED)
    session.realign([Question(text="AT", timeout=1.0)], 0.0, quiet=0.1, drain=0.0)
    session.tick(0.0)
    now = 0.1
    session.receive_data(b"\r\nOK\r\n", now)
    while session.state is State.REALIGNING:
        now += 0.05
        assert now < 2 * REALIGN_GRACE
        session.receive_data(b"$GPGGA,1,2\r\n", now)
        session.tick(now)
    assert isinstance(events(session)[-1], GaveUp)


def test_cut_line_out_of_step_is_dropped() -> None:
    session = out_of_step()
    whole(session, b"x" * 3000 + b"\r\n")
    assert events(session) == []


def test_abandoned_command_counts_as_late() -> None:
    session = started(CSQ)
    session.abandon()
    assert session.state is State.OUT_OF_STEP
    assert isinstance(session.next_event(), Expired)


def test_abandoned_idle_link_distrusts_the_last_command() -> None:
    session = started(asking("AT+CPIN?"))
    whole(session, b"\r\nOK\r\n")
    assert isinstance(session.next_event(), Completed)
    session.abandon()
    whole(session, b"\r\n+CPIN: READY\r\n")
    assert events(session) == []
    assert session.state is State.OUT_OF_STEP


def test_fresh_link_can_be_abandoned_too() -> None:
    session = Session(SHARED)
    session.abandon()
    session.abandon()
    assert session.state is State.OUT_OF_STEP
    assert events(session) == []


def test_closed_link_takes_nothing_more() -> None:
    session = started(CSQ)
    session.close()
    session.close()
    assert session.deadline is None
    with pytest.raises(OutOfStep):
        session.send(CSQ, 1.0)


# ---------------------------------------------------------------- commands


def test_secret_never_shows() -> None:
    command = secret('AT+CPIN="1234"', "AT+CPIN=<pin>")
    assert "1234" not in repr(command)
    assert "1234" not in f"{command} {command!r}"


@pytest.mark.parametrize(
    ("text", "shown"),
    [("AT+CSQ", "AT+CSQ…"), ("at^sysinfo", "AT^SYSINFO…"), ("ATI", "AT…"), ("ATE0V1Q0", "AT…")],
)
def test_command_by_hand_shows_its_name_alone(text: str, shown: str) -> None:
    command = by_hand(text, timeout=1.0)
    assert (command.text, command.shown, command.is_private) == (text, shown, True)


def test_plain_command_expects_no_line() -> None:
    session = started(plain("ATE0"))
    whole(session, b"\r\nstray\r\n\r\nOK\r\n")
    urc, answer = events(session)
    assert urc == Urc(head="stray", is_known=False)
    assert isinstance(answer, Completed)
