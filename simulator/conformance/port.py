"""The serial line of the modem under test: a terminal, `tcp://host:port` or `unix:/path`.

Blocking, every wait with a limit. Opening and closing a dead USB modem's terminal can block the
kernel for half a minute, so both happen in a thread that is not waited for any longer.
Source: usb-serial facts of Linux 6.1; V.250 §5.1 (8 bits, no parity).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import socket
import stat
import struct
import termios
import threading
import tty
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol, TypeVar

_OPEN_SECONDS: Final = 20.0
_CLOSE_SECONDS: Final = 5.0
_CONNECT_SECONDS: Final = 5.0
_WRITE_SECONDS: Final = 5.0
_T = TypeVar("_T")


class PortError(Exception):
    """The port cannot be used; `cure` says what a person can do about it."""

    def __init__(self, message: str, *, cure: str = "") -> None:
        super().__init__(message)
        self.cure = cure


class PortGone(PortError):
    """The port was there and is there no more."""


class Port(Protocol):
    """A line of octets in both directions."""

    def write(self, data: bytes) -> None:
        """Send all of it.

        Raises:
            PortGone: the other end vanished or takes nothing for seconds.
        """
        ...

    def read(self, limit: float) -> bytes:
        """What has come, at the latest after `limit` seconds; empty where nothing came.

        Raises:
            PortGone: the other end vanished.
        """
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


def open_port(address: str, *, baud: int = 115200) -> Port:
    """Open a line by its address; a path may be a terminal or a Unix socket.

    Raises:
        PortError: absent, not permitted, held by somebody, not a serial line.
    """
    if address.startswith("tcp://"):
        return _tcp(address)
    if address.startswith("unix:"):
        return _unix(Path(address.removeprefix("unix:")))
    path = Path(address)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        raise PortError(f"{address}: there is no such port", cure=_absent(path)) from error
    except PermissionError as error:
        raise PortError(f"{address}: not permitted", cure=_not_permitted(path)) from error
    if stat.S_ISSOCK(mode):
        return _unix(path)
    if not stat.S_ISCHR(mode):
        raise PortError(f"{address} is no terminal", cure="Name a /dev/tty…, tcp:// or unix: port.")
    return _terminal(path, baud)


def usb_place(address: str) -> tuple[str, int] | None:
    """Vendor:product id and interface number of a USB terminal; None where sysfs knows none."""
    folder = Path("/sys/class/tty") / Path(address).resolve().name / "device"
    if not folder.exists():
        return None
    for interface in (folder.resolve(), *folder.resolve().parents[:3]):
        number, device = interface / "bInterfaceNumber", interface.parent
        if number.is_file() and (device / "idVendor").is_file():
            vendor, product = ((device / name).read_text().strip() for name in _USB_ID)
            return f"{vendor}:{product}", int(number.read_text(), 16)
    return None


_USB_ID: Final = ("idVendor", "idProduct")


def holders(path: Path) -> list[str]:
    """Who has this terminal open, as `name (pid n)`, as far as /proc lets us see."""
    wanted = str(path.resolve())
    found: list[str] = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or process.name == str(os.getpid()):
            continue
        links = _links(process / "fd")
        # Who made a pseudo terminal keeps both its ends; that is the modem's side, not a client.
        if wanted in links and not links & {"/dev/ptmx", "/dev/pts/ptmx"}:
            with contextlib.suppress(OSError):
                found.append(f"{(process / 'comm').read_text().strip()} (pid {process.name})")
    return sorted(found)


def _links(folder: Path) -> set[str]:
    found: set[str] = set()
    with contextlib.suppress(OSError):
        for link in folder.iterdir():
            with contextlib.suppress(OSError):
                found.add(str(link.readlink()))
    return found


class _Descriptor:
    """A non-blocking descriptor that is waited for with select."""

    def __init__(self, fd: int, *, name: str, close: Callable[[], None]) -> None:
        self._fd = fd
        self._name = name
        self._close = close
        self._is_open = True

    def write(self, data: bytes) -> None:
        self._require_open()
        rest = memoryview(data)
        while rest:
            _, ready, _ = select.select([], [self._fd], [], _WRITE_SECONDS)
            if not ready:
                raise PortGone(f"{self._name} takes no octets", cure=_STUCK)
            try:
                rest = rest[os.write(self._fd, rest) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise PortGone(f"{self._name} vanished: {error.strerror}", cure=_GONE) from error

    def read(self, limit: float) -> bytes:
        self._require_open()
        ready, _, _ = select.select([self._fd], [], [], max(0.0, limit))
        if not ready:
            return b""
        try:
            data = os.read(self._fd, 65536)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise PortGone(f"{self._name} vanished: {error.strerror}", cure=_GONE) from error
        if not data:
            raise PortGone(f"{self._name} vanished", cure=_GONE)
        return data

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            with contextlib.suppress(TimeoutError, OSError):
                _bounded(self._close, _CLOSE_SECONDS)

    def _require_open(self) -> None:
        if not self._is_open:
            raise PortGone(f"{self._name} vanished", cure=_GONE)


_STUCK: Final = "Its USB side may have stopped: switch the modem off and on."
_GONE: Final = "Loose cable, too little power, or the modem restarted: plug it in again."


def _terminal(path: Path, baud: int) -> Port:
    if not _is_terminal(path):
        raise PortError(f"{path} is no serial line", cure="Name the modem's AT port.")
    found = holders(path)
    if found:
        is_manager = any(name.startswith("ModemManager") for name in found)
        raise PortError(
            f"{path} is held by {', '.join(found)}",
            cure=_MANAGED if is_manager else "Stop it first: two clients steal answers.",
        )
    try:
        fd = _bounded(lambda: os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK), _OPEN_SECONDS)
    except PermissionError as error:
        raise PortError(f"{path}: not permitted", cure=_not_permitted(path)) from error
    except OSError as error:
        raise _unopened(path, error) from error
    try:
        _set_up(fd, baud)
    except BlockingIOError as error:
        os.close(fd)
        raise PortError(f"{path} is locked by another program", cure=_LOCKED) from error
    except (OSError, termios.error) as error:
        os.close(fd)
        raise PortError(f"{path} is no serial line", cure="Name the modem's AT port.") from error
    return _Descriptor(fd, name=str(path), close=lambda: os.close(fd))


def _is_terminal(path: Path) -> bool:
    known, name = Path("/sys/class/tty"), path.resolve()
    return not known.is_dir() or name.parent == Path("/dev/pts") or (known / name.name).exists()


_MANAGED: Final = 'A udev rule with ENV{ID_MM_DEVICE_IGNORE}="1" keeps it off; or stop it.'
_LOCKED: Final = "Find it with `fuser -v` or `lsof` and stop it first."


def _unopened(path: Path, error: OSError) -> PortError:
    if error.errno == errno.EBUSY:
        return PortError(f"{path} is held by another program", cure=_LOCKED)
    if isinstance(error, TimeoutError):
        return PortError(f"{path} does not open within {_OPEN_SECONDS:.0f} s", cure=_STUCK)
    return PortError(f"{path}: {error.strerror or error}", cure=_absent(path))


def _set_up(fd: int, baud: int) -> None:
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.ioctl(fd, termios.TIOCEXCL)
    tty.setraw(fd)
    settings = termios.tcgetattr(fd)
    # No hang-up on close: with &D2 a falling DTR would end a call. Not stopped by a falling DCD.
    settings[2] = (settings[2] | termios.CLOCAL | termios.CREAD) & ~termios.HUPCL
    speed = getattr(termios, f"B{baud}", termios.B115200)
    settings[4] = settings[5] = speed
    termios.tcsetattr(fd, termios.TCSANOW, settings)
    lines = struct.pack("I", termios.TIOCM_DTR | termios.TIOCM_RTS)
    # A pseudo terminal has no modem lines: ENOTTY.
    with contextlib.suppress(OSError):
        fcntl.ioctl(fd, termios.TIOCMBIS, lines)


def _tcp(address: str) -> Port:
    host, _, number = address.removeprefix("tcp://").rpartition(":")
    if not host or not number.isdigit():
        raise PortError(f"{address}: not of the form tcp://host:port")
    try:
        line = socket.create_connection((host.strip("[]"), int(number)), _CONNECT_SECONDS)
    except OSError as error:
        cure = "Is the terminal server or the simulator running there?"
        raise PortError(f"{address}: {error}", cure=cure) from error
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return _socket(line, address)


def _unix(path: Path) -> Port:
    line = socket.socket(socket.AF_UNIX)
    line.settimeout(_CONNECT_SECONDS)
    try:
        line.connect(str(path))
    except OSError as error:
        line.close()
        cure = _not_permitted(path) if isinstance(error, PermissionError) else "Who serves it?"
        raise PortError(f"unix:{path}: {error.strerror or error}", cure=cure) from error
    return _socket(line, f"unix:{path}")


def _socket(line: socket.socket, name: str) -> Port:
    line.setblocking(False)  # noqa: FBT003  # the standard library's signature
    return _Descriptor(line.fileno(), name=name, close=line.close)


def _bounded(act: Callable[[], _T], limit: float) -> _T:
    done: list[_T] = []
    failed: list[OSError] = []

    def run() -> None:
        try:
            done.append(act())
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(limit)
    if failed:
        raise failed[0]
    if not done:
        raise TimeoutError(errno.ETIMEDOUT, "no end of it")
    return done[0]


def _absent(path: Path) -> str:
    serial = sorted(Path("/dev").glob("ttyUSB*")) + sorted(Path("/dev").glob("ttyACM*"))
    there = ", ".join(str(name) for name in serial if name != path)
    return f"There are {there}." if there else "No USB serial port is there: plugged in, powered?"


def _not_permitted(path: Path) -> str:
    with contextlib.suppress(OSError, KeyError):
        group = path.group()
        return f"Join its group: sudo usermod -aG {group} $USER, then log in again."
    return "Join the group dialout: sudo usermod -aG dialout $USER, then log in again."
