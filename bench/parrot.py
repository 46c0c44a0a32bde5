"""A bank of modems with no world behind it: what Python pays for the bytes alone.

Each port answers what a load generator says with the bytes that the simulator would answer, from a
bare `select.epoll` loop: no parser, no card, no network, no ledger. The folder looks like a bank's:

    .venv/bin/python bench/parrot.py --modems 64 --dir /tmp/parrot [--transport unix]
"""

from __future__ import annotations

import argparse
import os
import select
import socket
import sys
import tty
from pathlib import Path
from typing import Final

_ANSWERS: Final = {
    b"AT+CPIN?": b"\r\n+CPIN: READY\r\n\r\nOK\r\n",
    b"AT+CREG?": b"\r\n+CREG: 0,1\r\n\r\nOK\r\n",
    b"AT+CPMS?": b'\r\n+CPMS: "SM",0,40,"SM",0,40,"SM",0,40\r\n\r\nOK\r\n',
    b"AT+CSQ": b"\r\n+CSQ: 20,99\r\n\r\nOK\r\n",
}
_ENDING: Final = b"\x1a"


class Parrot:
    """One port; `fd` is the end that it speaks by."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._typed = b""
        self._reference = 0
        self._is_prompting = False

    def answer(self) -> None:
        """Read what is there and answer all that is complete."""
        self._typed += os.read(self.fd, 65536)
        while (end := self._typed.find(_ENDING if self._is_prompting else b"\r")) >= 0:
            said, self._typed = self._typed[:end], self._typed[end + 1 :]
            os.write(self.fd, self._said(said))

    def _said(self, said: bytes) -> bytes:
        if self._is_prompting:
            self._is_prompting = False
            self._reference = (self._reference + 1) & 0xFF
            return b"\r\n+CMGS: %d\r\n\r\nOK\r\n" % self._reference
        self._is_prompting = said.startswith(b"AT+CMGS=")
        return b"\r\n> " if self._is_prompting else _ANSWERS.get(said, b"\r\nOK\r\n")


def main() -> int:
    options = _options()
    ports = options.dir / "ports"
    ports.mkdir(parents=True)
    names = [f"modem{number:04}" for number in range(1, options.modems + 1)]
    opened = _terminals if options.transport == "pty" else _sockets
    poll, parrots = select.epoll(), opened([ports / name for name in names])
    (options.dir / "cards.csv").write_text(
        "modem,pin\n" + "".join(f"{name},\n" for name in names), "ascii"
    )
    print(f"ready {options.modems} modems in {options.dir}", flush=True)
    _serve(poll, parrots)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--modems", type=int, default=64, help="size of the bank (default 64)")
    parser.add_argument("--dir", type=Path, required=True, help="a folder that does not exist yet")
    parser.add_argument("--transport", choices=["pty", "unix"], default="pty")
    return parser.parse_args()


def _terminals(paths: list[Path]) -> dict[int, int | socket.socket]:
    """Masters of new terminals → the slave, which stays open as in a real bank."""
    found: dict[int, int | socket.socket] = {}
    for path in paths:
        master, slave = os.openpty()
        tty.setraw(slave)
        path.symlink_to(os.ttyname(slave))
        found[master] = slave
    return found


def _sockets(paths: list[Path]) -> dict[int, int | socket.socket]:
    """Listening sockets by their descriptors."""
    found: dict[int, int | socket.socket] = {}
    for path in paths:
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(path))
        listening.listen()
        found[listening.fileno()] = listening
    return found


def _serve(poll: select.epoll, ends: dict[int, int | socket.socket]) -> None:
    for fd in ends:
        poll.register(fd, select.EPOLLIN)
    parrots = {fd: Parrot(fd) for fd, other in ends.items() if isinstance(other, int)}
    clients: list[socket.socket] = []
    while True:
        for fd, mask in poll.poll():
            listening = ends.get(fd)
            if isinstance(listening, socket.socket):
                client, _ = listening.accept()
                clients.append(client)
                parrots[client.fileno()] = Parrot(client.fileno())
                poll.register(client, select.EPOLLIN)
            elif mask & select.EPOLLHUP:
                poll.unregister(fd)
            else:
                parrots[fd].answer()


if __name__ == "__main__":
    sys.exit(main())
