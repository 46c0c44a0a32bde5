"""No secret of a session is in its recording, whatever the model, however the octets were cut."""

import json
import os
import random
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator import persona
from simulator.recording.reader import Reader
from simulator.recording.tape import Header, Record, Sender, Writer
from tests.support.recorded import KEY, Session, Traffic, forms, recorded

IS_LONG = os.environ.get("MODEMCTL_LONG") == "1"
pytestmark = pytest.mark.timeout(900)  # full counts take minutes
PERSONAS = persona.names()


@cache
def session(name: str) -> tuple[Traffic, dict[str, str]]:
    with TemporaryDirectory() as folder:
        bench = Session(Path(folder), name)
        return bench.play(), bench.secrets()


def texts(records: list[Record]) -> dict[str, str]:
    """What a reader of the file could look through: each side as one stream, and line by line."""
    found = {"lines": "\n".join(record.data for record in records)}
    for sender in Sender:
        mine = (record.line.strip("> ") for record in records if record.sender is sender)
        found[sender] = "".join(mine)
    return {place: text.lower() for place, text in found.items()}


def assert_clean(records: list[Record], secrets: dict[str, str]) -> None:
    for place, text in texts(records).items():
        for what, secret in secrets.items():
            leaks = [form for form in forms(secret) if form in text]
            assert not leaks, f"{what} in {place}: {leaks[0]}"


@pytest.mark.parametrize("name", PERSONAS)
def test_session_holds_its_secrets_in_many_forms(name: str) -> None:
    """Guards the tests below: what is looked for really went over the wire."""
    traffic, secrets = session(name)
    wire = b"".join(data for _, _, data in traffic).decode("latin-1").lower()
    missing = [
        what for what, secret in secrets.items() if not any(form in wire for form in forms(secret))
    ]
    # A card need not hold its own number, and a model need not tell all of the card's files.
    assert not set(missing) - {"own number", "card's centre"}, missing
    assert len(wire) > 8000


@pytest.mark.parametrize("name", PERSONAS)
def test_no_secret_is_in_the_recording(name: str) -> None:
    traffic, secrets = session(name)
    assert_clean(recorded(traffic), secrets)


@pytest.mark.parametrize("name", PERSONAS)
def test_no_secret_is_in_the_file(name: str, tmp_path: Path) -> None:
    traffic, secrets = session(name)
    writer = Writer(tmp_path / "session.jsonl", Header(started="2026-11-22T12:00:00+00:00"))
    writer.add(recorded(traffic))
    writer.close("stopped")
    raw = (tmp_path / "session.jsonl").read_text("ascii")
    plain = "\n".join(str(json.loads(line)) for line in raw.splitlines())
    for text in (raw.lower(), plain.lower()):
        for what, secret in secrets.items():
            assert not [form for form in forms(secret) if form in text], what
    assert KEY.decode() not in raw


@pytest.mark.parametrize("name", PERSONAS)
def test_recording_is_the_session_but_for_digits_and_letters(name: str) -> None:
    """Same octets in number and order on each side: nothing is lost, added or moved."""
    traffic, _ = session(name)
    records = recorded(traffic)
    for sender in Sender:
        sent = b"".join(data for _, side, data in traffic if side is sender)
        kept = b"".join(record.octets for record in records if record.sender is sender)
        assert len(kept) == len(sent)
        for mine, original in zip(kept, sent, strict=True):
            assert mine == original or (chr(original).isalnum() or original in b"^{}[~]|")


def cut(traffic: Traffic, draw: random.Random) -> Traffic:
    """The same octets in the same order, in other pieces; neighbours of one side may be merged."""
    made: Traffic = []
    for ms, sender, data in traffic:
        rest = data
        while rest:
            size = draw.choice((1, 1, 2, 3, 7, 40, len(rest)))
            piece, rest = rest[:size], rest[size:]
            if made and made[-1][1] is sender and draw.random() < 0.3:
                made[-1] = (made[-1][0], sender, made[-1][2] + piece)
            else:
                made.append((ms, sender, piece))
    return made


@settings(max_examples=300 if IS_LONG else 20, derandomize=not IS_LONG)
@given(name=st.sampled_from(PERSONAS), seed=st.integers(0, 2**32))
def test_pieces_do_not_matter(name: str, seed: int) -> None:
    traffic, _ = session(name)
    whole = [(record.sender, record.what, record.data) for record in recorded(traffic)]
    pieces = recorded(cut(traffic, random.Random(seed)))
    assert [(record.sender, record.what, record.data) for record in pieces] == whole


@settings(max_examples=1000 if IS_LONG else 40, derandomize=not IS_LONG)
@given(
    name=st.sampled_from(PERSONAS),
    seed=st.integers(0, 2**32),
    share=st.sampled_from((0.0, 0.001, 0.01, 0.05)),
)
def test_no_secret_is_in_the_recording_of_a_bad_line(name: str, seed: int, share: float) -> None:
    """Octets lost and doubled, the end at any place: more is masked then, not less."""
    traffic, secrets = session(name)
    draw = random.Random(seed)
    reader = Reader(KEY)
    records: list[Record] = []
    for ms, sender, data in cut(traffic, draw)[: draw.randrange(50, 20000)]:
        kept = bytes(octet for octet in data if draw.random() >= share)
        doubled = kept[-1:] if draw.random() < share else b""
        records += reader.feed(sender, kept + doubled, ms)
    records += reader.close(0)
    assert_clean(records, secrets)
