"""A tap on every modem of a bank: sees what its client writes, at the moment it can be read.

Each tap is a pseudo terminal of its own before the modem's; a thread carries bytes both ways. The
time of a client's first byte is taken before it is carried on, so the tap is in no time that ends
there; it is in whatever else the client asks of the modem before.
"""

from __future__ import annotations

import os
import select
import threading
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Final

_ANNOUNCED: Final = b"AT+CMGS="
_TURN: Final = 0.2  # seconds between looks whether it shall end
_LEARNT: Final = 30.0  # seconds for the bank to have its ports


@dataclass(frozen=True, slots=True, kw_only=True)
class Announced:
    """`AT+CMGS` on a modem's line: when its first byte was read (s, `time.monotonic`).

    `last_command` is what its client had written before (a word), `since` how long before that.
    """

    at: float
    modem: str
    last_command: str
    since: float


@dataclass(slots=True, kw_only=True)
class _Tap:
    modem: str
    port: int
    master: int
    slave: int
    last_command: str = ""
    last_at: float = 0.0


class Taps:
    """The taps of a bank; `seen` brings each announcement."""

    def __init__(self, ports: Path, links: Path) -> None:
        self.seen: SimpleQueue[Announced] = SimpleQueue()
        self._epoll = select.epoll()
        self._ends: dict[int, tuple[_Tap, bool]] = {}
        for port in sorted(ports.iterdir()):
            self._add(port, links / port.name)

    def _add(self, port: Path, link: Path) -> None:
        master, slave = os.openpty()
        tty.setraw(slave)
        fd = os.open(port, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(fd)
        tap = _Tap(modem=port.name, port=fd, master=master, slave=slave)
        self._ends |= {fd: (tap, False), master: (tap, True)}
        for end in (fd, master):
            self._epoll.register(end, select.EPOLLIN)
        link.symlink_to(os.ttyname(slave))

    def turn(self) -> None:
        """Carry what there is; waits a little where there is nothing."""
        for fd, _ in self._epoll.poll(_TURN):
            tap, is_client = self._ends[fd]
            data = os.read(fd, 65536)
            if is_client:
                self._note(tap, data)
            os.write(tap.port if is_client else tap.master, data)

    def _note(self, tap: _Tap, data: bytes) -> None:
        now = time.monotonic()
        if data.startswith(_ANNOUNCED):
            since = now - tap.last_at
            last = tap.last_command
            self.seen.put(Announced(at=now, modem=tap.modem, last_command=last, since=since))
        if data.startswith(b"AT"):
            tap.last_command = data[2:14].decode("ascii", errors="replace").strip()
        tap.last_at = now

    def close(self) -> None:
        """Close all of them."""
        self._epoll.close()
        for fd, (tap, is_client) in self._ends.items():
            os.close(fd)
            if is_client:
                os.close(tap.slave)


@contextmanager
def tapped(bank: Path, links: Path, *, n_modems: int) -> Iterator[SimpleQueue[Announced]]:
    """Tap a bank that is just starting; the taps' ports appear in the folder `links`."""
    links.mkdir()
    seen: SimpleQueue[Announced] = SimpleQueue()
    is_over = threading.Event()

    def carry() -> None:
        deadline = time.monotonic() + _LEARNT
        while not _is_whole(bank / "ports", n_modems):
            if is_over.wait(0.05) or time.monotonic() > deadline:
                return
        taps = Taps(bank / "ports", links)
        taps.seen = seen
        try:
            while not is_over.is_set():
                taps.turn()
        finally:
            taps.close()

    thread = threading.Thread(target=carry, name="taps", daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        is_over.set()
        thread.join()


def _is_whole(ports: Path, n_modems: int) -> bool:
    return ports.is_dir() and sum(one.exists() for one in ports.iterdir()) == n_modems
