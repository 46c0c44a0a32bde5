"""A recording served as a modem: which answer, when, and what is not known."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from simulator.clock import VirtualClock
from simulator.recording.exchanges import shape, skeleton, story
from simulator.recording.masking import Masker
from simulator.recording.player import Player
from simulator.recording.reader import Reader
from simulator.recording.standins import Standins
from simulator.recording.tape import Header, Record, Sender, Tape
from tests.support.one_modem import HELLO
from tests.support.recorded import FRIEND, KEY, PIN, Session, recorded

Step = tuple[float, str, str]


def taped(steps: Sequence[Step]) -> Tape:
    """A recording of `(seconds, ">" or "<", octets)`."""
    reader = Reader(KEY)
    records: list[Record] = []
    for seconds, arrow, text in steps:
        sender = Sender.HOST if arrow == ">" else Sender.MODEM
        records += reader.feed(sender, text.encode("latin-1"), int(1000 * seconds))
    records += reader.close(int(1000 * steps[-1][0]))
    return Tape(header=Header(started="2026-11-22T12:00:00+00:00"), records=tuple(records))


class Stage:
    """A player on a time that stands still."""

    def __init__(self, tape: Tape, *, is_fast: bool = False) -> None:
        self.clock = VirtualClock(datetime(2026, 11, 22, tzinfo=UTC))
        self._heard = bytearray()
        self.player = Player(
            story(tape), clock=self.clock, write=self._heard.extend, is_fast=is_fast
        )
        self.player.came()

    def say(self, text: str, wait: float = 0.0) -> str:
        self.player.receive(text.encode("latin-1"))
        return self.wait(wait)

    def wait(self, seconds: float) -> str:
        self.clock.advance(seconds)
        heard = self._heard.decode("latin-1")
        self._heard.clear()
        return heard


def test_answer_comes_after_the_recorded_time() -> None:
    tape = taped([(0, ">", "AT+CSQ\r"), (0.4, "<", "\r\n+CSQ: 9,99\r\n"), (0.5, "<", "\r\nOK\r\n")])
    stage = Stage(tape)
    assert stage.say("AT+CSQ\r", 0.39) == ""
    assert stage.wait(0.02) == "\r\n+CSQ: 9,99\r\n"
    assert stage.wait(0.1) == "\r\nOK\r\n"
    assert Stage(tape, is_fast=True).say("AT+CSQ\r") == "\r\n+CSQ: 9,99\r\n\r\nOK\r\n"


def test_same_command_is_answered_in_the_recorded_order_then_with_the_last() -> None:
    steps: list[Step] = []
    for second, level in enumerate((5, 6, 7)):
        steps += [(second, ">", "AT+CSQ\r"), (second, "<", f"\r\n+CSQ: {level},99\r\n\r\nOK\r\n")]
    stage = Stage(taped(steps))
    heard = [stage.say(" at +csq\r")[8] for _ in range(5)]
    assert heard == ["5", "6", "7", "7", "7"]


def test_what_came_of_itself_comes_once_at_its_time() -> None:
    tape = taped(
        [
            (0.5, "<", "\r\nRDY\r\n"),
            (1, ">", "AT\r"),
            (1, "<", '\r\n+CMTI: "SM",1\r\n\r\nOK\r\n'),
            (4, "<", '\r\n+CMTI: "SM",2\r\n'),
        ]
    )
    stage = Stage(tape)
    assert stage.wait(0.5) == "\r\nRDY\r\n"
    assert stage.say("AT\r") == '\r\n+CMTI: "SM",1\r\n\r\nOK\r\n'
    assert stage.wait(2.9) == ""
    assert stage.wait(0.2) == '\r\n+CMTI: "SM",2\r\n'
    assert stage.say("AT\r", 10) == "\r\nOK\r\n"
    stage.player.went()
    stage.player.came()
    assert stage.wait(5) == "", "the modem starts once"


def test_command_differs_in_secrets_only() -> None:
    tape = taped(
        [
            (0, ">", 'AT+CPIN="1234"\r'),
            (0, "<", "\r\n+CME ERROR: 16\r\n"),
            (1, ">", 'AT+CPIN="12345678"\r'),
            (1, "<", "\r\nOK\r\n"),
            (2, ">", 'AT+CLCK="SC",2\r'),
            (2, "<", "\r\n+CLCK: 1\r\n\r\nOK\r\n"),
        ]
    )
    assert "16" in Stage(tape).say('AT+CPIN="4711"\r')
    assert Stage(tape).say('AT+CPIN="47110815"\r') == "\r\nOK\r\n", "the shape is told apart"
    assert "16" in Stage(tape).say("AT+CPIN=471108\r"), "another shape is taken for the first"
    assert "CLCK: 1" in Stage(tape).say('AT+CLCK="SC",2\r')
    stage = Stage(tape)
    assert stage.say('AT+CLCK="FD",2\r') == "\r\nERROR\r\n"
    assert dict(stage.player.unknown) == {'AT+CLCK="FD",2': 1}


def test_unknown_commands_are_listed_without_their_secrets() -> None:
    stage = Stage(taped([(0, ">", "AT\r"), (0, "<", "AT\r\r\nOK\r\n")]))
    assert stage.say("ATD13912345678;\r") == "ATD13912345678;\r\r\nERROR\r\n"
    stage.say("ATD13987654321;\r")
    assert dict(stage.player.unknown) == {"ATD00000000000;": 2}
    assert stage.player.answered == 0
    assert stage.say("\r\x1b\rjunk\x1a") == "\r\r", "what asks nothing is not answered"


def test_prompt_payload_and_escape() -> None:
    tape = taped(
        [
            (0, ">", "AT+CMGS=24\r"),
            (0.1, "<", "AT+CMGS=24\r\r\n> "),
            (0.2, ">", HELLO + "\x1a"),
            (0.2, "<", HELLO + "\x1a"),
            (3.2, "<", "\r\n+CMGS: 7\r\n\r\nOK\r\n"),
            (5, "<", '\r\n+CDSI: "SM",1\r\n'),
        ]
    )
    stage = Stage(tape)
    assert stage.say("AT+CMGS=30\r", 0.1) == "AT+CMGS=30\r\r\n> ", "the host's own octets echo"
    assert stage.say("00AB\x1a", 2.9) == "00AB\x1a"
    assert stage.wait(0.2) == "\r\n+CMGS: 7\r\n\r\nOK\r\n"
    assert stage.wait(3) == '\r\n+CDSI: "SM",1\r\n'
    stage = Stage(tape, is_fast=True)
    stage.say("AT+CMGS=30\r")
    assert stage.say("00\x1b") == "00\x1b\r\nOK\r\n"
    assert stage.say("AT+CMGS=30\r").endswith("> ")


def test_nothing_stands_between_prompt_and_payload() -> None:
    tape = taped(
        [
            (0, ">", "AT+CSQ\r"),
            (0, "<", "\r\nOK\r\n"),
            (1, "<", "\r\nRING\r\n"),
            (2, ">", "AT+CMGS=24\r"),
            (2, "<", "\r\n> "),
            (2, ">", HELLO + "\x1a"),
            (2, "<", "\r\n+CMGS: 7\r\n\r\nOK\r\n"),
        ]
    )
    stage = Stage(tape)
    stage.say("AT+CSQ\r")
    assert stage.say("AT+CMGS=24\r", 3) == "\r\n> ", "the ring of the first second waits"
    assert stage.say(HELLO + "\x1a") == "\r\n+CMGS: 7\r\n\r\nOK\r\n\r\nRING\r\n"


def test_text_is_typed_line_by_line() -> None:
    tape = taped(
        [
            (0, ">", 'AT+CMGS="10086"\r'),
            (0, "<", "\r\n> "),
            (0, ">", "one\r"),
            (0, "<", "\r\n> "),
            (0, ">", "two\x1a"),
            (0, "<", "\r\n+CMGS: 1\r\n\r\nOK\r\n"),
        ]
    )
    stage = Stage(tape)
    assert stage.say('AT+CMGS="10010"\r') == "\r\n> "
    assert stage.say("a\rb\rc\x1a") == "\r\n> \r\n> \r\n+CMGS: 1\r\n\r\nOK\r\n"


def test_commands_typed_ahead_wait_for_the_result() -> None:
    tape = taped(
        [
            (0, ">", "AT+CSQ\r"),
            (1, "<", "\r\n+CSQ: 9,99\r\n\r\nOK\r\n"),
            (2, ">", "ATI\r"),
            (2, "<", "\r\nX1\r\n\r\nOK\r\n"),
        ]
    )
    stage = Stage(tape)
    assert stage.say("AT+CSQ\rATI\r") == ""
    assert stage.wait(1) == "\r\n+CSQ: 9,99\r\n\r\nOK\r\n\r\nX1\r\n\r\nOK\r\n"


def test_form_of_a_command_without_its_secrets() -> None:
    assert skeleton('AT+CPIN="1"') == skeleton("at+cpin=87654321")
    assert skeleton("AT+CMGS=24") == skeleton("AT+CMGS=138")
    assert skeleton("ATD10086;") == skeleton("ATD+8613912345678;")
    assert skeleton('AT+CPIN="1234"') != skeleton('AT+CPIN="12345678","1234"')
    assert skeleton("AT+CREG=1") != skeleton("AT+CREG=2")
    assert skeleton("AT+CMGR=1") != skeleton("AT+CMGR=2")


@pytest.mark.parametrize("name", ["generic", "huawei"])
def test_recorded_command_has_the_form_of_the_real_one(name: str, tmp_path: Path) -> None:
    """Else a replay would not know what it is asked."""
    typed = [data for _, sender, data in Session(tmp_path, name).play() if sender is Sender.HOST]
    lines = [data.decode("latin-1").strip() for data in typed if data.startswith(b"AT+")]
    masker = Masker(Standins(KEY))
    assert len(lines) > 100
    for line in lines:
        masked, _ = masker.command(line)
        assert skeleton(masked) == skeleton(line)
        if "+CUSD" not in line:
            assert shape(masked) == shape(line)


def test_whole_session_is_played_back_octet_by_octet(tmp_path: Path) -> None:
    """Who says what was said hears what was heard, but for the stand-ins."""
    bench = Session(tmp_path, "generic")
    traffic = [step for step in bench.play() if step[0] < 60_000]
    tape = Tape(header=Header(started=""), records=tuple(recorded(traffic)))
    stage = Stage(tape)
    heard = ""
    now = 0
    for ms, sender, data in traffic:
        heard += stage.wait((ms - now) / 1000)
        now = ms
        if sender is Sender.HOST:
            heard += stage.say(data.decode("latin-1"))
    heard += stage.wait(20)
    said = b"".join(data for _, sender, data in traffic if sender is Sender.MODEM)
    assert len(heard) == len(said)
    assert not stage.player.unknown
    assert PIN in heard, "the echo is of what is typed now"
    assert FRIEND[1:] not in heard.replace(f'CSCA="{FRIEND}"', "")
