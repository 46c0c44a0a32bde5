"""What a submit costs, counted in calls: no clock, so that it holds on a busy machine too."""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from simulator.bank import Bank
from simulator.clock import VirtualClock
from simulator.persona import PortRole
from simulator.story.scenario import PinLock, Scenario

_PAYLOAD = b"0011000D91683109000000F10000A705E8329BFD06\x1a"


class Ear:
    """Keeps what the modem says."""

    def __init__(self) -> None:
        self.heard = b""

    def write(self, data: bytes) -> None:
        self.heard += data


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Every Python function and built-in that is called, by name."""
    calls: Counter[str] = Counter()

    def note(frame: FrameType, event: str, called: object) -> None:
        if event == "call":
            calls[frame.f_code.co_qualname] += 1
        elif event == "c_call":
            calls[getattr(called, "__qualname__", "?")] += 1

    sys.setprofile(note)
    try:
        yield calls
    finally:
        sys.setprofile(None)


def submitted(folder: Path, n_modems: int) -> Counter[str]:
    """The calls of one submit, by the last modem of a bank that has been at it for a while."""
    scenario = Scenario(
        modems=n_modems, persona="generic", latency=0.0, report_delay=0.0, pin_lock=PinLock.OFF
    )
    clock = VirtualClock(datetime(2026, 11, 22, tzinfo=UTC))
    folder.mkdir()
    bank = Bank(scenario, folder, clock=clock)
    bank.open()
    clock.advance(60.0)
    for modem in bank.modems:
        modem.receive(b"ATE0\rAT+CMGF=0\r")
    ear, modem = Ear(), bank.modems[-1]
    modem.ports = {PortRole.AT: ear}
    for _ in range(3):
        with counted() as calls:
            modem.receive(b"AT+CMGS=20\r")
            modem.receive(_PAYLOAD)
    assert ear.heard.count(b"+CMGS: ") == 3
    bank.close()
    return calls


def test_a_submit_costs_the_same_in_a_bank_of_four_and_of_four_hundred(tmp_path: Path) -> None:
    few, many = submitted(tmp_path / "few", 4), submitted(tmp_path / "many", 400)
    assert many == few


def test_a_submit_without_rules_draws_nothing_and_opens_no_file(tmp_path: Path) -> None:
    calls = submitted(tmp_path / "bank", 4)
    assert calls["Ledger.add"] == calls["write"] == 1
    assert not [name for name in calls if name.startswith(("Dice.", "Chance."))]
    assert not calls.keys() & {"open", "stat", "replace", "fsync", "Path.open"}
