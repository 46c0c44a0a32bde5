"""Which USB modems are plugged in where, read from sysfs and udev. Blocks: run it in a thread.

A bay is a USB socket and bears udev's name of it (`ID_PATH` without the interface), which is also
how `/dev/serial/by-path` begins: `pci-0000:00:14.0-usb-0:1.3.2`. It outlives replugging,
rebooting and another modem in the socket. Behind a serial bridge each port has a bay of its own
and the interface in its name: `pci-0000:00:14.0-usb-0:1.4:1.2`. A controller numbers its USB 2 and
its USB 3 sockets alike: the latter bear `usbv3` in their names, as newer versions of udev say it.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from drivers.usb_ports import SPEAKING, PortRole, UsbInterface, is_bridge, rank, role_of
from modemctl.fleet.places import Place, UsbDevice, is_there
from modemctl.model import Bay

if TYPE_CHECKING:
    import pyudev

_log = logging.getLogger(__name__)

UDEV_IS_HERE: Final = Path("/run/udev/control")
"""Exists where udevd runs; in a container only the kernel speaks."""

IGNORE: Final = "MODEMCTL_IGNORE"
"""A udev property that a site's own rule may set: this port is none of ours."""

_CLASS: Final = Path("/sys/class/tty")
_BY_PATH: Final = Path("/dev/serial/by-path")
_PCI: Final = re.compile(r"[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-9a-f]")
_DEVICE: Final = re.compile(r"/(\d+-[\d.]+):\d+\.\d+/")
_SUPER_SPEED: Final = 5_000  # Mbit/s: the slowest USB 3
_INTERFACE: Final = re.compile(r":\d+\.\d+$")  # configuration.interface, the end of an ID_PATH


@dataclass(frozen=True, slots=True, kw_only=True)
class UsbPort:
    """One serial port of a USB device. `name`: udev's `ID_PATH`, `1.2` its interface.

    `arrival`: another number after each plugging in.
    """

    node: str
    link: str | None
    name: str
    number: int
    device: UsbDevice
    interface: UsbInterface
    driver: str
    marks: Mapping[str, str]
    arrival: int = 0


class UsbReader:
    """Reads all ports; what did not change since the last look is not read again.

    A device may freeze who reads of it. Then `being_read` stays what it is, and `beside` goes on.
    """

    def __init__(self) -> None:
        self._context: pyudev.Context | None = None
        self._known: dict[str, tuple[tuple[str, int], UsbPort]] = {}
        self._is_silent = False
        self._frozen: set[str] = set()
        self.being_read = ""
        """The device that is being read, by the kernel's name; empty where none is."""
        self.n_read = 0
        """Ports that were begun to be read; grows while a look goes on."""

    def beside(self, frozen: str) -> UsbReader:
        """Another reader that knows what this one knows, and leaves the frozen device alone."""
        other = UsbReader()
        other._known = dict(self._known)
        other._frozen = self._frozen | {frozen}
        return other

    def thaw(self, device: str) -> None:
        """The device let go of who read it."""
        self._frozen.discard(device)

    def read(self, changed: Iterable[str] = ()) -> dict[Bay, Place]:
        """Bay → place of every USB modem; `changed`: names of ports that udev has spoken of."""
        for name in changed:
            self._known.pop(name, None)
        found: dict[str, tuple[tuple[str, int], UsbPort]] = {}
        for entry in _CLASS.iterdir() if _CLASS.exists() else ():
            try:
                target = str(entry.readlink())
                if "/usb" not in target:
                    continue
                stamp = target, entry.stat().st_ino  # a port that comes anew is another folder
                known = self._known.get(entry.name)
                is_same = known is not None and known[0] == stamp
                if known is None or not is_same or _needs_link(known[1]):
                    if not self._is_frozen(target):
                        known = self._read_anew(entry, target, stamp)
                    elif not is_same:
                        known = None
            except (OSError, ValueError):  # unplugged while we read
                continue
            if known is not None:
                found[entry.name] = known
        self._known = found
        return group(port for _, port in found.values() if is_there(port.node))

    def _is_frozen(self, target: str) -> bool:
        return _name_of(target) in self._frozen

    def _read_anew(
        self, entry: Path, target: str, stamp: tuple[str, int]
    ) -> tuple[tuple[str, int], UsbPort] | None:
        self.being_read = _name_of(target)
        self.n_read += 1
        try:
            port = self._read_port(entry.resolve())
        finally:
            self.being_read = ""
        return None if port is None else (stamp, port)

    def _read_port(self, tty: Path) -> UsbPort | None:
        """One port; None while udev is still at work, or where the site wants it ignored."""
        folder = next((one for one in tty.parents if (one / "bInterfaceNumber").exists()), None)
        marks = self._marks(tty)
        if folder is None or marks is None or marks.get(IGNORE, "0") != "0":
            return None
        node = marks.get("DEVNAME", f"/dev/{tty.name}")
        links = sorted(
            one for one in marks.get("DEVLINKS", "").split() if one.startswith(f"{_BY_PATH}/")
        )
        link = next((one for one in links if _leads_to(one, node)), None) or _link_to(node)
        name = marks.get("ID_PATH") or (_name_of_link(link) if link else _computed(folder))
        kind = [int(_text(folder / f"bInterface{one}", "ff"), 16) for one in _KIND]
        return UsbPort(
            node=node,
            link=link,
            name=_told_apart(name, folder),
            number=int(_text(tty.parent.parent / "port_number", "0")),
            device=_device(folder.parent),
            interface=UsbInterface(
                number=int(_text(folder / "bInterfaceNumber"), 16),
                kind=(kind[0], kind[1], kind[2]),
                label=_text(folder / "interface", ""),
            ),
            driver=(folder / "driver").resolve().name,
            marks=marks,
            arrival=_arrival(folder.parent),
        )

    def _marks(self, tty: Path) -> Mapping[str, str] | None:
        """Udev's properties; None while it has not finished with a new device."""
        import pyudev

        if self._is_silent:
            return {}
        try:
            if self._context is None:
                self._context = pyudev.Context()
            device = pyudev.Devices.from_sys_path(self._context, str(tty))
        except ImportError as error:  # no libudev on this machine
            _log.warning("discovery.no_udev", extra={"error": str(error)})
            self._is_silent = True
            return {}
        except pyudev.DeviceNotFoundError as error:
            raise FileNotFoundError(str(tty)) from error
        if UDEV_IS_HERE.exists() and not device.is_initialized:
            return None
        return dict(device.properties)


_KIND: Final = ("Class", "SubClass", "Protocol")


def group(ports: Iterable[UsbPort]) -> dict[Bay, Place]:
    """Bay → place: the ports of a modem together, each port of a bridge for itself.

    A bay is one device: what was opened by one must never be reset by another's folder. Where two
    still bear one name, the second is shown beside the first, and not driven.
    """
    bays: dict[Bay, list[UsbPort]] = {}
    second: dict[Bay, Place] = {}
    for port in sorted(ports, key=lambda one: one.device.folder):
        bay = bay_of(port)
        known = bays.setdefault(bay, [])
        if not known or known[0].device.folder == port.device.folder:
            known.append(port)
        else:
            other = Bay(f"{bay}@{port.device.folder.name}")
            note = f"USB tells it and {bay} not apart: plug it in elsewhere"
            second[other] = Place(bay=other, addresses=(), note=note)
    return second | {bay: _place(bay, ports) for bay, ports in bays.items()}


def bay_of(port: UsbPort) -> Bay:
    """The bay that a port belongs to, told from this port alone."""
    if not is_bridge(port.device.vendor_id, port.driver):
        return Bay(_INTERFACE.sub("", port.name))
    return Bay(f"{port.name}-port{port.number}" if port.number else port.name)


def _place(bay: Bay, ports: list[UsbPort]) -> Place:
    device = ports[0].device
    usb_id = f"{device.vendor_id}:{device.product_id}"
    if is_bridge(device.vendor_id, ports[0].driver):
        arrival = ports[0].arrival
        return Place(bay=bay, addresses=(_address(ports[0]),), usb=device, arrival=arrival)
    roles = [(role_of(usb_id, port.interface, port.marks), port) for port in ports]
    speaking = sorted(
        ((role, port) for role, port in roles if role in SPEAKING),
        key=lambda one: rank(one[0], one[1].interface),
    )
    place = Place(
        bay=bay,
        addresses=tuple(_address(port) for _, port in speaking),
        usb=device,
        is_sure=any(role is PortRole.AT for role, _ in speaking),
        arrival=ports[0].arrival,
    )
    if speaking:
        return place
    seen = ", ".join(sorted(role.value for role, _ in roles))
    if usb_id == _DEAD:
        return replace(place, note="its firmware is dead (emergency loader): power-cycle it")
    return replace(place, note=f"USB {usb_id} shows no AT port (only {seen})")


_DEAD: Final = "05c6:9008"


def _address(port: UsbPort) -> str:
    """The link by path where there is one: no number that another modem may get."""
    return port.link or port.node


def _device(folder: Path) -> UsbDevice:
    """The device whose folder this is: `1-1.3.2` hangs on `1-1.3`, `1-2` on `usb1`."""
    upper, _, port = folder.name.rpartition("." if "." in folder.name else "-")
    return UsbDevice(
        folder=folder,
        hub=upper if "-" in upper else f"usb{upper}",
        hub_port=int(port),
        vendor_id=_text(folder / "idVendor"),
        product_id=_text(folder / "idProduct"),
        serial=_text(folder / "serial", "") or None,
    )


def _arrival(device: Path) -> int:
    """A number of this stay on the bus: the kernel makes folder and address anew at each one."""
    address = _text(device / "devnum", "")  # 1 to 127, then again
    return device.stat().st_ino * 256 + (int(address) % 256 if address.isdecimal() else 0)


def _computed(folder: Path) -> str:
    """What udev would say of an interface's folder. Source: systemd, udev-builtin-path_id.c."""
    controller = _root_hub(folder).parent.name
    kind = "pci" if _PCI.fullmatch(controller) else "platform"
    return f"{kind}-{controller}-usb-0:{folder.name.partition('-')[2]}"


def _told_apart(name: str, folder: Path) -> str:
    """The name, with `usbv3` where the interface's folder hangs on a USB 3 root hub."""
    plain = re.sub(r"-usbv\d+-", "-usb-", name)
    speed = _text(_root_hub(folder) / "speed", "")  # Mbit/s
    is_fast = speed.isdecimal() and int(speed) >= _SUPER_SPEED
    return plain.replace("-usb-0:", "-usbv3-0:", 1) if is_fast else plain


def _root_hub(folder: Path) -> Path:
    found = next((one for one in folder.parents if re.fullmatch(r"usb\d+", one.name)), None)
    if found is None:
        raise ValueError(str(folder))
    return found


def _name_of_link(link: str) -> str:
    return re.sub(r"-port\d+$", "", Path(link).name)


def _name_of(target: str) -> str:
    """The kernel's name of the device behind a port's link (`1-1.3`)."""
    found = _DEVICE.search(target)
    return found[1] if found else target


def _link_to(node: str) -> str | None:
    """The link by path of a node of which udev says nothing (a container that got the folder)."""
    if not _BY_PATH.exists():
        return None
    return next((str(one) for one in sorted(_BY_PATH.iterdir()) if _leads_to(str(one), node)), None)


def _leads_to(link: str, node: str) -> bool:
    with contextlib.suppress(OSError):
        if Path(link).readlink().name == Path(node).name:  # udev's own links
            return True
    return Path(link).resolve() == Path(node).resolve()


def _needs_link(port: UsbPort) -> bool:
    """Whether a port may have got a link, or its own leads to another device of that name now."""
    if port.link is None:
        return _BY_PATH.exists()
    return not _leads_to(port.link, port.node)


def _text(path: Path, otherwise: str | None = None) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        if otherwise is None:
            raise
        return otherwise
