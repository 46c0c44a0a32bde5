"""The typist: a client that types by itself, and hears no more than it needs."""

import gc
from pathlib import Path

from simulator.typist import Typist
from tests.support.one_modem import OneModem


def _kept() -> int:
    """Octets in byte arrays that something still holds."""
    held = (one for root in gc.get_objects() if isinstance(root, Typist)
            for one in gc.get_referents(root))  # fmt: skip
    return sum(len(one) for one in held if isinstance(one, bytearray))


def test_what_a_modem_says_while_nothing_is_typed_is_not_kept(tmp_path: Path) -> None:
    bench = OneModem(tmp_path)
    typist = Typist(bench.modem, bench.clock)
    assert typist.type(b"AT\r").endswith(b"OK\r\n")
    for _ in range(200):
        bench.say("ATI")
    assert _kept() < 100


def test_typist_still_sends_after_much_was_said(tmp_path: Path) -> None:
    bench = OneModem(tmp_path)
    typist = Typist(bench.modem, bench.clock)
    for _ in range(20):
        bench.say("ATI")
    typist.send("+491712345678", "hello")
    bench.wait(60)
    assert [line["text"] for line in bench.ledger.read(kind="submit")] == ["hello"]
