"""Whom a hub carries beside the modems that are driven: not every hub switches one port alone.

Source: Linux, Documentation/ABI/testing/sysfs-bus-usb; a hub's bDeviceClass is 09.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection
from pathlib import Path
from typing import Final

from modemctl.fleet.places import UsbDevice
from modemctl.fleet.usb import UsbRefused

_DEVICE: Final = re.compile(r"\d+-\d+(\.\d+)*")
_HUB_CLASS: Final = "09"


async def require_none(device: UsbDevice, ours: Collection[str]) -> None:
    """See that the hub of a device carries nobody else's.

    `ours`: the kernel's names of the devices that this daemon drives.

    Raises:
        UsbRefused: it carries one (a disk, a modem that another program drives), which is named.
    """
    found = await asyncio.to_thread(_below, device)
    strangers = sorted(found - set(ours) - {device.folder.name})
    if strangers:
        names = ", ".join(strangers[:3])
        raise UsbRefused(f"hub {device.hub} carries what this daemon does not drive: {names}")


def _below(device: UsbDevice) -> set[str]:
    """Devices on the device's hub and below it, hubs themselves left out."""
    own = f"{device.hub.removeprefix('usb')}-" if device.hub.startswith("usb") else f"{device.hub}."
    try:
        folders = [one for one in device.folder.parent.iterdir() if _DEVICE.fullmatch(one.name)]
    except OSError as error:
        raise UsbRefused(f"{device.hub}: {error.strerror or 'not read'}") from error
    return {one.name for one in folders if one.name.startswith(own) and not _is_hub(one)}


def _is_hub(folder: Path) -> bool:
    try:
        return (folder / "bDeviceClass").read_text().strip() == _HUB_CLASS
    except OSError:  # it goes just now
        return False
