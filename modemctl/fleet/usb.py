"""A modem's USB device taken from the bus and given back, by the kernel's files below /sys.

A write to sysfs may block for as long as the device is frozen: each step runs in a daemon thread of
its own, and one that does not come back is left behind, as opening and closing a port is. What is
switched off is noted before: `give_back` switches it on where the daemon was killed meanwhile.

Source: Linux, Documentation/ABI/testing/sysfs-bus-usb (`authorized`, `<hub>-portX/disable`).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import shutil
import subprocess
import threading
from functools import partial
from pathlib import Path
from typing import Final

from modemctl.config.settings import HubPower
from modemctl.fleet.places import UsbDevice
from modemctl.fleet.usb_notes import ON, OffNotes, Switched
from modemctl.threads import in_daemon_thread

_log = logging.getLogger(__name__)

OFF_TIME: Final = 3.0
"""Seconds without USB or power: capacitors empty themselves, the kernel forgets the device."""

_WRITE_LIMIT: Final = 20.0
_LAST_WRITE: Final = 1.0  # seconds that a step which was cut off waits for its end
_PROGRAM_LIMIT: Final = 30.0
_N_TRIES: Final = 9  # to switch on; eight minutes
_FIRST_PAUSE: Final = 2.0  # seconds before the second, then twice as long each time
_GONE: Final = frozenset({errno.ENOENT, errno.ENODEV})
_NO_RIGHTS: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


class UsbRefused(Exception):
    """The step could not be done; `has_no_rights`: this daemon may not do such a thing at all."""

    def __init__(self, reason: str, *, has_no_rights: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.has_no_rights = has_no_rights


async def rebind(device: UsbDevice, notes: OffNotes, *, off_time: float = OFF_TIME) -> None:
    """Take the device from its drivers and give it back (`authorized` 0, then 1).

    Raises:
        UsbRefused: no such file, no right to write it, or the kernel did not take it in time.
    """
    await _cycle(_switched(device, device.folder / "authorized"), notes, off_time)


async def cycle_power(
    device: UsbDevice, how: HubPower, notes: OffNotes, *, off_time: float = OFF_TIME
) -> None:
    """Switch the hub's port off and on. Hubs that cannot switch one port may switch all.

    Raises:
        UsbRefused: as `rebind`; or `uhubctl` is missing or fails.
    """
    match how:
        case HubPower.OFF:
            raise UsbRefused("bank.hub_power is off")
        case HubPower.KERNEL:
            await _cycle(_switched(device, port_switch(device)), notes, off_time)
        case HubPower.UHUBCTL:
            await _cycle(_switched(device, None), notes, off_time)


async def give_back(notes: OffNotes) -> None:
    """Switch on what an earlier life of this daemon left off; what cannot be done stays noted."""
    try:
        left = await in_daemon_thread("usb", notes.left)
    except OSError as error:
        _log.warning("usb.notes_unread", extra={"error": str(error)})
        return
    for note in left:
        facts = {"file": str(note.what.file or "uhubctl"), "hub": note.what.hub}
        facts["port"] = str(note.what.hub_port)
        try:
            async with asyncio.timeout(_PROGRAM_LIMIT):
                await in_daemon_thread("usb", partial(_switch_on, note.what))
            await in_daemon_thread("usb", partial(notes.drop, note))
        except (OSError, UsbRefused) as error:  # TimeoutError is an OSError
            _log.error("usb.left_off", extra={**facts, "error": str(error)})
        else:
            _log.warning("usb.switched_on", extra=facts)


def port_switch(device: UsbDevice) -> Path:
    """The kernel's file that disables the hub port which the device hangs on."""
    is_root = device.hub.startswith("usb")
    interface = f"{device.hub.removeprefix('usb')}-0:1.0" if is_root else f"{device.hub}:1.0"
    return device.folder.parent / interface / f"{device.hub}-port{device.hub_port}" / "disable"


def _switched(device: UsbDevice, file: Path | None) -> Switched:
    return Switched(file=file, hub=device.hub.removeprefix("usb"), hub_port=device.hub_port)


async def _cycle(what: Switched, notes: OffNotes, off_time: float) -> None:
    """Off, wait, on, in one thread: once off was asked for, on follows whatever becomes of us.

    Taking a frozen device from its drivers lasts as long as they wait for it (46 s were seen): who
    waited no longer and left it there would leave it off for ever.
    """
    name = "uhubctl" if what.file is None else what.file.name
    enough = threading.Event()

    def work() -> None:
        note = notes.put(what)
        try:
            _switch_off(what)
        except (OSError, UsbRefused):
            with contextlib.suppress(OSError, UsbRefused):
                _switch_on(what)  # who failed, or was killed, may have switched it off first
            notes.drop(note)
            raise
        enough.wait(off_time)
        _switch_on_patiently(what)
        notes.drop(note)

    done = in_daemon_thread("usb", work)
    try:
        async with asyncio.timeout(off_time + 2 * _WRITE_LIMIT):
            await asyncio.shield(done)
    except TimeoutError as error:
        raise UsbRefused(f"{name}: no end in time") from error
    except OSError as error:
        reason = f"{name}: {error.strerror or 'not written'}"
        raise UsbRefused(reason, has_no_rights=error.errno in _NO_RIGHTS) from error
    finally:
        if not done.done():
            enough.set()
            await asyncio.wait([done], timeout=_LAST_WRITE)


# ---------------------------------------------------------------- what blocks


def _switch_off(what: Switched) -> None:
    if what.file is None:
        _run_uhubctl(what, "off")
    else:
        _put(what.file, "0" if ON[what.file.name] == "1" else "1")


def _switch_on(what: Switched) -> None:
    """Switch on; what is no longer there comes back switched on."""
    try:
        if what.file is None:
            _run_uhubctl(what, "on")
        else:
            _put(what.file, ON[what.file.name])
    except OSError as error:
        if error.errno not in _GONE:
            raise


def _switch_on_patiently(what: Switched) -> None:
    """Try again where it fails: nobody else would, and the modem would stay off."""
    for n_failed in range(_N_TRIES - 1):
        try:
            return _switch_on(what)
        except (OSError, UsbRefused) as error:
            facts = {"hub": what.hub, "port": what.hub_port, "error": str(error)}
            _log.warning("usb.still_off", extra=facts)
            threading.Event().wait(_FIRST_PAUSE * 2**n_failed)
    return _switch_on(what)


def _put(path: Path, text: str) -> None:
    with path.open("rb+", buffering=0) as file:  # never made where there is none
        file.write(text.encode())


def _run_uhubctl(what: Switched, action: str) -> None:
    program = shutil.which("uhubctl")
    if program is None:
        raise UsbRefused("uhubctl is not installed", has_no_rights=True)
    command = (program, "-l", what.hub, "-p", str(what.hub_port), "-a", action)
    try:
        done = subprocess.run(  # noqa: S603 - a fixed program, names that the kernel gave
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_WRITE_LIMIT,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise UsbRefused("uhubctl: no end in time") from error
    except OSError as error:
        raise UsbRefused(f"uhubctl: {error.strerror}", has_no_rights=True) from error
    if done.returncode != 0:
        said = done.stdout.decode("utf-8", "replace")
        raise UsbRefused(f"uhubctl: status {done.returncode}, {said[:120]!r}")
