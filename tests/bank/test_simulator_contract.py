"""What third-party clients need of a modem, on the wire: each row of at-dialects §6.8."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from simulator.faults import Fault, FaultKind
from simulator.phone import CallOutcome, CallPlan
from tests.support.one_modem import HELLO
from tests.support.simulated import BankProcess, wait_until, within
from tests.support.wire import Wire

PERSONAS = ("generic", "huawei", "simcom")
FLAGS = ("--modems", "3", "--persona", ",".join(PERSONAS), "--pin", "1234")
GENERIC, HUAWEI, SIM800 = "modem01", "modem02", "modem03"
STRANGER = "+8613900000000"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BankProcess]:
    folder = tmp_path_factory.mktemp("contract") / "bank"
    flags = (*FLAGS, "--pin-lock", "off", "--latency", "0.05", "--report-delay", "0.05")
    with BankProcess(folder, *flags) as bank:
        yield bank


@pytest.fixture
def bank(served: BankProcess) -> BankProcess:
    """The shared bank, as after power-up: rebooted modems, no rule, no fault, empty stores."""
    control = served.control
    control.clear_faults()
    control.clear_rules()
    for modem in (GENERIC, HUAWEI, SIM800):
        control.set_registration(modem, None)
    registered(served, GENERIC)
    with Wire(served.port()) as wire:
        wire.type(b"\x1bATZ\r")
        wire.until(b"OK\r\n")
        wire.ask("AT+CMGD=1,4")
        wire.ask('AT+CPMS="ME"')
        wire.ask("AT+CMGD=1,4")
        wire.ask("ATZ")
    return served


def registered(bank: BankProcess, modem: str) -> None:
    wait_until(
        lambda: bank.control.state(modem)[0]["registration"] == 1, what=f"{modem} registered"
    )


@pytest.fixture
def wire(bank: BankProcess) -> Iterator[Wire]:
    with Wire(bank.port()) as wire:
        wire.ask("ATE0")
        wire.ask("AT+CMEE=1")
        wire.ask("AT+CMGF=0")
        yield wire


def submit(wire: Wire, pdu: str = HELLO, length: int = 24) -> bytes:
    wire.ask(f"AT+CMGS={length}", b"\r\n> ")
    wire.type(pdu.encode() + b"\x1a")
    return wire.until(lambda said: said.endswith((b"OK\r\n", b"304\r\n")))


# ---------------------------------------------------------------- rows


def test_row_01_bytes_one_by_one_and_input_while_busy_or_at_a_prompt(wire: Wire) -> None:
    for octet in b"AT+CSQ\r":
        wire.type(bytes((octet,)))
    assert wire.until(b"OK\r\n").startswith(b"\r\n+CSQ: ")
    # Input while the network is asked waits; input at a prompt is the payload, up to Ctrl-Z.
    wire.ask("AT+CMGS=24", b"\r\n> ")
    wire.type(HELLO.encode() + b"\x1aAT+CSQ\r")
    said = wire.until(lambda said: said.count(b"OK\r\n") == 2)
    assert re.fullmatch(rb"\r\n\+CMGS: \d+\r\n\r\nOK\r\n\r\n\+CSQ: .*\r\n\r\nOK\r\n", said)
    # A scan is broken off by an octet that comes 125 ms after it, and that is swallowed.
    wire.type(b"AT+COPS=?\r")
    wire.silence(0.2)
    wire.type(b"A")
    assert wire.until(b"OK\r\n") == b"\r\nOK\r\n"


@pytest.mark.parametrize(
    "junk", [b"\x1b\r", b"\r", b"\n", b"\x1a\r", b"0031000C9194\x1a", b"  \r"], ids=repr
)
def test_row_02_junk_at_idle_is_swallowed(wire: Wire, junk: bytes) -> None:
    wire.quiet(junk)


def test_row_03_echo_is_on_at_first_and_after_every_reset(bank: BankProcess, wire: Wire) -> None:
    assert wire.ask("AT") == b"\r\nOK\r\n"
    for reset in ("ATZ", "AT&F"):
        wire.ask(reset)
        assert wire.ask("AT") == b"AT\r\r\nOK\r\n"
        wire.ask("ATE0")
    bank.control.reboot(GENERIC)
    registered(bank, GENERIC)
    assert wire.ask("AT") == b"AT\r\r\nOK\r\n"


@pytest.mark.parametrize(
    "line",
    [
        "ATE0 +CMEE=1",
        "ATE0 &C0 +CMEE=1",
        "AT+CMEE=1;+CREG=2",
        "at+csq",
        "AT + CSQ",
        "AT&F",
        "ATX4",
        "AT&C1",
        "AT&D2",
        "AT\\Q3",
        "ATI",
        "ATH",
        "ATZ",
        "ATS0=0",
        "AT+IFC=2,2",
        "AT+IPR=115200",
        'AT+CSIM=10,"0020000100"',
        "AT+CRSM=176,12258,0,0,10",
    ],
)
def test_row_04_every_spelling_that_clients_use(wire: Wire, line: str) -> None:
    assert wire.ask(line).endswith(b"\r\nOK\r\n")


def test_row_05_the_prompt_is_four_octets_and_holds_urcs_back(
    bank: BankProcess, wire: Wire
) -> None:
    wire.ask("AT+CNMI=2,1,0,0,0")
    assert wire.ask("AT+CMGS=24", b" ") == b"\r\n> "
    bank.control.inject_sms(GENERIC, "held", origin=STRANGER)
    wire.type(HELLO.encode() + b"\x1a")
    said = wire.until(lambda said: b"+CMTI" in said)
    assert re.fullmatch(rb'\r\n\+CMGS: \d+\r\n\r\nOK\r\n\r\n\+CMTI: "SM",\d+\r\n', said)
    # Chaos breaks just that.
    bank.control.set_fault(GENERIC, Fault(kind=FaultKind.URC_AT_PROMPT))
    assert wire.ask("AT+CMGS=24", b"\r\n+CIEV: 2,3\r\n").startswith(b"\r\n> ")
    wire.type(b"\x1b")
    wire.until(b"OK\r\n")


def test_row_06_length_check_escape_reference_and_delay(bank: BankProcess, wire: Wire) -> None:
    assert submit(wire, length=23) == b"\r\n+CMS ERROR: 304\r\n"
    wire.ask("AT+CMGS=24", b"\r\n> ")
    wire.type(b"\x1b")
    assert wire.until(b"OK\r\n") == b"\r\nOK\r\n"
    references = [int(re.findall(rb"\d+", submit(wire))[0]) for _ in range(3)]
    assert [(after - before) % 256 for before, after in pairwise(references)] == [1, 1]
    bank.control.set_latency(0.4)
    wire.ask("AT+CMGS=24", b"\r\n> ")
    wire.type(HELLO.encode() + b"\x1a")
    began = os.times().elapsed
    wire.until(b"OK\r\n")
    assert os.times().elapsed - began > 0.3
    bank.control.set_latency(0.05)


def test_row_07_stores_have_their_own_slots_and_full_behaviour(
    bank: BankProcess, wire: Wire
) -> None:
    wire.ask("AT+CNMI=2,1,0,0,0")
    for text in ("one", "two"):
        bank.control.inject_sms(GENERIC, text, origin=STRANGER)
    wire.until(lambda said: said.count(b"+CMTI") == 2)
    assert wire.lines("AT+CPMS?")[0].startswith('+CPMS: "SM",2,')
    assert wire.lines("AT+CMGR=1")[0].startswith("+CMGR: 0,")
    assert wire.lines("AT+CMGR=1")[0].startswith("+CMGR: 1,")
    assert [line[:9] for line in wire.lines("AT+CMGL=0")[::2]] == ["+CMGL: 2,"]
    wire.ask('AT+CPMS="ME","ME","ME"')
    assert wire.ask("AT+CMGR=1", b"321\r\n") == b"\r\n+CMS ERROR: 321\r\n"
    wire.ask('AT+CPMS="SM","SM","SM"')
    assert wire.lines('AT+CPMS="MT"')[0].startswith("+CPMS: 2,")
    wire.ask('AT+CPMS="SM"')
    wire.ask("AT+CMGD=0,1")
    assert wire.lines("AT+CMGL=4") == []
    with Wire(bank.port(HUAWEI)) as stick:
        registered(bank, HUAWEI)
        stick.ask("ATE0")
        stick.ask("AT^CURC=0")
        stick.ask("AT+CMGD=0,4")
        stick.ask("AT+CNMI=1,1,0,0,0")
        bank.control.inject_sms(HUAWEI, "zero", origin=STRANGER)
        assert stick.until(b"\r\n") == b'\r\n+CMTI: "SM",0\r\n'


@pytest.mark.parametrize(
    ("cnmi", "message", "report"),
    [
        ("2,1,0,2,0", rb'\r\n\+CMTI: "SM",\d+\r\n', rb'\r\n\+CDSI: "SM",\d+\r\n'),
        ("2,2,0,1,0", rb"\r\n\+CMT: ,\d+\r\n[0-9A-F]+\r\n", rb"\r\n\+CDS: \d+\r\n[0-9A-F]+\r\n"),
        ("2,0,0,0,0", rb"", rb""),
    ],
)
def test_row_08_routing_table(
    bank: BankProcess, wire: Wire, cnmi: str, message: bytes, report: bytes
) -> None:
    wire.ask(f"AT+CNMI={cnmi}")
    assert wire.lines("AT+CNMI?") == [f"+CNMI: {cnmi}"]
    bank.control.inject_sms(GENERIC, "routed", origin=STRANGER)
    bank.control.inject_sms(GENERIC, "class 2", origin=STRANGER, dcs=0x12)
    delivered = len(bank.ledger(kind="report"))
    said = submit(wire)
    wait_until(lambda: len(bank.ledger(kind="report")) > delivered, what="the report")
    said += wire.ask("AT")
    stored = rb'\r\n\+CMTI: "SM",\d+\r\n' if message else rb""
    sent = rb"\r\n\+CMGS: \d+\r\n\r\nOK\r\n"
    assert re.fullmatch(message + stored + rb"\r\n> " + sent + report + rb"\r\nOK\r\n", said) or (
        re.fullmatch(sent + report + rb"\r\nOK\r\n", said)
    )


def test_row_08_vendors_refuse_what_they_advertise(bank: BankProcess) -> None:
    with Wire(bank.port(HUAWEI)) as stick:
        stick.ask("ATE0")
        assert "2" in stick.lines("AT+CNMI=?")[0]
        stick.ask("AT+CNMI=2,1,0,2,0", b"ERROR\r\n")
        stick.ask("AT+CNMI=1,1,0,2,0")


def test_row_09_phase_2_plus_waits_for_each_acknowledgement(bank: BankProcess, wire: Wire) -> None:
    assert wire.lines("AT+CSMS=1") == ["+CSMS: 1,1,1"]
    wire.ask("AT+CNMI=2,2,0,1,0")
    for text in ("first", "second", "third"):
        bank.control.inject_sms(GENERIC, text, origin=STRANGER)
    shown = rb"\r\n\+CMT: ,\d+\r\n[0-9A-F]+\r\n"
    assert re.fullmatch(shown, wire.until(lambda said: re.search(shown, said) is not None))
    wire.type(b"AT+CNMA\r")
    wire.until(lambda said: re.search(shown, said) is not None and b"OK" in said)
    # With a length it prompts for the acknowledgement's own TPDU.
    wire.ask("AT+CNMA=1,2", b"\r\n> ")
    wire.type(b"0000\x1a")
    wire.until(lambda said: re.search(shown, said) is not None and b"OK" in said)
    wire.ask("AT+CNMA=0")
    assert wire.ask("AT+CNMA", b"340\r\n") == b"\r\n+CMS ERROR: 340\r\n"


def test_row_10_reports_name_recipient_reference_and_fate(bank: BankProcess, wire: Wire) -> None:
    wire.ask("AT+CNMI=2,1,0,1,0")
    bank.control.add_rule(destination="+49", st=0x22, count=1)
    bank.control.add_rule(destination="+49", report="doubled", count=1)
    bank.control.add_rule(destination="+49", report="lost", count=1)
    before = len(bank.ledger(kind="report"))
    sent = []
    for _ in range(3):
        wire.ask("AT+CMGS=24", b"\r\n> ")
        wire.type(HELLO.encode() + b"\x1a")
        sent.append(wire.until(lambda said: b"\r\nOK\r\n" in said))
    mrs = [int(re.findall(rb"\+CMGS: (\d+)", said)[0]) for said in sent]
    wait_until(lambda: len(bank.ledger(kind="report")) == before + 3, what="three reports")
    reports = bank.ledger(kind="report")[before:]
    assert [line["mr"] for line in reports] == [mrs[1], mrs[1], mrs[2]]
    assert [line["st"] for line in reports] == [0, 0, 0x22]
    said = b"".join(sent) + wire.ask("AT+GCAP")
    for line in reports:
        tpdu = str(line["tpdu"])
        assert tpdu.encode() in said
        # Type of address and digits as they were in the submit.
        assert "0C91947121436587" in tpdu


def test_row_11_card_states_and_counters(tmp_path: Path) -> None:
    flags = ("--modems", "1", "--persona", "generic", "--pin", "1234", "--latency", "0")
    with BankProcess(tmp_path / "bank", *flags) as bank, Wire(bank.port()) as wire:
        wire.ask("ATE0")
        wire.ask("AT+CMEE=1")
        puk = str(within(bank.control.state("modem01"), 0, "card", "puk"))
        assert wire.lines("AT+CPIN?") == ["+CPIN: SIM PIN"]
        assert wire.ask("AT+CIMI", b"11\r\n") == b"\r\n+CME ERROR: 11\r\n"
        wire.ask('AT+CPIN="0000"', b"+CME ERROR: 16\r\n")
        assert wire.lines("AT+CPINR")[0] == "+CPINR: SIM PIN,2,3"
        wire.ask('AT+CPIN="1234"')
        wire.ask('AT+CLCK="SC",2')
        wait_until(lambda: bank.control.state()[0]["registration"] == 1, what="registered")
        wire.ask('AT+CPWD="SC","1234","4321"')
        for code in (b"16", b"16", b"12"):
            wire.ask('AT+CLCK="SC",0,"0000"', b"+CME ERROR: " + code + b"\r\n")
        assert wire.lines("AT+CPIN?") == ["+CPIN: SIM PUK"]
        wire.ask(f'AT+CPIN="{puk}","5678"')
        wire.type(b"AT+CIMI\r")
        wire.until(lambda said: said.endswith((b"+CME ERROR: 14\r\n", b"OK\r\n")))
        assert wire.lines("AT+CPINR")[:2] == ["+CPINR: SIM PIN,3,3", "+CPINR: SIM PUK,10,10"]
        bank.control.pull_card("modem01")
        assert wire.ask("AT+CPIN?", b"10\r\n").endswith(b"+CME ERROR: 10\r\n")


@pytest.mark.parametrize("fid", [12258, 28589, 28486, 28599, 28423, 28480, 28482])
def test_row_12_elementary_files_by_read_and_by_status(wire: Wire, fid: int) -> None:
    record = fid in {28480, 28482}
    access = "178,{},1,4,0" if record else "176,{},0,0,0"
    assert re.fullmatch(r'\+CRSM: 144,0,"(..)+"', wire.lines(f"AT+CRSM={access.format(fid)}")[0])
    assert re.fullmatch(r'\+CRSM: 144,0,"(..)+"', wire.lines(f"AT+CRSM=192,{fid}")[0])


@pytest.mark.parametrize("fid", [28478, 28479, 12345])
def test_row_12_missing_files_are_106_130(wire: Wire, fid: int) -> None:
    assert wire.lines(f"AT+CRSM=176,{fid},0,0,4") == ['+CRSM: 106,130,""']


def test_row_13_registration_moves_and_tells(bank: BankProcess, wire: Wire) -> None:
    wire.ask("AT+CREG=1")
    bank.control.set_registration(GENERIC, 3)
    told = wire.until(lambda said: b"+CREG: 3" in said)
    # 1 → 0 (or at once) → 2 → 3
    assert told.endswith(b"\r\n+CREG: 2\r\n\r\n+CREG: 3\r\n")
    wire.ask("AT+CREG=2")
    bank.control.set_registration(GENERIC, 5)
    wire.until(lambda said: re.search(rb'\+CREG: 5,"[0-9A-F]+","[0-9A-F]+"', said) is not None)
    assert wire.lines("AT+CREG?")[0].startswith("+CREG: 2,5,")
    for shape, expected in (("0", '"CHINA MOBILE"'), ("1", '"CMCC"'), ("2", '"46000"')):
        wire.ask(f"AT+COPS=3,{shape}")
        assert expected in wire.lines("AT+COPS?")[0]
    began = os.times().elapsed
    assert wire.lines("AT+COPS=?")[0].startswith("+COPS: (")
    assert os.times().elapsed - began > 1


def test_row_14_ussd_by_character_set_and_vendor_with_its_coding(bank: BankProcess) -> None:
    shape = re.compile(r'\+CUSD: \d,"(?P<text>[^"]+)", ?(?P<dcs>\d+)')
    with Wire(bank.port()) as wire:
        wire.ask("ATE0")
        for charset, request in (("GSM", "*100#"), ("UCS2", "*100#".encode("utf-16-be").hex())):
            wire.ask(f'AT+CSCS="{charset}"')
            wire.type(f'AT+CUSD=1,"{request}",15\r'.encode())
            found = shape.search(wire.until(lambda said: b"+CUSD" in said).decode())
            assert found is not None
            text = found["text"]
            assert "10.00" in (
                bytes.fromhex(text).decode("utf-16-be") if charset == "UCS2" else text
            )
    registered(bank, HUAWEI)
    with Wire(bank.port(HUAWEI)) as stick:
        stick.ask("ATE0")
        stick.ask("AT^CURC=0")
        stick.type(b'AT+CUSD=1,"AA180C3602",15\r')
        found = shape.search(stick.until(lambda said: b"+CUSD" in said).decode())
        assert found is not None
        assert re.fullmatch("[0-9A-F]+", found["text"])


def test_row_15_calls_ring_show_their_number_and_end_with_a_cause(
    bank: BankProcess, wire: Wire
) -> None:
    wire.ask("AT+CLIP=1")
    wire.ask("AT+CRC=1")
    plan = CallPlan(number="+8613912345678", outcome=CallOutcome.MISSED, rings=2, ring_seconds=0.3)
    bank.control.inject_call(GENERIC, plan)
    said = wire.until(lambda said: b"NO CARRIER" in said)
    assert said.count(b"+CRING: VOICE") == 2
    assert said.count(b'+CLIP: "+8613912345678",145') == 2
    wire.ask("ATD13800001111;")
    assert wire.lines("AT+CLCC")[0].startswith("+CLCC: 1,0,")
    wire.ask("AT+CHUP")
    assert wire.lines("AT+CLCC") == []
    wire.ask("AT+CEER")
    for outcome, final in ((CallOutcome.BUSY, b"BUSY"), (CallOutcome.NO_ANSWER, b"NO ANSWER")):
        bank.control.dial(
            GENERIC, CallPlan(number="13800002222", outcome=outcome, rings=1, ring_seconds=0.2)
        )
        wire.until(b"\r\n" + final + b"\r\n")
    calls = bank.ledger(kind="call", modem=GENERIC)[-4:]
    assert [(call["outcome"], call["cause"]) for call in calls] == [
        ("missed", 16),
        ("cancelled", 16),
        ("busy", 17),
        ("no_answer", 19),
    ]


def test_row_16_unknown_commands_fail_as_the_vendor_says(bank: BankProcess, wire: Wire) -> None:
    assert wire.ask("AT+NONSENSE?", b"ERROR\r\n") == b"\r\nERROR\r\n"
    with Wire(bank.port(HUAWEI)) as stick:
        stick.ask("ATE0")
        assert stick.ask("AT+NONSENSE?", b"SUPPORT\r\n") == b"\r\nCOMMAND NOT SUPPORT\r\n"


def test_row_17_port_survives_clients_in_turn(bank: BankProcess) -> None:
    with Wire(bank.port()) as first:
        first.ask("ATE0")
        first.ask('AT+CSCS="UCS2"')
    # Often: each opens while the simulator still tidies up after the one before it.
    for _ in range(200):
        with Wire(bank.port()) as later:
            assert later.ask("AT") == b"\r\nOK\r\n"
            assert later.lines("AT+CSCS?") == ['+CSCS: "UCS2"']


def test_row_18_port_is_raw_before_a_client_sets_it(bank: BankProcess) -> None:
    # `Wire` sets nothing: what a terminal in its default mode would do to these octets shows.
    with Wire(bank.port()) as wire:
        assert wire.ask("AT") == b"AT\r\r\nOK\r\n"
        wire.type(b"\x03\x04\x11\x13\x7f\rAT+GCAP\r")
        assert b"+GCAP: +CGSM,+DS,+ES" in wire.until(b"OK\r\n")


def test_row_19_noise_is_the_vendors_and_off_for_the_generic_one(bank: BankProcess) -> None:
    states = {str(state["modem"]): state for state in bank.control.state()}
    assert [states[name]["persona"] for name in (GENERIC, HUAWEI, SIM800)] == list(PERSONAS)
    with Wire(bank.port(HUAWEI)) as stick, Wire(bank.port()) as plain:
        plain.ask("ATE0")
        bank.control.reboot(HUAWEI)
        wait_until(lambda: not Path(bank.port(HUAWEI)).exists(), what="the stick is gone")
        plain.quiet(b"")
        del stick
    wait_until(Path(bank.port(HUAWEI)).exists, what="the stick is back")
    with Wire(bank.port(HUAWEI)) as stick:
        # Its boot lines or its chatter, unasked; ^CURC=0 ends the chatter.
        assert b"^" in stick.until(lambda said: b"^RSSI" in said, seconds=40)
        stick.ask("AT^CURC=0")


FAULTS = {
    FaultKind.HANG_AT_PROMPT: b"\r\n> ",
    FaultKind.HANG: b"\r\n> ",
    FaultKind.CMS_ERROR: b"\r\n> \r\n+CMS ERROR: 500\r\n",
    FaultKind.CNMI_LOST: b"\r\n> \r\n+CMGS: ",
}


@pytest.mark.parametrize("kind", FAULTS)
def test_row_20_faults_of_the_submit(bank: BankProcess, wire: Wire, kind: FaultKind) -> None:
    bank.control.set_fault(GENERIC, Fault(kind=kind))
    wire.type(b"AT+CMGS=24\r")
    said = wire.until(b"\r\n> ")
    wire.type(HELLO.encode() + b"\x1a")
    expected = FAULTS[kind]
    if expected != b"\r\n> ":
        said += wire.until(lambda more: (said + more).startswith(expected))
    assert said.startswith(expected)
    bank.control.reboot(GENERIC)
    registered(bank, GENERIC)


@pytest.mark.parametrize("kind", [FaultKind.SLOW_OUTPUT, FaultKind.SPLIT_WRITES])
def test_row_20_partial_writes(bank: BankProcess, wire: Wire, kind: FaultKind) -> None:
    bank.control.set_fault(GENERIC, Fault(kind=kind, seconds=0.2))
    assert wire.ask("AT+CGSN").startswith(b"\r\n35")
    assert len(wire.reads) > 1


def test_row_20_lost_octet_and_merged_writes(bank: BankProcess, wire: Wire) -> None:
    whole = wire.ask("AT+GCAP")
    bank.control.set_fault(GENERIC, Fault(kind=FaultKind.LOST_BYTE))
    wire.type(b"AT+GCAP\r")
    wire.until(lambda said: len(said) == len(whole) - 1)
    bank.control.set_fault(GENERIC, Fault(kind=FaultKind.MERGED_WRITES, seconds=30))
    wire.type(b"AT+GCAP\r")
    wait_until(lambda: bank.control.state(GENERIC)[0]["faults"] == "", what="the fault struck")
    wire.type(b"AT\r")
    wire.until(whole + b"\r\nOK\r\n")
    assert len(wire.reads) == 1


def test_row_20_card_removal_signal_loss_and_vanishing_port(bank: BankProcess, wire: Wire) -> None:
    wire.ask("AT+CREG=1")
    card = bank.control.pull_card(GENERIC)
    assert card is not None
    wire.until(lambda said: b"+CREG: 0" in said)
    bank.control.insert_card(GENERIC, card)
    wire.until(lambda said: b"+CREG: 1" in said)
    bank.control.set_fault(GENERIC, Fault(kind=FaultKind.PORT_RENUMBERED, seconds=0.2))
    numbers = {link.name for link in (bank.folder / "tty").iterdir()}
    wire.type(b"AT\r")
    wait_until(lambda: not Path(bank.port()).exists(), what="the port is gone")
    wait_until(Path(bank.port()).exists, what="the port is back")
    assert {link.name for link in (bank.folder / "tty").iterdir()} != numbers


def test_row_21_command_list_and_capabilities(wire: Wire) -> None:
    wire.type(b"AT+CLAC\r")
    wire.until(lambda said: said.endswith((b"OK\r\n", b"ERROR\r\n")))
    assert wire.lines("AT+GCAP") == ["+GCAP: +CGSM,+DS,+ES"]


def test_row_22_each_answer_is_one_write(wire: Wire) -> None:
    for line in ("AT+CGSN", "AT+CPMS?", "AT+CNMI=?", "ATI", "AT+CRSM=176,12258,0,0,10"):
        wire.ask(line)
        assert len(wire.reads) == 1, (line, wire.reads)


def test_every_row_has_a_test() -> None:
    rows = {int(number) for number in re.findall(r"def test_row_(\d+)", Path(__file__).read_text())}
    assert rows == set(range(1, 23))
