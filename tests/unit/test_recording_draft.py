"""A persona drafted from a recording, and test vectors made of one."""

import dataclasses
import json
from pathlib import Path

import pytest

from drivers.at.command import Bare, Command
from drivers.at.session import Completed, PromptUp, Session
from drivers.at.urcs import SHARED
from simulator import persona as personas
from simulator.cards.card import Card
from simulator.commands import speech
from simulator.modem import Modem
from simulator.persona import Persona, PortRole
from simulator.recording.draft import draft
from simulator.recording.tape import Header, Record, Sender, Tape, What
from simulator.recording.vectors import vectors
from tests.support.one_modem import Terminal
from tests.support.recorded import PIN, recorded
from tests.support.recorded import Session as Bench

PERSONAS = personas.names()
SURVEY = (
    "AT", "ATI", "AT+CMEE=1", "AT+CGMI", "AT+CGMM", "AT+CGMR", "AT+CGSN", "AT+CPIN?",
    f'AT+CPIN="{PIN}"', "AT+CPIN?", "AT+CSQ", "AT+CREG=2", "AT+CREG?", "AT+CEREG=2", "AT+CEREG?",
    "AT+CSCS?", "AT+CSMS?", "AT+CPMS=?", "AT+CPMS?", "AT+CNMI=?", "AT+CNMI=2,1,0,0,0",
    "AT+CNMI=3,1,0,0,0", "AT+CNMI=1,1,0,0,0", "AT+CRSM=176,12258,0,0,10",
    "AT+CRSM=176,28999,0,0,10", "AT+COPS?",
    "AT^SYSINFO", "AT^HWVER", "AT+QINISTAT", "AT+QCCID", "AT+CCID", "AT+ICCID", "AT^ICCID?",
    "AT+CICCID", "AT+CPSI?", "AT+CSMINS?", "AT+ZICCID?", "AT#CCID", "AT!ICCID?", "AT+NOSUCH",
    "AT^CURC?",
)  # fmt: skip
# A recording knows of them only what was seen once, or cannot know them.
NOT_COMPARED = {
    "name", "tac", "answers", "errors", "settings", "keeps", "boot_lines", "unlock_lines", "noise",
    "noise_seconds", "boot_seconds", "identification", "revision", "manufacturer", "model",
}  # fmt: skip


MAKERS = {
    "huawei", "quectel", "simcom", "telit", "u-blox", "cinterion", "wavecom", "zte", "sierra",
    "mbm",
}  # fmt: skip


def survey(bench: Bench) -> Tape:
    """A recording of somebody who looks at a modem."""
    wire = bench.wire
    bench.modem.client_came()
    for line in SURVEY:
        wire.line(line, wait=5 if "CPIN=" in line else 0.5)
    bench.network.send_text(to=bench.card, origin="10086", text="hello")
    bench.clock.advance(3)
    wire.line("AT+CMGF=0", "AT+CMGL=4")
    wire.type(b"AT+CMGS=24\r", 0.2)
    wire.type(b"0031000C919471214365870000A70BE8329BFD06DDDF723619\x1a", 4)
    bench.clock.advance(200)
    header = Header(started="2026-11-22T12:00:00+00:00")
    return Tape(header=header, records=tuple(recorded(wire.traffic)))


@pytest.mark.parametrize("name", PERSONAS)
def test_draft_says_nothing_that_is_not_so(name: str, tmp_path: Path) -> None:
    original = personas.load(name)
    text = draft(survey(Bench(tmp_path, name)), name="drafted")
    drafted = personas.parse(text)
    assert drafted.name == "drafted"
    assert drafted.revision in {original.revision, "unknown"} or drafted.revision in text
    if drafted.vendor == "generic" and original.vendor not in MAKERS:
        drafted = dataclasses.replace(drafted, vendor="")  # a maker that no draft can know
    plain = Persona(
        name="", vendor="", manufacturer="", model="", revision="", tac="", identification=()
    )
    said = {
        item.name: getattr(drafted, item.name)
        for item in dataclasses.fields(Persona)
        if getattr(drafted, item.name) != getattr(plain, item.name)
    }
    wrong = {
        key: (value, getattr(original, key))
        for key, value in said.items()
        if key not in NOT_COMPARED and value != getattr(original, key)
    }
    assert not wrong
    assert drafted.tac == "35600001"


def test_draft_shows_the_quirks_of_a_model(tmp_path: Path) -> None:
    drafted = personas.parse(draft(survey(Bench(tmp_path, "huawei"))))
    assert (drafted.name, drafted.vendor, drafted.model) == ("e1750", "huawei", "E1750")
    assert drafted.unknown_command == "COMMAND NOT SUPPORT"
    assert drafted.first_slot == 0
    assert drafted.cnmi_refused_modes == (2, 3)
    assert not drafted.creg_is_quoted
    assert "IMEI: {imei}" in drafted.identification
    assert drafted.answers["^HWVER"] == personas.load("huawei").answers["^HWVER"]
    assert drafted.answers["^ICCID?"] == ("^ICCID: {iccid_padded}",)
    assert "^SIMST:1" in drafted.unlock_lines
    assert "^RSSI:18" in drafted.noise
    assert drafted.noise_seconds == personas.load("huawei").noise_seconds


def test_modem_of_a_draft_speaks_as_the_recorded_one(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "quectel")
    drafted = personas.parse(draft(survey(bench)))
    copy = Modem(
        name="copy",
        persona=drafted,
        imei=bench.modem.imei,
        world=bench.world,
        speech=speech,
    )
    terminal = Terminal()
    copy.ports[PortRole.AT] = terminal
    card = Card(bench.card.subscription, is_locked=False)
    bench.network.subscribe(card)
    copy.insert(card)
    copy.switch_on()
    bench.clock.advance(5)
    for line in (b"AT+CGMM\r", b"AT+QCCID\r", b"AT+NOSUCH\r", b"AT+CPMS=?\r", b"AT+CNMI=?\r"):
        copy.receive(line)
        there = terminal.take()
        bench.wire.traffic.clear()
        bench.wire.type(line)
        here = b"".join(data for _, sender, data in bench.wire.traffic if sender == "modem")
        assert there == here.decode(), line


def test_draft_of_nothing_is_still_a_persona() -> None:
    drafted = personas.parse(draft(Tape(header=Header(started="", model="X-1"), records=())))
    assert (drafted.model, drafted.name, drafted.vendor) == ("X-1", "x-1", "generic")


@pytest.mark.parametrize("name", ["generic", "huawei", "quectel", "sim7600"])
def test_drivers_session_reads_the_vectors_of_a_recording(name: str, tmp_path: Path) -> None:
    """The octets of a recording complete the command in the product's own session."""
    made = json.loads(json.dumps(vectors(survey(Bench(tmp_path, name)))))
    assert made["format"] == "modemctl-at-session"
    assert personas.load(name).model in made["model"]
    finished = 0
    for vector in made["exchanges"]:
        if not vector["result"] or "payload" in vector or "CMGL" in vector["command"]:
            continue
        session = Session(SHARED)
        command = Command(
            text=vector["command"], shown="", prefixes=("+", "^", "#", "!"), bare=Bare.ANY
        )
        session.send(command, 0.0)
        session.receive_data(vector["octets"].encode("latin-1"), 0.1)
        events = []
        while (event := session.next_event()) is not None:
            events.append(event)
        (completed,) = [event for event in events if isinstance(event, Completed)]
        assert completed.final.text == vector["result"]
        finished += 1
    assert finished > 25


def test_vector_of_a_submit_has_prompt_and_payload(tmp_path: Path) -> None:
    made = json.loads(json.dumps(vectors(survey(Bench(tmp_path, "generic")))))
    (submit,) = [vector for vector in made["exchanges"] if "payload" in vector]
    assert submit["prompt"].endswith("\r\n> ")
    assert submit["payload"]["result"] == "OK"
    assert submit["payload"]["answer"] == ["+CMGS: 0"]
    session = Session(SHARED)
    session.submit(Command(text=submit["command"], shown="", prefixes=("+CMGS:",)), 0.0)
    session.receive_data(submit["octets"].encode("latin-1"), 0.1)
    assert session.next_event() == PromptUp()
    session.supply(submit["payload"]["data"].rstrip("\x1a").encode(), 0.2, timeout=180.0)
    session.receive_data(submit["payload"]["octets"].encode("latin-1"), 0.3)
    completed = session.next_event()
    assert isinstance(completed, Completed)
    assert [line.text for line in completed.lines] == ["+CMGS: 0"]


def test_same_exchange_is_one_vector(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "generic")
    bench.wire.line("AT", "AT", "AT+CSQ", "AT+CSQ")
    tape = Tape(header=Header(started=""), records=tuple(recorded(bench.wire.traffic)))
    exchanges = vectors(tape)["exchanges"]
    assert isinstance(exchanges, list)
    assert [vector["command"] for vector in exchanges] == ["AT", "AT+CSQ"]


@pytest.mark.parametrize(
    "answer", ["(\xb2,1-x),(0),(0),(0),(0)", '"ME",0,\xb2', "(0-99999999999),(1)"]
)
def test_odd_numbers_of_a_modem_stop_no_draft(answer: str) -> None:
    records: list[Record] = []
    for ms, (command, name) in enumerate((("AT+CNMI=?", "+CNMI"), ("AT+CPMS?", "+CPMS"))):
        said = ((Sender.HOST, What.COMMAND, f"{command}\r"),
                (Sender.MODEM, What.ANSWER, f"\r\n{name}: {answer}\r\n"),
                (Sender.MODEM, What.RESULT, "\r\nOK\r\n"))  # fmt: skip
        records += [Record(ms=ms, sender=who, what=what, data=data) for who, what, data in said]
    tape = Tape(header=Header(started="2026-11-22T12:00:00+00:00"), records=tuple(records))
    assert 'name = "drafted"' in draft(tape, name="drafted")
