"""The only byte I/O of the product: a tty, `tcp://host:port` or `unix:/path`.

A USB device that stops answering blocks `open()` for 5–15 s and `close()` for 5–46 s in the
kernel. So both run in a daemon thread of their own, bounded: a stuck one is given up and
reported, and holds up neither the loop, nor other ports, nor the end of the process.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import logging
import os
import socket
import stat
import termios
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar, cast

import serial
import serial_asyncio

from drivers.errors import LinkError, PortBusy, PortDenied, PortGone

_T = TypeVar("_T")
_log = logging.getLogger(__name__)

OPEN_TIMEOUT = 20.0
"""Seconds: `open()` of a dead `option` port fails by itself after 15, of a `cp210x` after 5."""

CLOSE_TIMEOUT = 5.0
"""Seconds to wait for a close; the kernel may need 46, and then goes on without us."""

FLUSH_TIMEOUT = 0.5
"""Seconds that unsent bytes get at an orderly close."""

_GONE = {errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.ENOTDIR, errno.EIO, errno.ECONNREFUSED}
_DENIED = {errno.EACCES, errno.EPERM}
_BUSY = {errno.EBUSY, errno.EAGAIN}

_stuck: set[threading.Thread] = set()


class Receiver(Protocol):
    """Takes what a port brings; both methods are called on the loop and never wait."""

    def data_received(self, data: bytes) -> None:
        """Take bytes, cut anywhere."""
        ...

    def connection_lost(self, error: LinkError | None) -> None:
        """Learn the end of the port, once; `error` is None after our own `close()`."""
        ...


class Port(asyncio.Protocol):
    """One open port; lives once. Made by `open_port`."""

    def __init__(self, address: str, receiver: Receiver) -> None:
        self.address = address
        self._receiver = receiver
        self._transport: asyncio.Transport | None = None
        self._is_lost = asyncio.Event()
        self._is_closing = False
        self._device: BankSerial | None = None

    def write(self, data: bytes) -> None:
        """Hand bytes to the kernel in one write; silently nothing once the port is lost."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if self._device is not None and not transport.get_write_buffer_size():
            # At once, as a socket's transport does: the serial one waits a turn of the loop.
            data = data[self._device.write(data) :]
        if data:
            transport.write(data)

    async def close(self, *, timeout: float = CLOSE_TIMEOUT) -> bool:
        """Close; idempotent. False if the kernel had not let go after `timeout` seconds."""
        self._is_closing = True
        transport = self._transport
        if transport is not None and not self._is_lost.is_set():
            transport.close()
            if not await _happens(self._is_lost, FLUSH_TIMEOUT):
                transport.abort()
                await self._is_lost.wait()
        if self._device is None:
            return True
        released = await _happens(self._device.released, timeout)
        if not released:
            _log.warning("port.close_stuck port=%s seconds=%s", self.address, timeout)
        return released

    # ---- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        # pyserial-asyncio's transport is an asyncio.Transport, but ships no types.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Pass bytes on."""
        self._receiver.data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass the end on, translated."""
        self._is_lost.set()
        error = None
        if not self._is_closing:
            error = PortGone(self.address, f"connection lost: {exc or 'closed by the peer'}")
        self._receiver.connection_lost(error)


class BankSerial(serial.Serial):
    """A tty that fits a bank of hundreds: one descriptor, no `select()`, no wait on the loop.

    pyserial alone takes five descriptors a port, fails above descriptor 1023 and drains the
    output on close.
    """

    def __init__(self, path: str, *, baudrate: int, loop: asyncio.AbstractEventLoop) -> None:
        self.released = asyncio.Event()
        self._loop = loop
        super().__init__(path, baudrate, timeout=0, write_timeout=0, exclusive=True)

    def open(self) -> None:
        """Open, locked for us alone. Blocks: call it in a thread."""
        super().open()
        for name in ("read_r", "read_w", "write_r", "write_w"):
            os.close(getattr(self, f"pipe_abort_{name}"))
        fd = self.fileno()
        try:
            _set_up(fd)
            if not _is_pty(fd):
                fcntl.ioctl(fd, termios.TIOCEXCL)
        except (OSError, termios.error):
            self.is_open = False
            os.close(fd)
            raise

    def _reconfigure_port(self, force_update: bool = False) -> None:  # noqa: FBT001, FBT002 — pyserial's signature
        # The transport sets the timeouts again, on the loop; tcsetattr may wait for the device.
        if not self.is_open:
            super()._reconfigure_port(force_update)  # type: ignore[misc]  # not in the stubs

    def read(self, size: int = 1) -> bytes:
        """Read what is there. Raises `SerialException` once the device is gone."""
        try:
            data = os.read(self.fileno(), size)
        except (BlockingIOError, InterruptedError):
            return b""
        except OSError as error:
            raise serial.SerialException(error.errno, f"read failed: {error.strerror}") from error
        if not data:
            raise serial.SerialException("device disconnected")
        return data

    def write(self, data: bytes, /) -> int:  # type: ignore[override]  # the transport hands bytes
        """Write what fits; of a lost device the reader tells, so here it only swallows."""
        try:
            return os.write(self.fileno(), data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            return len(data)

    def flush(self) -> None:
        """Do nothing: `tcdrain` would block the loop while the device is stuck."""

    def close(self) -> None:
        """Let go of the device in a thread; `released` is set once the kernel did."""
        if not self.is_open:
            return
        fd, self.fd, self.is_open = self.fileno(), None, False
        _spawn(f"close {self.port}", lambda: _release(fd), self._on_released)

    def _on_released(self) -> None:
        _call_in(self._loop, self.released.set)


async def open_port(
    address: str,
    receiver: Receiver,
    *,
    baudrate: int = 115_200,
    timeout: float = OPEN_TIMEOUT,
) -> Port:
    """Open a tty path, `tcp://host:port` or `unix:/path`.

    Raises:
        PortGone: nothing there, the peer refuses, or the device does not answer in `timeout`.
        PortBusy: another program holds it; the error names it where the kernel tells.
        PortDenied: the operating system refuses; the error names the cure.
    """
    port = Port(address, receiver)
    try:
        async with asyncio.timeout(timeout):
            if address.startswith("tcp://"):
                await _open_tcp(port, address.removeprefix("tcp://"))
            elif address.startswith("unix:"):
                loop = asyncio.get_running_loop()
                await loop.create_unix_connection(lambda: port, address.removeprefix("unix:"))
            else:
                await _open_tty(port, address, baudrate)
    except TimeoutError as error:
        raise PortGone(address, "does not answer open() in time") from error
    except OSError as error:  # serial.SerialException is one
        raise await _translated(address, error) from error
    except termios.error as error:
        raise PortGone(address, f"no serial device: {error.args[-1]}") from error
    return port


def stuck_operations() -> int:
    """Opens and closes that have not come back yet (a metric: should be 0)."""
    return len(_stuck)


# ---------------------------------------------------------------- opening


async def _open_tty(port: Port, path: str, baudrate: int) -> None:
    loop = asyncio.get_running_loop()
    device = await _in_thread(
        f"open {path}",
        lambda: BankSerial(path, baudrate=baudrate, loop=loop),
        # Opened after all, when nobody waits any more: let go at once.
        on_abandoned=lambda late: late.close(),
    )
    port._device = device  # noqa: SLF001 — one class in two halves: the blocking half made it
    transport, _ = await serial_asyncio.connection_for_serial(loop, lambda: port, device)
    try:
        await asyncio.sleep(0)  # the transport calls connection_made in the next turn
    except BaseException:
        transport.abort()  # nobody would ever close it
        raise


async def _open_tcp(port: Port, host_port: str) -> None:
    host, separator, number = host_port.rpartition(":")
    if not separator or not number.isdecimal():
        raise PortGone(port.address, "not of the form tcp://host:port")
    host = host.strip("[]")
    # In a thread of our own: the loop's getaddrinfo uses the default executor.
    infos = await _in_thread(
        f"resolve {host}", lambda: socket.getaddrinfo(host, int(number), type=socket.SOCK_STREAM)
    )
    loop = asyncio.get_running_loop()
    failure: OSError | None = None
    for *_, peer in infos:
        try:
            transport, _ = await loop.create_connection(lambda: port, str(peer[0]), int(number))
        except OSError as error:
            failure = error
        else:
            sock = transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            return
    raise failure or OSError(errno.ENOENT, "name has no address")


async def _translated(address: str, error: OSError) -> LinkError:
    code, reason = error.errno, error.strerror or str(error)
    if code in _DENIED:
        cure = "add the daemon's user to the group of the device (dialout); under systemd also"
        return PortDenied(address, f"permission denied: {cure} DeviceAllow=char-ttyUSB")
    if code in _BUSY:
        holder = await _in_thread("find holder", lambda: find_holder(address))
        return PortBusy(address, "held by another program", holder=holder)
    if code in _GONE:
        return PortGone(address, f"not there: {reason}")
    return PortGone(address, reason)


def find_holder(path: str) -> str | None:
    """Name the process that holds the device, as `pid name`; None where not visible.

    Who has the lock comes before who merely has it open.
    """
    try:
        wanted = os.stat(path)  # noqa: PTH116 — compared with os.stat of a magic link below
    except OSError:
        return None
    processes = [entry for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
    locker = _find_locker(wanted)
    processes.sort(key=lambda process: process.name != locker)
    for process in processes:
        try:
            if any(_is_same_device(wanted, fd) for fd in (process / "fd").iterdir()):
                return f"{process.name} {(process / 'comm').read_text().strip()}"
        except OSError:  # ended meanwhile, or another user's
            continue
    return None if locker is None else _named(locker)


def _named(pid: str) -> str | None:
    """A process whose open files only its own user may see, as the holder of a lock."""
    try:
        return f"{pid} {(Path('/proc') / pid / 'comm').read_text().strip()}"
    except OSError:  # ended meanwhile, or of another container
        return None


def _find_locker(wanted: os.stat_result) -> str | None:
    """The pid in `/proc/locks`: `1: FLOCK ADVISORY WRITE 4711 00:19:4 0 EOF`."""
    device = f"{os.major(wanted.st_dev):02x}:{os.minor(wanted.st_dev):02x}:{wanted.st_ino}"
    for line in Path("/proc/locks").read_text().splitlines():
        words = line.split()
        if device in words and words[1] == "FLOCK":
            return words[4]
    return None


def _is_same_device(wanted: os.stat_result, fd: Path) -> bool:
    try:
        found = fd.stat()
    except OSError:
        return False
    if stat.S_ISCHR(wanted.st_mode):
        return stat.S_ISCHR(found.st_mode) and found.st_rdev == wanted.st_rdev
    return (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino)


# ---------------------------------------------------------------- the device (blocking)


def _is_pty(fd: int) -> bool:
    """Whether the mark TIOCEXCL would outlive us: a pty's master end may keep the slave open."""
    return os.ttyname(fd).startswith("/dev/pts/")


def _set_up(fd: int) -> None:
    """Add to pyserial's settings what a bank needs.

    HUPCL off: a DTR that drops at close ends a call where `&D2` is set. VMIN 1: with pyserial's
    0 a read that finds nothing looks like an unplugged device.
    """
    attributes = termios.tcgetattr(fd)
    attributes[2] &= ~termios.HUPCL
    attributes[6][termios.VMIN] = 1
    termios.tcsetattr(fd, termios.TCSANOW, attributes)


def _release(fd: int) -> None:
    """Drop what is queued, unlock, close. Blocks for seconds where the device is stuck."""
    try:
        termios.tcflush(fd, termios.TCIOFLUSH)
        if not _is_pty(fd):
            fcntl.ioctl(fd, termios.TIOCNXCL)
    except (OSError, termios.error):
        pass  # already unplugged: only the descriptor is left
    finally:
        os.close(fd)


# ---------------------------------------------------------------- threads


def _spawn(name: str, work: Callable[[], None], done: Callable[[], None]) -> None:
    def run() -> None:
        try:
            work()
        finally:
            _stuck.discard(threading.current_thread())
            done()

    thread = threading.Thread(target=run, name=name, daemon=True)
    _stuck.add(thread)
    thread.start()


async def _in_thread(
    name: str,
    work: Callable[[], _T],
    *,
    on_abandoned: Callable[[_T], None] | None = None,
) -> _T:
    """Run blocking `work` in a daemon thread; a cancelled wait leaves it behind."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_T] = loop.create_future()
    outcome: list[_T | BaseException] = []

    def run() -> None:
        try:
            outcome.append(work())
        except BaseException as error:  # noqa: BLE001 — carried to the waiter, not swallowed
            outcome.append(error)

    def deliver() -> None:
        result = outcome[0]
        if future.done():
            if on_abandoned is not None and not isinstance(result, BaseException):
                on_abandoned(result)
        elif isinstance(result, BaseException):
            future.set_exception(result)
        else:
            future.set_result(result)

    _spawn(name, run, lambda: _call_in(loop, deliver))
    return await future


def _call_in(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    """Call on the loop from a thread; the loop may be gone when a stuck thread comes back."""
    try:
        loop.call_soon_threadsafe(callback)
    except RuntimeError:
        _log.debug("port.late thread=%s", threading.current_thread().name)


async def _happens(event: asyncio.Event, timeout: float) -> bool:
    try:
        async with asyncio.timeout(timeout):
            await event.wait()
    except TimeoutError:
        return False
    return True
