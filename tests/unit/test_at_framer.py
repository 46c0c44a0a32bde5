"""Bytes to lines and prompts."""

from __future__ import annotations

import pytest

from drivers.at.framer import BARE_PROMPT_SILENCE, MAX_LINE, Framer, Line, Prompt, Token


def tokens(data: bytes, *, step: int | None = None, expects_prompt: bool = False) -> list[Token]:
    framer, found = Framer(), []
    framer.expects_prompt = expects_prompt
    step = step or len(data)
    for at in range(0, len(data), step):
        framer.push(data[at : at + step], 0.0)
        while (token := framer.next_token()) is not None:
            found.append(token)
            if isinstance(token, Prompt):
                framer.expects_prompt = False
    return found


def line(text: str) -> Line:
    return Line(text=text)


CASES = [
    ("verbose answer", b"\r\n+CSQ: 20,99\r\n\r\nOK\r\n", ["+CSQ: 20,99", "OK"]),
    ("echo glued by CR CR LF", b"AT+CSQ\r\r\n+CSQ: 20,99\r\n", ["AT+CSQ", "+CSQ: 20,99"]),
    ("SimTech triple ends", b"\r\r\n+CRING: VOICE\r\r\n", ["+CRING: VOICE"]),
    ("NULs at boot", b"\0\0\r\nR\0DY\r\n\0", ["RDY"]),
    ("blanks around", b"\r\n  WAVECOM MODEM \r\n", ["WAVECOM MODEM"]),
    ("bytes above 7F", b"\r\n\xff\xfeX\r\n", ["\xff\xfeX"]),
    ("half a line", b"\r\nOK", []),
    ("prompt nobody waits for", b"\r\n> \r\nOK\r\n", [">", "OK"]),
]


@pytest.mark.parametrize(("data", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
@pytest.mark.parametrize("step", [None, 1], ids=["whole", "byte by byte"])
def test_bytes_become_lines(data: bytes, expected: list[str], step: int | None) -> None:
    assert tokens(data, step=step) == [line(text) for text in expected]


PROMPTS = [
    ("the standard's", b"\r\n> "),
    ("without line ends", b"> "),
    ("after CR", b"\r> "),
    ("behind a URC", b'\r\n+CMTI: "SM",3\r\n\r\n> '),
    ("closed by a line end", b"\r\n>\r\n"),
]


@pytest.mark.parametrize("data", [c[1] for c in PROMPTS], ids=[c[0] for c in PROMPTS])
@pytest.mark.parametrize("step", [None, 1], ids=["whole", "byte by byte"])
def test_prompt_is_taken_at_once(data: bytes, step: int | None) -> None:
    assert tokens(data, step=step, expects_prompt=True)[-1] == Prompt()


@pytest.mark.parametrize("step", [None, 1], ids=["whole", "byte by byte"])
def test_what_follows_a_prompt_is_a_line(step: int | None) -> None:
    data = b"\r\n> \r\nRING\r\n"
    assert tokens(data, step=step, expects_prompt=True) == [Prompt(), line("RING")]


def test_bare_prompt_needs_silence() -> None:
    framer = Framer()
    framer.expects_prompt = True
    framer.push(b"\r\n>", 10.0)
    assert framer.next_token() is None
    assert framer.prompt_due == 10.0 + BARE_PROMPT_SILENCE
    assert framer.tick(10.0) is None
    assert framer.tick(10.0 + BARE_PROMPT_SILENCE) == Prompt()
    assert framer.prompt_due is None


def test_greater_sign_with_text_is_no_prompt() -> None:
    framer = Framer()
    framer.expects_prompt = True
    framer.push(b"\r\n>x", 0.0)
    assert framer.prompt_due is None
    assert framer.tick(9.0) is None


def test_blank_after_a_silent_prompt_is_dropped() -> None:
    framer = Framer()
    framer.expects_prompt = True
    framer.push(b">", 0.0)
    assert framer.tick(1.0) == Prompt()
    framer.expects_prompt = False
    framer.push(b" \r\nOK\r\n", 1.1)
    assert framer.next_token() == line("OK")


@pytest.mark.parametrize("step", [None, 1, 700], ids=["whole", "byte by byte", "in parts"])
def test_over_long_line_is_cut_and_the_next_is_whole(step: int | None) -> None:
    data = b"x" * (MAX_LINE + 500) + b"\r\nOK\r\n"
    assert tokens(data, step=step) == [Line(text="x" * MAX_LINE, is_cut=True), line("OK")]


def test_longest_line_is_kept_whole() -> None:
    assert tokens(b"x" * MAX_LINE + b"\r\n", step=1) == [line("x" * MAX_LINE)]


def test_cut_line_of_blanks_is_nothing() -> None:
    framer = Framer()
    framer.push(b"x" + b" " * (2 * MAX_LINE), 0.0)
    assert framer.next_token() is None
    framer.push(b"\r\n", 0.0)
    assert framer.next_token() == Line(text="x", is_cut=True)


def test_endless_line_takes_no_endless_memory() -> None:
    framer = Framer()
    for _ in range(1000):
        framer.push(b"y" * 1000, 0.0)
        assert framer.next_token() is None
    assert len(framer._buffer) <= MAX_LINE
