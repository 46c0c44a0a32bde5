"""A modem's USB device taken from the bus and given back, by the kernel's files below /sys.

A write to sysfs may block for as long as the device is frozen: each step runs in a daemon thread of
its own, and one that does not come back is left behind, as opening and closing a port is.

Source: Linux, Documentation/ABI/testing/sysfs-bus-usb (`authorized`, `<hub>-portX/disable`).
"""

from __future__ import annotations

import asyncio
import errno
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from modemctl.config.settings import HubPower
from modemctl.fleet.places import UsbDevice
from modemctl.fleet.threads import in_daemon_thread

OFF_TIME: Final = 3.0
"""Seconds without USB or power: capacitors empty themselves, the kernel forgets the device."""

_WRITE_LIMIT: Final = 20.0
_LAST_WRITE: Final = 1.0  # seconds that a step which was cut off waits for its end
_PROGRAM_LIMIT: Final = 30.0
_NO_RIGHTS: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


class UsbRefused(Exception):
    """The step could not be done; `has_no_rights`: this daemon may not do such a thing at all."""

    def __init__(self, reason: str, *, has_no_rights: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.has_no_rights = has_no_rights


async def rebind(device: UsbDevice, *, off_time: float = OFF_TIME) -> None:
    """Take the device from its drivers and give it back (`authorized` 0, then 1).

    Raises:
        UsbRefused: no such file, no right to write it, or the kernel did not take it in time.
    """
    authorized = device.folder / "authorized"
    await _switch(authorized, off="0", on="1", off_time=off_time)


async def cycle_power(device: UsbDevice, how: HubPower, *, off_time: float = OFF_TIME) -> None:
    """Switch the hub's port off and on. Hubs that cannot switch one port may switch all.

    Raises:
        UsbRefused: as `rebind`; or `uhubctl` is missing or fails.
    """
    match how:
        case HubPower.OFF:
            raise UsbRefused("bank.hub_power is off")
        case HubPower.KERNEL:
            await _switch(port_switch(device), off="1", on="0", off_time=off_time)
        case HubPower.UHUBCTL:
            await _run_uhubctl(device, off_time)


def port_switch(device: UsbDevice) -> Path:
    """The kernel's file that disables the hub port which the device hangs on."""
    is_root = device.hub.startswith("usb")
    interface = f"{device.hub.removeprefix('usb')}-0:1.0" if is_root else f"{device.hub}:1.0"
    return device.folder.parent / interface / f"{device.hub}-port{device.hub_port}" / "disable"


async def _switch(path: Path, *, off: str, on: str, off_time: float) -> None:
    """Off, wait, on, in one thread: once off was asked for, on follows whatever becomes of us.

    Taking a frozen device from its drivers lasts as long as they wait for it (46 s were seen): who
    waited no longer and left it there would leave it off for ever.
    """
    enough = threading.Event()

    def work() -> None:
        _put(path, off)
        enough.wait(off_time)
        _put(path, on)

    done = in_daemon_thread("usb", work)
    try:
        async with asyncio.timeout(off_time + 2 * _WRITE_LIMIT):
            await asyncio.shield(done)
    except TimeoutError as error:
        raise UsbRefused(f"{path.name}: the kernel did not take it in time") from error
    except OSError as error:
        reason = f"{path.name}: {error.strerror or 'not written'}"
        raise UsbRefused(reason, has_no_rights=error.errno in _NO_RIGHTS) from error
    finally:
        if not done.done():
            enough.set()
            await asyncio.wait([done], timeout=_LAST_WRITE)


def _put(path: Path, text: str) -> None:
    with path.open("rb+", buffering=0) as file:  # never made where there is none
        file.write(text.encode())


async def _run_uhubctl(device: UsbDevice, off_time: float) -> None:
    program = shutil.which("uhubctl")
    if program is None:
        raise UsbRefused("uhubctl is not installed", has_no_rights=True)
    hub = device.hub.removeprefix("usb")
    options = ("-l", hub, "-p", str(device.hub_port), "-a", "cycle", "-d", f"{off_time:g}")
    status, said = await _run((program, *options))
    if status != 0:
        raise UsbRefused(f"uhubctl: status {status}, {said[:120]!r}")


async def _run(command: Sequence[str]) -> tuple[int, str]:
    pipe = asyncio.subprocess.PIPE
    quiet = asyncio.subprocess.STDOUT
    try:
        process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=quiet)
    except OSError as error:
        raise UsbRefused(f"uhubctl: {error.strerror}", has_no_rights=True) from error
    try:
        async with asyncio.timeout(_PROGRAM_LIMIT):
            said, _ = await process.communicate()
    except TimeoutError as error:
        raise UsbRefused("uhubctl: no end in time") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode or 0, said.decode("utf-8", "replace")
