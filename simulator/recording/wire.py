"""The way to the real modem: a serial line, a TCP or a Unix socket, as one file descriptor."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
import socket
import termios
import tty
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

_OPEN_SECONDS: Final = 10.0
_BACKLOG: Final = 1 << 20
_CFLAG: Final = 2
_SPEEDS: Final = (4, 5)


class WireError(Exception):
    """The modem cannot be reached; the message says why and what to do."""


class Transport(StrEnum):
    """How the modem is connected."""

    TTY = "tty"
    TCP = "tcp"
    UNIX = "unix"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where the modem is. `place` is a path, or `host:port` for TCP."""

    transport: Transport
    place: str
    baud: int = 115200
    has_flow_control: bool = False


def source(text: str, *, baud: int = 115200, has_flow_control: bool = False) -> Source:
    """What the user called a port: a device, `tcp:HOST:PORT`, `unix:PATH` or a socket's path.

    Raises:
        WireError: it is none of these.
    """
    scheme, _, place = text.partition(":")
    if scheme in {"tcp", "unix"} and place:
        transport = Transport(scheme)
    elif Path(text).is_socket():
        transport, place = Transport.UNIX, text
    else:
        transport, place = Transport.TTY, text
    if transport is Transport.TCP and not re.fullmatch(r"[0-9]{1,5}", place.rpartition(":")[2]):
        raise WireError(f"{text}: write tcp:HOST:PORT")
    if not hasattr(termios, f"B{baud}"):
        raise WireError(f"{baud} is no speed of a serial line; 115200 is the usual one")
    return Source(transport=transport, place=place, baud=baud, has_flow_control=has_flow_control)


async def connect(source: Source) -> int:
    """Open the way to the modem: a file descriptor that does not block.

    Raises:
        WireError: missing, taken, not allowed, or no answer in time.
    """
    try:
        async with asyncio.timeout(_OPEN_SECONDS):
            if source.transport is Transport.TTY:
                return await asyncio.to_thread(_open_tty, source)
            return await _open_socket(source)
    except TimeoutError as error:
        raise WireError(f"{source.place} did not open in {_OPEN_SECONDS:.0f} s") from error
    except PermissionError as error:
        raise WireError(
            f"{source.place}: not allowed; be root or in the group of the device (often dialout)"
        ) from error
    except (OSError, termios.error) as error:
        raise WireError(f"{source.place}: {error.args[-1]}") from error


def _open_tty(source: Source) -> int:
    if Path(source.place).exists() and not Path(source.place).is_char_device():
        raise WireError(f"{source.place} is no serial line")
    flags = os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC
    fd = os.open(source.place, flags)
    try:
        fcntl.ioctl(fd, termios.TIOCEXCL)
        tty.setraw(fd)
        settings = termios.tcgetattr(fd)
        # No hang-up with the last close, no waiting for a carrier: the modem keeps its state.
        settings[_CFLAG] |= termios.CLOCAL | termios.CREAD
        settings[_CFLAG] &= ~(termios.HUPCL | termios.CRTSCTS)
        if source.has_flow_control:
            settings[_CFLAG] |= termios.CRTSCTS
        for place in _SPEEDS:
            settings[place] = getattr(termios, f"B{source.baud}")
        termios.tcsetattr(fd, termios.TCSANOW, settings)
    except BaseException:
        os.close(fd)
        raise
    return fd


async def _open_socket(source: Source) -> int:
    loop = asyncio.get_running_loop()
    family = socket.AF_UNIX
    address: str | tuple[str, int] = source.place
    if source.transport is Transport.TCP:
        host, _, port = source.place.rpartition(":")
        found = await loop.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
        family = found[0][0]
        address = (str(found[0][4][0]), int(port))
    connection = socket.socket(family, socket.SOCK_STREAM)
    connection.settimeout(0)
    try:
        await loop.sock_connect(connection, address)
        if source.transport is Transport.TCP:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        connection.close()
        raise
    return connection.detach()


class Wire:
    """An open way: tells what comes in and when it ends, takes what goes out."""

    def __init__(
        self, fd: int, *, received: Callable[[bytes], None], ended: Callable[[], None]
    ) -> None:
        self._fd = fd
        self._received = received
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._unsent = bytearray()
        self._is_open = True
        self._loop.add_reader(fd, self._readable)

    def write(self, data: bytes) -> bool:
        """Send; False where the modem has taken nothing for so long that octets are lost."""
        if not self._is_open:
            return False
        if self._unsent:
            if len(self._unsent) + len(data) > _BACKLOG:
                return False
            self._unsent += data
            return True
        sent = self._send(data)
        if sent < len(data) and self._is_open:
            self._unsent += data[sent:]
            self._loop.add_writer(self._fd, self._writable)
        return True

    def close(self) -> None:
        """End it."""
        if not self._is_open:
            return
        self._is_open = False
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        with contextlib.suppress(OSError):
            fcntl.ioctl(self._fd, termios.TIOCNXCL)
        os.close(self._fd)

    def _send(self, data: bytes | bytearray) -> int:
        try:
            return os.write(self._fd, data)
        except BlockingIOError:
            return 0
        except OSError:
            self._gone()
            return 0

    def _writable(self) -> None:
        del self._unsent[: self._send(self._unsent)]
        if not self._unsent and self._is_open:
            self._loop.remove_writer(self._fd)

    def _readable(self) -> None:
        try:
            data = os.read(self._fd, 65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._received(data)
        else:
            self._gone()

    def _gone(self) -> None:
        self.close()
        self._ended()
