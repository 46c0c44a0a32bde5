"""A USB bus that exists only for programs started in it: the real libudev sees its devices."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Self

from tests.support.tools import require_tool

_PRELOAD = "libumockdev-preload.so.0"
CONTROLLER = "0000:00:14.0"


@dataclass(frozen=True, kw_only=True)
class Tty:
    """One serial port: its interface, the number that the kernel gives, what is behind it."""

    interface: int
    number: int
    target: str
    label: str = ""
    properties: Mapping[str, str] | None = None


class UsbWorld:
    """Sockets are named as the kernel names them: `1-1.3` is port 3 of the hub in port 1."""

    def __init__(self, *, has_udev_names: bool = True) -> None:
        require_tool("umockdev-run")
        self._has_udev_names = has_udev_names
        self._paths: dict[str, str] = {}
        self._plugged: dict[str, list[tuple[str, str, str]]] = {}
        self._n_plugs = 1

    def __enter__(self) -> Self:
        self._bed = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("usb_testbed.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "LD_PRELOAD": _PRELOAD},
        )
        self.root = self._bed.stdout.readline().strip()
        assert self.root, "umockdev's library did not start"
        self._paths["pci"] = self._do("add", "pci", CONTROLLER, None, {}, {})
        return self

    def __exit__(self, *_: object) -> None:
        self._bed.communicate(timeout=20)
        assert self._bed.returncode == 0

    @property
    def environment(self) -> dict[str, str]:
        """What makes a program see this bus and no other."""
        return {"LD_PRELOAD": _PRELOAD, "UMOCKDEV_DIR": self.root}

    def plug(
        self,
        socket: str,
        usb_id: str,
        ttys: Sequence[Tty],
        *,
        serial: str = "0123456789ABCDEF",
        driver: str = "option",
        kind: str = "ttyUSB",
    ) -> None:
        """Put a modem into a socket: its ports appear one after the other."""
        vendor, product = usb_id.split(":")
        self._n_plugs += 1
        facts = {"idVendor": vendor, "idProduct": product, "serial": serial}
        facts["devnum"] = str(self._n_plugs)
        device = self._do("add", "usb", socket, self._hub(socket), facts, {"DEVTYPE": "usb_device"})
        self._plugged[socket] = []
        for tty in ttys:
            self._add_tty(device, socket, tty, driver, kind)

    def link(self, path: str, target: str) -> None:
        """A link in /dev that somebody mounted into the container."""
        self._do("link", path, target)

    def freeze(self, socket: str) -> Callable[[], None]:
        """From now on a device holds up who reads its serial number; called, it lets go of all."""
        serial = Path(f"{self.root}{self._hub(socket)}/{socket}/serial")
        was = serial.read_text()
        serial.unlink()
        os.mkfifo(serial)
        pipe = os.open(serial, os.O_RDWR)  # who opens it goes on, who reads of it waits

        def thaw() -> None:
            well = serial.with_name("well")
            well.write_text(was)
            well.rename(serial)
            os.write(pipe, was.encode())
            os.close(pipe)

        return thaw

    def unplug(self, socket: str) -> None:
        """Pull the modem: its ports vanish one after the other."""
        for path, node, link in self._plugged.pop(socket):
            self._do("link", node, "")
            self._do("event", path, "remove")
            folder = PurePosixPath(path)
            for gone in (folder, folder.parent, folder.parent.parent):
                self._do("remove", str(gone))
            if link:
                self._do("link", link, "")
        self._do("remove", f"{self._hub(socket)}/{socket}")

    def _add_tty(self, device: str, socket: str, tty: Tty, driver: str, kind: str) -> None:
        name, node = f"{kind}{tty.number}", f"/dev/{kind}{tty.number}"
        facts = {"bInterfaceNumber": f"{tty.interface:02x}", "bInterfaceClass": "ff"}
        facts |= {"bInterfaceSubClass": "ff", "bInterfaceProtocol": "ff", "interface": tty.label}
        interface = f"{socket}:1.{tty.interface}"
        folder = self._do("add", "usb", interface, device, facts, {"DEVTYPE": "usb_interface"})
        self._do("link", f"{folder}/driver", f"/sys/bus/usb/drivers/{driver}")
        port = self._do("add", "usb-serial", name, folder, {"port_number": "0"}, {})
        properties = dict(tty.properties or {})  # with DEVNAME umockdev would make its own node
        id_path = f"pci-{CONTROLLER}-usb-0:{interface.partition('-')[2]}"
        link = f"/dev/serial/by-path/{id_path}-port0" if self._has_udev_names else ""
        if link:
            properties |= {"ID_PATH": id_path, "DEVLINKS": f"/dev/serial/by-id/x {link}"}
            self._do("link", link, f"../../{name}")
        path = self._do("add", "tty", name, port, {"dev": f"188:{tty.number}"}, properties)
        self._do("link", node, tty.target)
        self._plugged[socket].append((path, node, link))
        self._do("event", path, "add")

    def _hub(self, socket: str) -> str:
        """The path of what a socket belongs to; hubs are there from the first use on."""
        upper = socket.rpartition(".")[0] or f"usb{socket.partition('-')[0]}"
        if upper not in self._paths:
            parent = self._paths["pci"] if upper.startswith("usb") else self._hub(upper)
            speed = "5000" if upper.startswith("usb2") else "480"  # one controller has both
            facts = {"idVendor": "1d6b", "idProduct": "0002", "speed": speed}
            self._paths[upper] = self._do(
                "add", "usb", upper, parent, facts, {"DEVTYPE": "usb_device"}
            )
        return self._paths[upper]

    def _do(self, *order: object) -> str:
        self._bed.stdin.write(json.dumps(order) + "\n")
        self._bed.stdin.flush()
        answer = self._bed.stdout.readline()
        assert answer, "umockdev's test bed died"
        return json.loads(answer)
