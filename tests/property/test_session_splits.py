"""Any split of the bytes gives the same events, and no bytes can break the session."""

from __future__ import annotations

import os
from itertools import pairwise

from hypothesis import example, given, settings
from hypothesis import strategies as st

from drivers.at.command import Bare, Command, asking
from drivers.at.questions import Fact, questions_about
from drivers.at.session import Event, Session, Urc
from drivers.at.states import State
from drivers.at.urcs import SHARED

PDU = "0791947101670000040C9194712143658700C862111222436540053190BB7C07"
MANY = settings(max_examples=20_000 if os.environ.get("MODEMCTL_LONG") else 200)
FACTS = [
    Fact(text="AT+CGSN", is_told_by="490154203237518".__eq__),
    Fact(text="AT+CGMM", is_told_by="EC25".__eq__),
]
COMMANDS = [
    asking("AT+CSQ"),
    asking("AT+CREG?"),
    Command(text="AT+CGSN", shown="AT+CGSN", bare=Bare.IMEI),
    Command(text="AT+CGMM", shown="AT+CGMM", bare=Bare.TEXT),
    Command(text="AT+CMGL=4", shown="AT+CMGL=4", prefixes=("+CMGL:",), has_payload=True),
    Command(text="AT+CPIN?", shown="AT+CPIN?", prefixes=("+CPIN:",), ends_bare=True),
]
PIECES = [
    b"\r\n", b"\r", b"\n", b"\0", b"> ", b">", b"\r\n> ", b"OK\r\n", b"\r\nOK\r\n", b"ERROR\r\n",
    b"\r\n+CMS ERROR: 38\r\n", b"\r\n+CME ERROR: 14\r\n", b"AT+CSQ\r", b"\r\n+CSQ: 20,99\r\n",
    b"\r\n+CREG: 2,1\r\n", b"\r\n+CREG: 5\r\n", b"\r\n490154203237518\r\n", b"\r\nEC25\r\n",
    b"\r\n+CMGL: 1,1,,24\r\n", b"\r\n+CMT: ,24\r\n", PDU.encode() + b"\r\n", b"\r\n+CMGS: 41\r\n",
    b'\r\n+CMTI: "SM",3\r\n', b"\r\nRING\r\n", b"\r\nNO CARRIER\r\n", b"\r\n^RSSI:18\r\n",
    b"\x1a", b"\x1b", b"\xff\xfe", b"x" * 1500, b"\r\n+CPIN: READY\r\n",
]  # fmt: skip

streams = st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=8)), max_size=25).map(
    b"".join
)
set_ups = st.sampled_from(["idle", "prompting", "submitted", "lost", "realigning", *COMMANDS])


def prepared(how: str | Command) -> Session:
    session = Session(SHARED)
    match how:
        case Command():
            session.send(how, 0.0)
        case "prompting" | "submitted":
            session.submit(asking("AT+CMGS=24"), 0.0)
            if how == "submitted":
                session.receive_data(b"\r\n> ", 0.0)
                session.supply(PDU.encode(), 0.0, timeout=180.0)
        case "lost" | "realigning":
            session.send(COMMANDS[0], 0.0)
            session.tick(5.0)
            if how == "realigning":
                session.realign(questions_about(FACTS), 5.0)
                session.tick(6.0)
    return session


def told(how: str | Command, chunks: list[bytes]) -> tuple[list[Event], bytes, State, float | None]:
    session = prepared(how)
    for chunk in chunks:
        session.receive_data(chunk, 7.0)
    events = []
    while (event := session.next_event()) is not None:
        events.append(event)
    return events, session.data_to_send(), session.state, session.deadline


@MANY
@given(set_ups, streams, st.data())
@example("prompting", b"\r\n> > ", None)
@example("idle", b"x" * 1024 + b"\r\n", None)
@example("idle", b"x" * 1025 + b"\r\n", None)
def test_any_split_of_the_bytes_gives_the_same_events(
    how: str | Command, stream: bytes, data: st.DataObject | None
) -> None:
    whole = told(how, [stream])
    assert told(how, [bytes([octet]) for octet in stream]) == whole
    if data is not None:
        cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
        bounds = [0, *cuts, len(stream)]
        chunks = [stream[a:b] for a, b in pairwise(bounds)]
        assert told(how, chunks) == whole


@MANY
@given(set_ups, st.binary(max_size=400))
def test_garbage_breaks_nothing_and_the_next_delivery_is_told(
    how: str | Command, garbage: bytes
) -> None:
    session = prepared(how)
    session.receive_data(garbage, 7.0)
    session.receive_data(b'\r\nx\r\n\r\n+CMTI: "SM",7\r\n', 7.0)
    found = []
    while (event := session.next_event()) is not None:
        found.append(event)
    assert Urc(head='+CMTI: "SM",7') in found


@given(st.lists(st.tuples(streams, st.floats(0, 30)), max_size=12))
def test_no_line_extends_a_deadline(steps: list[tuple[bytes, float]]) -> None:
    session = prepared(COMMANDS[0])
    now = 0.0
    for stream, pause in steps:
        now += pause
        session.receive_data(stream, now)
        session.tick(now)
        if now >= 5.0:
            assert session.state is not State.BUSY
