"""A serial line seen as octets: what a client types and what comes back, read by read."""

import os
import select
import time
from collections.abc import Callable
from typing import Self

_FACTOR = float(os.environ.get("MODEMCTL_TIME_FACTOR", "1"))


class Wire:
    """An open port. Everything that came since the last `typed` is kept in `reads`."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.reads: list[bytes] = []

    def __enter__(self) -> Self:
        self._fd = os.open(self._path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def type(self, octets: bytes) -> None:
        """Write as one piece."""
        os.write(self._fd, octets)

    def until(self, end: bytes | Callable[[bytes], bool], *, seconds: float = 60.0) -> bytes:
        """Read until the octets end so; fails after `seconds` with what came."""
        deadline = time.monotonic() + seconds * _FACTOR
        self.reads = []
        while True:
            said = b"".join(self.reads)
            if said.endswith(end) if isinstance(end, bytes) else end(said):
                return said
            left = deadline - time.monotonic()
            assert left > 0, f"waited for {end!r}, got {said!r}"
            if select.select([self._fd], [], [], left)[0]:
                self.reads.append(os.read(self._fd, 65536))

    def silence(self, seconds: float) -> None:
        """Nothing may come for so long."""
        found = select.select([self._fd], [], [], seconds)[0]
        assert not found, os.read(self._fd, 65536)

    def ask(self, line: str, end: bytes = b"\r\nOK\r\n") -> bytes:
        """Type a command line and read to the end of its answer."""
        self.type(line.encode() + b"\r")
        return self.until(end)

    def lines(self, line: str, end: bytes = b"\r\nOK\r\n") -> list[str]:
        """The answer's lines without echo and final result."""
        said = self.ask(line, end).decode("latin-1")
        return [part for part in said.replace("\r", "").split("\n") if part and part != line][:-1]

    def quiet(self, octets: bytes, question: str = "AT+GCAP") -> None:
        """Type octets that must get no answer: the next question's answer comes alone."""
        self.type(octets)
        said = self.ask(question)
        assert said == b"\r\n+GCAP: +CGSM,+DS,+ES\r\n\r\nOK\r\n", said
