"""A simulated bank whose modems hang on a pretended USB bus."""

import csv
from collections import defaultdict
from pathlib import Path

from tests.support.banks import DaemonProcess, Site
from tests.support.simulated import BankProcess, wait_until
from tests.support.usb_world import Tty, UsbWorld

_ROLES = {"at", "modem", "app", "diag", "nmea", "audio", "log", "trace", "sap"}


class UsbBank:
    """Modem → socket; a plug is put into both worlds, the simulator's and the kernel's."""

    def __init__(self, bank: BankProcess, world: UsbWorld) -> None:
        self.bank = bank
        self.world = world
        self._ports: dict[str, list[dict[str, str]]] = defaultdict(list)
        with (bank.folder / "ports.csv").open() as lines:
            for row in csv.DictReader(lines):
                assert row["role"] in _ROLES
                self._ports[row["modem"]].append(row)
        self._sockets: dict[str, str] = {}
        self._next = 0

    @property
    def modems(self) -> list[str]:
        """The simulator's names."""
        return list(self._ports)

    def plug(self, modem: str, socket: str, *, numbers_from: int | None = None) -> str:
        """Put a modem into a socket; the name of the bay."""
        first = self._next if numbers_from is None else numbers_from
        rows = self._ports[modem]
        ttys = [
            Tty(interface=int(row["interface"] or "0", 16), number=first + n, target=row["path"])
            for n, row in enumerate(rows)
        ]
        self._next = max(self._next, first + len(rows))
        usb_id = rows[0]["usb_id"]
        driver = "ftdi_sio" if usb_id.startswith("0403:") else "option"
        self.bank.control.request("plug", {"modem": modem})
        wait_until(lambda: all(Path(row["path"]).exists() for row in rows), what="its ports")
        self.world.plug(socket, usb_id, ttys, driver=driver)
        self._sockets[modem] = socket
        return f"pci-0000:00:14.0-usb-0:{socket.partition('-')[2]}"

    def unplug(self, modem: str) -> None:
        """Pull a modem: its lines hang up, then its devices vanish."""
        self.bank.control.request("unplug", {"modem": modem, "keeps_power": True})
        self.world.unplug(self._sockets.pop(modem))

    def daemon(self, site: Site) -> DaemonProcess:
        """The daemon, in the world of this bus."""
        return DaemonProcess(site, environment=self.world.environment)


def usb_site(folder: Path, bank: BankProcess, **settings: str) -> Site:
    """A site that finds its modems by itself; the slow look is minutes away, so events count."""
    far = {"bank__rescan_interval": "600.0", **settings}
    site = Site(folder, "usb", **far)
    site.add_cards(bank.folder)
    return site


def imeis(site: Site) -> dict[str, str]:
    """Bay → IMEI of the modem that was seen there last."""
    return dict(site.query("SELECT bay, imei FROM modem"))


def ports(site: Site) -> dict[str, str]:
    """Bay → the port that was taken."""
    return dict(site.query("SELECT bay, port FROM modem"))
