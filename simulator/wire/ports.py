"""Where clients connect: pseudo terminals or sockets; all with the same four verbs.

Each port knows whether a client is there: a serial line that nobody has open loses what is sent.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import fcntl
import hashlib
import os
import select
import socket
import struct
import termios
import tty
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, Protocol

_BACKLOG: Final = 65536
_TIOCGEXCL: Final = 0x80045440
_IN_OPEN: Final = 0x20
_IN_CLOSE: Final = 0x18
_EVENT: Final = struct.Struct("iIII")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """What a port tells its modem."""

    received: Callable[[bytes], None]
    came: Callable[[], None]
    went: Callable[[], None]


class BankPort(Protocol):
    """A place where a client can connect. `node`: what the system calls it while it is there."""

    @property
    def node(self) -> str:
        """The device or the socket; empty while it is unplugged."""
        ...

    def plug(self) -> None:
        """Make the port appear."""
        ...

    def unplug(self) -> None:
        """Make it vanish; a connected client sees an error."""
        ...

    def write(self, data: bytes) -> None:
        """Send to the client; lost where there is none."""
        ...


class Watcher:
    """Sees clients open and close pseudo terminals (inotify), without polling.

    The simulator keeps each slave open, so the terminal itself never tells.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise _exhausted(ctypes.get_errno(), "inotify", "fs.inotify.max_user_instances")
        self._watched: dict[int, Callable[[int, int], None]] = {}
        loop.add_reader(self._fd, self.drain)

    def watch(self, path: str, changed: Callable[[int, int], None]) -> int:
        """Tell `changed` how often `path` was opened and how often closed.

        Equal events that follow each other are merged by the kernel: the numbers may be too low.

        Raises:
            OSError: the kernel refuses.
        """
        found: int = self._libc.inotify_add_watch(self._fd, path.encode(), _IN_OPEN | _IN_CLOSE)
        if found < 0:
            raise _exhausted(ctypes.get_errno(), "inotify", "fs.inotify.max_user_watches")
        self._watched[found] = changed
        return found

    def forget(self, watch: int) -> None:
        """Watch no longer."""
        self._watched.pop(watch, None)
        self._libc.inotify_rm_watch(self._fd, watch)

    def drain(self) -> None:
        """Tell what has happened up to now."""
        try:
            data = os.read(self._fd, 65536)
        except BlockingIOError:
            return
        at = 0
        # Summed: a close that a new open has overtaken must not flush the new client's octets.
        seen: dict[int, tuple[int, int]] = {}
        while at < len(data):
            watch, mask, _, length = _EVENT.unpack_from(data, at)
            at += _EVENT.size + length
            opens, closes = seen.get(watch, (0, 0))
            if mask & _IN_OPEN:
                seen[watch] = opens + 1, closes
            elif mask & _IN_CLOSE:
                seen[watch] = opens, closes + 1
        for watch, (opens, closes) in seen.items():
            changed = self._watched.get(watch)
            if changed is not None:
                changed(opens, closes)

    def close(self) -> None:
        """End it."""
        self._loop.remove_reader(self._fd)
        os.close(self._fd)


class PtyPort:
    """A pseudo terminal under a stable name (a symbolic link)."""

    def __init__(self, link: Path, *, watcher: Watcher, listener: Listener) -> None:
        self._link = link
        self._watcher = watcher
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._master = -1
        self._slave = -1
        self._watch = 0
        self._clients = 0
        self._unsent = bytearray()
        self.node = ""

    def plug(self) -> None:
        """Make the port appear; raw, so that no octet is mangled before a client sets it."""
        if self._master >= 0:
            return
        try:
            self._master, self._slave = os.openpty()
        except OSError as error:
            raise _exhausted(error.errno, "pseudo terminals", "kernel.pty.max") from error
        os.set_blocking(self._master, False)
        tty.setraw(self._slave)
        self.node = name = os.ttyname(self._slave)
        self._watch = self._watcher.watch(name, self._changed)
        self._loop.add_reader(self._master, self._readable)
        self._link.unlink(missing_ok=True)
        self._link.symlink_to(name)

    def unplug(self) -> None:
        """Make it vanish."""
        if self._master < 0:
            return
        self._link.unlink(missing_ok=True)
        self._watcher.forget(self._watch)
        self._loop.remove_reader(self._master)
        self._loop.remove_writer(self._master)
        os.close(self._slave)
        os.close(self._master)
        self._master = self._slave = -1
        self.node = ""
        self._unsent.clear()
        if self._clients:
            self._clients = 0
            self._listener.went()

    def write(self, data: bytes) -> None:
        """Send; what a client leaves unread beyond the backlog is lost, as on USB."""
        if self._master >= 0 and not self._clients:
            # The news of an open may still be in the queue.
            self._watcher.drain()
        if self._master < 0 or not self._clients:
            return
        if self._unsent:
            if len(self._unsent) < _BACKLOG:
                self._unsent += data
            return
        sent = self._send(data)
        if sent < len(data):
            self._unsent += data[sent:]
            self._loop.add_writer(self._master, self._writable)

    def _send(self, data: bytes | bytearray) -> int:
        try:
            return os.write(self._master, data)
        except BlockingIOError:
            return 0

    def _writable(self) -> None:
        del self._unsent[: self._send(self._unsent)]
        if not self._unsent:
            self._loop.remove_writer(self._master)

    def _readable(self) -> None:
        try:
            data = os.read(self._master, 65536)
        except BlockingIOError:
            return
        if not self._clients:
            # It opened before it wrote: the news of that is in the queue. Equal events that follow
            # each other are merged by the kernel, so the count may be short: who writes is there.
            self._watcher.drain()
            self._clients = max(1, self._clients)
        self._listener.received(data)

    def _changed(self, opens: int, closes: int) -> None:
        before, self._clients = self._clients, max(0, self._clients + opens - closes)
        if closes and self._clients:
            # Some closes may have been told as one.
            self._clients = 0 if self._is_deserted() else self._clients
        if not self._clients:
            self._last_close()
        elif not before:
            self._listener.came()

    def _is_deserted(self) -> bool:
        """Ask the kernel: the master hangs up while nobody at all has the slave open."""
        self._watcher.forget(self._watch)
        is_exclusive = fcntl.ioctl(self._slave, _TIOCGEXCL, b"\0" * 4) != b"\0" * 4
        # Else nobody could open it again, we neither.
        fcntl.ioctl(self._slave, termios.TIOCNXCL)
        os.close(self._slave)
        poll = select.poll()
        poll.register(self._master, 0)
        is_deserted = any(event & select.POLLHUP for _, event in poll.poll(0))
        self._slave = os.open(self.node, os.O_RDWR | os.O_NOCTTY)
        if is_exclusive and not is_deserted:
            fcntl.ioctl(self._slave, termios.TIOCEXCL)
        self._watch = self._watcher.watch(self.node, self._changed)
        return is_deserted

    def _last_close(self) -> None:
        # What the kernel does for a real serial line on its last close: exclusive use and odd
        # settings end with the client, unread octets are gone.
        self._unsent.clear()
        self._loop.remove_writer(self._master)
        fcntl.ioctl(self._slave, termios.TIOCNXCL)
        termios.tcflush(self._slave, termios.TCIFLUSH)
        # At once: a change that waits for output keeps the line from the next client, whose
        # write would fail with EAGAIN in that moment.
        tty.setraw(self._slave, termios.TCSANOW)
        self._listener.went()


def _exhausted(number: int | None, what: str, knob: str) -> OSError:
    # The kernel's own words ("No space left on device") send people to their disks.
    reason = os.strerror(number or 0)
    is_limit = number in {errno.ENOSPC, errno.EMFILE}
    cure = f"; raise {knob} (sysctl), or serve over sockets" if is_limit else ""
    return OSError(number, f"{what}: {reason}{cure}")


class SocketKind(StrEnum):
    """What a socket's address is: loopback TCP, a file, or a name of Linux's abstract namespace."""

    TCP = "tcp"
    UNIX = "unix"
    ABSTRACT = "abstract"


class SocketPort:
    """A socket; the newest client has the line.

    Only a Unix socket is a file; for the others `path` with `.tcp` or `.abstract` added is a file
    that holds the address.
    """

    def __init__(self, path: Path, *, kind: SocketKind, listener: Listener) -> None:
        self._path = path if kind is SocketKind.UNIX else path.with_name(f"{path.name}.{kind}")
        self._kind = kind
        self._name = _abstract_name(path)
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._socket: socket.socket | None = None
        self._client: socket.socket | None = None
        self._port = 0
        self._unsent = bytearray()
        self.node = ""

    def plug(self) -> None:
        """Listen; the address stays the same over a replug."""
        if self._socket is not None:
            return
        self._path.unlink(missing_ok=True)
        listening = self._listening()
        listening.settimeout(0)
        if self._kind is not SocketKind.UNIX:
            self._path.write_text(f"{self.node}\n")
        self._socket = listening
        self._loop.add_reader(listening, self._accept)

    def _listening(self) -> socket.socket:
        if self._kind is SocketKind.TCP:
            listening = socket.create_server(("127.0.0.1", self._port))
            self._port = listening.getsockname()[1]
            self.node = f"127.0.0.1:{self._port}"
            return listening
        listening = socket.socket(socket.AF_UNIX)
        is_file = self._kind is SocketKind.UNIX
        self.node = str(self._path) if is_file else self._name
        listening.bind(self.node if is_file else f"\0{self.node}")
        listening.listen()
        return listening

    def unplug(self) -> None:
        """Drop the client and stop listening."""
        self._drop()
        if self._socket is not None:
            self._loop.remove_reader(self._socket)
            self._socket.close()
            self._socket = None
            self.node = ""
            self._path.unlink(missing_ok=True)

    def write(self, data: bytes) -> None:
        """Send; what a client leaves unread beyond the backlog is lost."""
        if self._client is None:
            return
        if self._unsent:
            if len(self._unsent) < _BACKLOG:
                self._unsent += data
            return
        sent = self._send(data)
        if sent < len(data) and self._client is not None:
            self._unsent += data[sent:]
            self._loop.add_writer(self._client, self._writable)

    def _send(self, data: bytes | bytearray) -> int:
        assert self._client is not None
        try:
            return self._client.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            # The reader will see the end too and drop the client.
            return len(data)

    def _writable(self) -> None:
        del self._unsent[: self._send(self._unsent)]
        if not self._unsent and self._client is not None:
            self._loop.remove_writer(self._client)

    def _accept(self) -> None:
        assert self._socket is not None
        try:
            client, _ = self._socket.accept()
        except OSError as error:
            if error.errno not in {errno.EAGAIN, errno.ECONNABORTED}:
                raise
            return
        self._drop()
        client.settimeout(0)
        if self._kind is SocketKind.TCP:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._client = client
        self._loop.add_reader(client, self._readable)
        self._listener.came()

    def _readable(self) -> None:
        assert self._client is not None
        try:
            data = self._client.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._listener.received(data)
        else:
            self._drop()

    def _drop(self) -> None:
        if self._client is None:
            return
        self._loop.remove_reader(self._client)
        self._loop.remove_writer(self._client)
        self._client.close()
        self._client = None
        self._unsent.clear()
        self._listener.went()


def _abstract_name(path: Path) -> str:
    # The namespace is the whole machine's: banks in different folders must not meet. The name
    # begins as ModemManager wants its virtual ports to begin (at-dialects §6.6).
    folder = hashlib.blake2b(os.fsencode(path.parent.resolve()), digest_size=4).hexdigest()
    return f"abstract:modemctl-{folder}-{path.name}"
