"""Where a process may be killed: before and after each thing that it does to the world.

Between two of these nothing leaves the process, so that a kill there is a kill at the later one.
The product knows nothing of it: what it calls is wrapped in the process that is to be killed.
"""

from __future__ import annotations

import functools
import json
import os
import re
import signal
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

_STATEMENT = re.compile(r"\s*(INSERT|UPDATE|DELETE|BEGIN|SAVEPOINT|RELEASE)\b(?:\W*(\w+))?", re.I)
_TABLE = re.compile(r"\s*(?:INSERT\s+(?:OR\s+\w+\s+)?INTO|UPDATE|DELETE\s+FROM)\s+\"?(\w+)", re.I)
_COMMAND = re.compile(rb"AT([+^$*&]?[A-Z0-9]*)")
_TOLD = (b"+CMGS:", b"+CMTI:", b"+CDSI:", b"+CMT:", b"+CDS:", b"+CMGR:", b"+CMGL:", b"+CPIN:")
_CTRL_Z = b"\x1a"


@dataclass(frozen=True, slots=True)
class Point:
    """The `turn`-th time (from 1) that `what` comes."""

    what: str
    turn: int

    def __str__(self) -> str:
        return f"{self.what} #{self.turn}"


class Reaper:
    """Kills its own process at a point, or notes every point that it comes by.

    `notes` is a file: a line for each point where none is wanted, else one line before the end.
    """

    def __init__(self, wanted: Point | None, notes: Path) -> None:
        self._wanted = wanted
        self._fd = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._seen: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._write = os.write  # the real one

    def come_by(self, what: str) -> None:
        """The process is at such a point."""
        with self._lock:
            self._seen[what] += 1
            point = Point(what, self._seen[what])
            if self._wanted is not None and point != self._wanted:
                return
            line = json.dumps([point.what, point.turn])
            self._write(self._fd, f"{line}\n".encode())
            if point == self._wanted:
                _die()

    def is_due(self, what: str) -> bool:
        """Whether the next point of this kind is the one."""
        return self._wanted == Point(what, self._seen[what] + 1)

    def install(self) -> None:
        """Wrap what this process does to its database, its ports and its files."""
        real = sqlite3.dbapi2.connect
        factory = _watched_connections(self)
        sqlite3.dbapi2.connect = functools.partial(real, factory=factory)
        os.write = self._watched_write(os.write)
        os.read = self._watched_read(os.read)
        os.replace = self._watched_file(os.replace, "replace")
        os.fsync = self._watched_file(os.fsync, "fsync")

    def _watched_write(self, real: Callable[[int, bytes], int]) -> Callable[[int, bytes], int]:
        def write(fd: int, data: bytes) -> int:
            if not os.isatty(fd) or not data:
                return real(fd, data)
            what = _spoken(data)
            self.come_by(f"before {what}")
            for part, n in (("half of", len(data) // 2), ("all but the last octet of", -1)):
                if self.is_due(f"{part} {what}"):
                    real(fd, data[:n])
                self.come_by(f"{part} {what}")
            n_written = real(fd, data)
            self.come_by(f"after {what}")
            return n_written

        return write

    def _watched_read(self, real: Callable[[int, int], bytes]) -> Callable[[int, int], bytes]:
        def read(fd: int, size: int) -> bytes:
            data = real(fd, size)
            if data and os.isatty(fd):
                for told in _TOLD:
                    if told in data:
                        self.come_by(f"read {told.decode()}")
                if data.rstrip().endswith(b">"):
                    self.come_by("read prompt")
            return data

        return read

    def _watched_file(self, real: Callable[..., None], name: str) -> Callable[..., None]:
        def act(*args: object, **facts: object) -> None:
            self.come_by(f"before {name} of a file")
            real(*args, **facts)
            self.come_by(f"after {name} of a file")

        return act


def _watched_connections(reaper: Reaper) -> type[sqlite3.Connection]:
    """Connections whose changes are points; queries change nothing, and are none."""

    class Cursor(sqlite3.Cursor):
        def execute(self, text: str, *values: object) -> sqlite3.Cursor:
            self.connection.pass_by(text)
            return super().execute(text, *values)

        def executemany(self, text: str, *values: object) -> sqlite3.Cursor:
            self.connection.pass_by(text)
            return super().executemany(text, *values)

    class Connection(sqlite3.Connection):
        def __init__(self, *args: object, **facts: object) -> None:
            super().__init__(*args, **facts)
            self._changed: set[str] = set()
            self._is_reader = False

        def cursor(self, factory: type[sqlite3.Cursor] = Cursor) -> sqlite3.Cursor:
            return super().cursor(factory)

        def commit(self) -> None:
            if self._is_reader or not self.in_transaction:
                super().commit()
                return
            what = f"COMMIT of {' '.join(sorted(self._changed)) or 'nothing'}"
            reaper.come_by(f"before {what}")
            super().commit()
            reaper.come_by(f"after {what}")

        def pass_by(self, text: str) -> None:
            self._is_reader = self._is_reader or text == "PRAGMA query_only=ON"
            found = _STATEMENT.match(text)
            if self._is_reader or found is None:
                return
            verb = found[1].upper()
            if verb == "BEGIN":
                self._changed.clear()
            table = _TABLE.match(text)
            if table is not None:
                self._changed.add(table[1])
                verb = f"{verb} {table[1]}"
            reaper.come_by(f"before {verb}")

    return Connection


def _spoken(data: bytes) -> str:
    """What is written to a modem, without what is secret or changes from time to time."""
    if data.endswith(_CTRL_Z):
        return "TPDU and Ctrl-Z"
    found = _COMMAND.match(data)
    if found is not None:
        return f"AT{found[1].decode()}"
    return "ESC" if data.startswith(b"\x1b") else "other octets"


def _die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    while True:
        signal.pause()  # another thread may come here before the kernel does
