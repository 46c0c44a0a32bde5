"""A simulated bank in a process of its own, as users start it."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from simulator import ledger
from simulator.control.server import BankControl
from simulator.ledger import Fact

_FACTOR = float(os.environ.get("MODEMCTL_TIME_FACTOR", "1"))
_never = threading.Event()


def within(fact: object, *keys: str | int) -> object:
    """What lies deep in a line of facts: `within(state, "card", "iccid")`."""
    for key in keys:
        if isinstance(key, int):
            assert isinstance(fact, list)
            fact = fact[key]
        else:
            assert isinstance(fact, dict)
            fact = fact[key]
    return fact


def wait_until(holds: Callable[[], bool], *, what: str, seconds: float = 30.0) -> None:
    """Wait until something holds; fails with `what` after `seconds` (scaled by one factor)."""
    deadline = time.monotonic() + seconds * _FACTOR
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        _never.wait(0.02)


class BankProcess:
    """`python -m simulator …` while the context is open; its end must be clean."""

    def __init__(self, folder: Path, *flags: str) -> None:
        self.folder = folder
        self._flags = flags

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "simulator", "--dir", str(self.folder), *self._flags]
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.ready_line = self._process.stdout.readline()
        if not self.ready_line.startswith("ready"):
            _, errors = self._process.communicate(timeout=60)
            raise AssertionError(f"the simulator did not start: {errors}")
        self.control = BankControl(self.folder / "control.sock")
        return self

    def __exit__(self, *_: object) -> None:
        self.control.close()
        self._process.terminate()
        _, errors = self._process.communicate(timeout=60)
        assert self._process.returncode == 0, errors
        assert errors == ""

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def connect(self) -> BankControl:
        """A control connection of one's own, for a thread."""
        return BankControl(self.folder / "control.sock")

    def port(self, modem: str = "modem01") -> str:
        """The path of a modem's port."""
        return str(self.folder / "ports" / modem)

    def ledger(self, **wanted: Fact) -> list[dict[str, Fact]]:
        """The ledger's lines with these values, read from the file."""
        lines = ledger.read(self.folder / "ledger.jsonl")
        return [line for line in lines if ledger.matches(line, wanted)]
