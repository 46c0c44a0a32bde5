"""The typist: a client that types by itself, and hears no more than it needs."""

from pathlib import Path

from simulator.story.typist import Typist
from tests.support.one_modem import OneModem


def _kept(typist: Typist) -> int:
    """Octets that it holds."""
    return sum(len(one) for one in vars(typist).values() if isinstance(one, bytearray))


def test_what_a_modem_says_while_nothing_is_typed_is_not_kept(tmp_path: Path) -> None:
    bench = OneModem(tmp_path)
    typist = Typist(bench.modem, bench.clock)
    assert typist.type(b"AT\r").endswith(b"OK\r\n")
    for _ in range(200):
        bench.say("ATI")
    assert _kept(typist) < 100


def test_typist_still_sends_after_much_was_said(tmp_path: Path) -> None:
    bench = OneModem(tmp_path)
    typist = Typist(bench.modem, bench.clock)
    for _ in range(20):
        bench.say("ATI")
    typist.send("+491712345678", "hello")
    bench.wait(60)
    assert [line["text"] for line in bench.ledger.read(kind="submit")] == ["hello"]
