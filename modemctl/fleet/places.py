"""Where a bay is: the ports that its modem shows now, and the USB device behind them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from modemctl.model import Bay


@dataclass(frozen=True, slots=True, kw_only=True)
class UsbDevice:
    """The modem's USB device as the kernel shows it.

    `folder`: its folder below `/sys/bus/usb/devices`; `hub`: the kernel's name of the hub that it
    hangs on (`1-1`, `usb1` of a root hub); `hub_port`: the number of its port there.
    """

    folder: Path
    hub: str
    hub_port: int
    vendor_id: str
    product_id: str
    serial: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One bay. `addresses`: what may be its modem's AT port, best first; `usb` where it is one.

    `is_sure`: the first address is the AT port by a table, not by a guess. `note`: why there is
    no address. `arrival`: another number after each plugging in, 0 while nothing is.
    """

    bay: Bay
    addresses: tuple[str, ...]
    usb: UsbDevice | None = None
    is_sure: bool = True
    note: str = ""
    arrival: int = 0


def is_there(address: str) -> bool:
    """Whether a device node is there, for all we can see; of sockets only an attempt can tell."""
    if not address.startswith("/"):
        return True
    try:
        return Path(address).exists()
    except OSError:  # in a folder that we may not look into, say
        return False
