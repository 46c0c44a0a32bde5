"""Where a process may be killed: before and after each thing that it does to the world.

Between two of these nothing leaves the process, so that a kill there is a kill at the later one.
The product knows nothing of it: what it calls is wrapped in the process that is to be killed.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import NoReturn
from weakref import WeakKeyDictionary

import psycopg

from modemctl.store.journal import Journal

_STATEMENT = re.compile(r"\s*(INSERT|UPDATE|DELETE|BEGIN|SAVEPOINT|RELEASE|NOTIFY|LISTEN)\b", re.I)
_TABLE = re.compile(r"\s*(?:INSERT\s+(?:OR\s+\w+\s+)?INTO|UPDATE|DELETE\s+FROM)\s+\"?(\w+)", re.I)
_LOCK = re.compile(r"\s*SELECT pg_(?:try_)?advisory_(xact_)?lock", re.I)
_LOCAL = re.compile(r"\.<locals>.*$")
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
        self.act: str | None = None  # that the journal's thread is in

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
        sqlite3.dbapi2.connect = partial(real, factory=factory)
        _watch_postgresql(self)
        self._name_acts()
        os.write = self._watched_write(os.write)
        os.read = self._watched_read(os.read)
        os.replace = self._watched_file(os.replace, "replace")
        os.fsync = self._watched_file(os.fsync, "fsync")

    def _name_acts(self) -> None:
        """Let statements be told by the act of the journal that they belong to."""
        real, real_in_set, named = Journal.write, Journal.write_in_set, cache(self._named)
        real_follow = Journal.follow
        Journal.write = lambda journal, act, **how: real(journal, self._named(act), **how)
        Journal.write_in_set = lambda journal, act, item: real_in_set(journal, named(act), item)
        Journal.follow = lambda journal, topic, act, **how: real_follow(
            journal, topic, self._named(act), **how
        )

    def _named(self, act: Callable[..., object]) -> Callable[..., object]:
        name = _LOCAL.sub("", getattr(act, "__qualname__", type(act).__name__))

        def run(*given: object) -> object:
            self.act = name
            try:
                return act(*given)
            finally:
                self.act = None

        return run

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


class _Changes:
    """What a connection does to its database, told to the reaper; queries change nothing."""

    def __init__(self, reaper: Reaper) -> None:
        self._reaper = reaper
        self._by: set[str] = set()
        self._is_reader = False
        self.is_writing = False

    def pass_by(self, text: str) -> None:
        """A statement is about to run."""
        self._is_reader = self._is_reader or text == "PRAGMA query_only=ON"
        found, lock = _STATEMENT.match(text), _LOCK.match(text)
        if self._is_reader or (found is None and lock is None):
            return
        verb = "lock" if found is None else found[1].upper()
        if verb == "BEGIN" or (lock is not None and lock[1]):
            self._by.clear()
            self.is_writing = True
            verb = "BEGIN"
        table, act = _TABLE.match(text), self._reaper.act
        if table is not None:
            verb = f"{verb} {table[1]}"
        if act is not None:
            verb = f"{verb} by {act}"
        elif len(self._by) == 1:
            verb = f"{verb} after {next(iter(self._by))}"
        if table is not None and act is not None:
            self._by.add(act)
        self._reaper.come_by(f"before {verb}")

    def commit(self, real: Callable[[], None], *, send: Callable[[], None] | None = None) -> None:
        """Commit what a writer began; `send` asks a server for it and waits for no answer."""
        if not self.is_writing:
            real()
            return
        what = f"COMMIT of {' '.join(sorted(self._by)) or 'nothing'}"
        self._reaper.come_by(f"before {what}")
        if send is not None:
            if self._reaper.is_due(f"unanswered {what}"):
                send()
            self._reaper.come_by(f"unanswered {what}")
        real()
        self.is_writing = False
        self._reaper.come_by(f"after {what}")


def _watched_connections(reaper: Reaper) -> type[sqlite3.Connection]:
    """SQLite's."""

    class Cursor(sqlite3.Cursor):
        def execute(self, text: str, *values: object) -> sqlite3.Cursor:
            self.connection.changes.pass_by(text)
            return super().execute(text, *values)

        def executemany(self, text: str, *values: object) -> sqlite3.Cursor:
            self.connection.changes.pass_by(text)
            return super().executemany(text, *values)

    class Connection(sqlite3.Connection):
        def __init__(self, *args: object, **facts: object) -> None:
            super().__init__(*args, **facts)
            self.changes = _Changes(reaper)

        def cursor(self, factory: type[sqlite3.Cursor] = Cursor) -> sqlite3.Cursor:
            return super().cursor(factory)

        def commit(self) -> None:
            self.changes.commit(super().commit)

    return Connection


def _watch_postgresql(reaper: Reaper) -> None:
    """PostgreSQL's: the writer's, which has taken the writers' lock, and who listens."""
    watched: WeakKeyDictionary[psycopg.Connection, _Changes] = WeakKeyDictionary()

    def passing(real: Callable[..., object]) -> Callable[..., object]:
        def run(cursor: psycopg.Cursor, text: object, *values: object, **how: object) -> object:
            if isinstance(text, str):
                found = watched.setdefault(cursor.connection, _Changes(reaper))
                found.pass_by(text)
            return real(cursor, text, *values, **how)

        return run

    real_commit = psycopg.Connection.commit

    def commit(conn: psycopg.Connection) -> None:
        changes = watched.setdefault(conn, _Changes(reaper))
        changes.commit(partial(real_commit, conn), send=partial(_send_commit, conn))

    psycopg.Cursor.execute = passing(psycopg.Cursor.execute)
    psycopg.Cursor.executemany = passing(psycopg.Cursor.executemany)
    psycopg.AsyncCursor.execute = passing(psycopg.AsyncCursor.execute)
    psycopg.Connection.commit = commit


def _send_commit(conn: psycopg.Connection) -> None:
    conn.pgconn.send_query(b"COMMIT")
    while conn.pgconn.flush():
        continue


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
