"""What the guard lets pass, and what it never does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.conformance.guard import CTRL_Z, ESC, Forbidden, Guard, Permit

EVERYTHING = frozenset(Permit)


@pytest.mark.parametrize(
    "line",
    [
        "AT", "ATE0", "ATE0V1Q0", "ATE0 +CMEE=1", "at+csq", "AT+CMEE=1;+CREG?", "ATI",
        "AT+COPS=?",
        "AT+CNMI=2,1,0,2,0", 'AT+CPMS="SM","SM","SM"', "AT+CRSM=176,12258,0,0,10", "AT+CMGL=1",
        'AT+CSIM=10,"0020000100"', 'AT+CLCK="SC",2', "AT+CMGS=20", "0011000B91AT+CSQ", "AT+CGSN=1",
    ],
)  # fmt: skip
def test_questions_and_harmless_settings_pass(line: str) -> None:
    guard = Guard()
    guard.check(line.encode() + b"\r")
    assert guard.typed == [line.encode() + b"\r"]


@pytest.mark.parametrize(
    "line",
    [
        'AT+CPIN="1234"', "AT+CPIN=1234", 'at+cpin="1234"', 'AT +CPIN = "1234"',
        'AT+CMEE=1;+CPIN="1234"', 'ATE0+CPIN="1234"', 'AT+CLCK="SC",1,"1234"',
        'AT+CLCK="SC",0,"1234"', 'AT+CPWD="SC","1234","4321"', "ATD+8613800000001;", "ATE0D112;",
        "ATA", "ATH", "ATZ", "AT&F", "AT&W", "AT+CMSS=1", 'AT+CMGS="+8613800000001"', "AT+CMGC=5",
        "AT+QCMGS=1", "AT+UCMGS=1", "AT+CMGL=0", "AT+CMGL=4", "AT+CMGD=1", "AT+CMGD=1,4",
        "AT+CFUN=0", "AT+CFUN=1,1", "AT+CFUN=4", 'AT+CUSD=1,"*100#",15', "AT+COPS=2", "AT+COPS=0",
        'AT+CSCA="+86138"', "AT+CRSM=214,28423,0,0,9", "AT+CRSM=220,28480,1,4,28",
        'AT+CSIM=26,"0020000108313233344646464646"', 'AT+CSIM=10,"0024000100"', "AT^RESET",
        "AT^U2DIAG=0", "AT+QPOWD=1", "AT+NOTONTHELIST", "AT$QCFG=1", "AT%IRESET",
    ],
)  # fmt: skip
@pytest.mark.parametrize("permits", [frozenset(), EVERYTHING], ids=["bare", "all flags"])
def test_what_acts_is_never_typed_by_oversight(line: str, permits: frozenset[Permit]) -> None:
    guard = Guard(permits)
    with pytest.raises(Forbidden):
        guard.check(line.encode() + b"\r")
    assert guard.typed == []


@given(st.text(alphabet='ATat+^=?"1;,CPIMGSDLKWU ', max_size=24))
def test_no_spelling_of_a_pin_a_call_or_a_text_passes(tail: str) -> None:
    guard = Guard()
    for start in ('+CPIN="1234"', "D112;", '+CLCK="SC",1,"1234"', "+CMSS=1"):
        with pytest.raises(Forbidden):
            guard.check(f"AT{start};{tail}\r".encode())


def test_ctrl_z_passes_alone_and_only_before_any_prompt() -> None:
    guard = Guard(EVERYTHING)
    guard.check(CTRL_Z + b"\r")
    for data in (CTRL_Z, b"AT" + CTRL_Z, b"0011" + CTRL_Z):
        with pytest.raises(Forbidden):
            guard.check(data)
    guard.check(b"AT+CMGS=20\r")
    guard.check(ESC)
    guard.prompt_is_over()
    with pytest.raises(Forbidden):
        guard.check(CTRL_Z + b"\r")


def test_a_text_leaves_once_at_its_own_prompt_letter_by_letter() -> None:
    guard = Guard(frozenset({Permit.SEND}))
    guard.announce_payload("+CMGS", b"0011")
    with pytest.raises(Forbidden):
        guard.check(b"0011" + CTRL_Z)
    guard.check(b"AT+CMGS=20\r")
    with pytest.raises(Forbidden):
        guard.check(b"0012" + CTRL_Z)
    guard.check(b"0011" + CTRL_Z)
    with pytest.raises(Forbidden):
        guard.check(b"0011" + CTRL_Z)


@pytest.mark.parametrize("prompt", ["+CMGS", "+CMGW"])
def test_no_text_is_announced_without_its_flag(prompt: str) -> None:
    other = Permit.WRITE if prompt == "+CMGS" else Permit.SEND
    with pytest.raises(Forbidden):
        Guard(frozenset({other, Permit.PIN})).announce_payload(prompt, b"0011")


def test_a_pin_is_typed_once_and_only_with_its_flag() -> None:
    line = 'AT+CPIN="1234"'
    with pytest.raises(Forbidden):
        Guard(frozenset({Permit.SEND})).announce_line(Permit.PIN, line)
    guard = Guard(frozenset({Permit.PIN}))
    guard.announce_line(Permit.PIN, line)
    with pytest.raises(Forbidden):
        guard.check(b'AT+CPIN="9999"\r')
    guard.check(line.encode() + b"\r")
    with pytest.raises(Forbidden):
        guard.check(line.encode() + b"\r")


def test_the_last_line_is_repeated_only_where_it_was_a_question() -> None:
    guard = Guard(frozenset({Permit.PIN}))
    guard.announce_line(Permit.PIN, 'AT+CPIN="1234"')
    guard.check(b'AT+CPIN="1234"\r')
    with pytest.raises(Forbidden):
        guard.check(b"A/")
    guard.check(b"AT+CSQ\r")
    guard.check(b"A/")


def test_a_slot_is_deleted_only_where_it_was_seen_empty_or_is_ours() -> None:
    guard = Guard()
    guard.erasable.add(7)
    guard.check(b"AT+CMGD=7\r")
    guard.erasable.discard(7)
    with pytest.raises(Forbidden):
        guard.check(b"AT+CMGD=7\r")
