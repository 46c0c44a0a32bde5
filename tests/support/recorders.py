"""The recorder and the replay as processes, and a program that drives what they serve."""

import contextlib
import os
import signal
import subprocess
import sys
import tty
from pathlib import Path
from typing import Self

from tests.support.simulated import wait_until


class Tool:
    """`python -m simulator.recording …` until it is told to end; `ready` is its first line."""

    def __init__(self, *arguments: str | Path) -> None:
        self._command = [sys.executable, "-m", "simulator.recording", *map(str, arguments)]
        self.output = ""
        self.errors = ""
        self.status: int | None = None

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            self._command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        is_json = "--json" in self._command
        stream = self.process.stderr if is_json else self.process.stdout
        assert stream is not None
        self.ready = stream.readline()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self, number: int = signal.SIGTERM) -> None:
        if self.status is None:
            self.process.send_signal(number)
            self.output, self.errors = self.process.communicate(timeout=60)
            self.status = self.process.returncode


class Client:
    """A program with the port open: types, and reads until something is there."""

    def __init__(self, path: Path | str) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(self._fd)
        os.set_blocking(self._fd, False)
        self.heard = b""

    def close(self) -> None:
        os.close(self._fd)

    def type(self, octets: bytes) -> None:
        assert os.write(self._fd, octets) == len(octets)

    def say(self, octets: bytes, until: bytes = b"OK\r\n") -> bytes:
        before = len(self.heard)
        self.type(octets)
        self.hear(until, before)
        return self.heard[before:]

    def hear(self, until: bytes, start: int = 0) -> None:
        def is_there() -> bool:
            with contextlib.suppress(BlockingIOError):
                self.heard += os.read(self._fd, 4096)
            return until in self.heard[start:]

        wait_until(is_there, what=f"{until!r} in {self.heard[-200:]!r}")
