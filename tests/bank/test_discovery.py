"""Discovery on a pretended USB bus, with the real libudev."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.simulated import wait_until
from tests.support.usb_world import Tty, UsbWorld

ROOT = Path(__file__).parents[2]
BUS = "pci-0000:00:14.0-usb-0"


class Teller:
    """What discovery tells, while the context is open."""

    def __init__(
        self, world: UsbWorld, *ports: str, interval: float = 300.0, log: Path | None = None
    ) -> None:
        self._log = log
        self._command = [sys.executable, "-m", "tests.support.places_teller", str(interval), *ports]
        self._env = {**os.environ, **world.environment, "PYTHONPATH": str(ROOT)}
        self._lines: queue.Queue[dict] = queue.Queue()

    def __enter__(self) -> "Teller":
        with Path(self._log or os.devnull).open("wb") as log:
            self._process = subprocess.Popen(
                self._command,
                stdout=subprocess.PIPE,
                stderr=log if self._log else None,
                text=True,
                env=self._env,
                cwd=ROOT,
            )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        return self

    def _read(self) -> None:
        for line in self._process.stdout:
            self._lines.put(json.loads(line))

    def next(self) -> dict:
        """The next news; the slow cover look is minutes away, so an event must have brought it."""
        return self._lines.get(timeout=60)

    def until(self, holds) -> dict:
        while not holds(found := self.next()):
            pass
        return found

    def end(self) -> float:
        """Ask for an end in order, as Ctrl-C does; seconds until it came."""
        began_at = time.monotonic()
        self._process.send_signal(signal.SIGINT)
        self._process.wait(30)
        return time.monotonic() - began_at

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(60)
        self._reader.join(10)
        self._process.stdout.close()


@contextmanager
def bus(**options) -> Iterator[UsbWorld]:
    with UsbWorld(**options) as world:
        yield world


def ttys(*interfaces: int, first: int = 0, **facts) -> list[Tty]:
    """Ports of one modem, numbered as they come."""
    return [
        Tty(interface=interface, number=first + n, target="/dev/null", **facts)
        for n, interface in enumerate(interfaces)
    ]


def link(socket: str, interface: int) -> str:
    return f"/dev/serial/by-path/{BUS}:{socket}:1.{interface}-port0"


def test_ports_of_a_modem_are_one_bay_and_the_table_names_its_at_port():
    with bus() as world:
        world.plug("1-1.3", "2c7c:0125", ttys(0, 1, 2, 3))
        with Teller(world, "usb") as teller:
            found = teller.next()
    assert list(found) == [f"{BUS}:1.3"]
    [place] = found.values()
    assert place["addresses"] == [link("1.3", 2), link("1.3", 3)]  # no diagnosis, no position port
    assert (place["hub"], place["hub_port"], place["is_sure"]) == ("1-1", 3, True)
    assert place["folder"].endswith("/usb1/1-1/1-1.3")


def test_plug_and_unplug_are_told_at_once():
    with bus() as world, Teller(world, "usb") as teller:
        assert teller.next() == {}
        world.plug("1-2", "1bc7:1201", ttys(0, 1, 2))
        found = teller.until(lambda now: len(now) == 1 and len(now[f"{BUS}:2"]["addresses"]) == 2)
        assert found[f"{BUS}:2"]["addresses"] == [link("2", 1), link("2", 2)]
        assert found[f"{BUS}:2"]["hub"] == "usb1"
        world.unplug("1-2")
        teller.until(lambda now: now == {})


def test_a_look_that_fails_is_soon_made_again(tmp_path):
    log = tmp_path / "log"
    with bus() as world:
        world.plug("1-2", "1bc7:1201", ttys(0, 1, 2))
        ports = Path(f"{world.root}/sys/class/tty")
        aside = ports.rename(ports.with_name("aside"))
        ports.write_text("no folder")
        with Teller(world, "usb", log=log) as teller:
            wait_until(lambda: "look_failed" in log.read_text(), what="a failed look")
            ports.unlink()
            aside.rename(ports)
            assert len(teller.next()[f"{BUS}:2"]["addresses"]) == 2


def test_two_sticks_with_the_same_serial_are_two_bays():
    with bus() as world:
        world.plug("1-1.1", "12d1:1506", ttys(0, 1))
        world.plug("1-1.2", "12d1:1506", ttys(0, 1, first=2))
        with Teller(world, "usb") as teller:
            found = teller.next()
    assert set(found) == {f"{BUS}:1.1", f"{BUS}:1.2"}
    assert len({place["serial"] for place in found.values()}) == 1
    assert len({address for place in found.values() for address in place["addresses"]}) == 4


def test_two_modems_whose_sockets_udev_names_alike_are_two_bays(tmp_path):
    """A controller has a USB 2 and a USB 3 hub, each with a port 3; the link is the last one's."""
    nodes = [tmp_path / name for name in ("one", "two", "three", "four")]
    for node in nodes:
        node.touch()
    with bus() as world, Teller(world, "usb") as teller:
        for socket, first in (("1-3", 0), ("2-3", 2)):
            ports = [
                Tty(interface=2 + n, number=first + n, target=str(nodes[first + n])) for n in (0, 1)
            ]
            world.plug(socket, "2c7c:0125", ports)
            found = teller.until(
                lambda now, n=first + 2: sum(len(place["addresses"]) for place in now.values()) == n
            )
        assert {bay: place["addresses"] for bay, place in found.items()} == {
            f"{BUS}:3": ["/dev/ttyUSB0", "/dev/ttyUSB1"],
            f"{BUS.replace('usb', 'usbv3')}:3": [link("3", 2), link("3", 3)],
        }
        world.unplug("1-3")
        found = teller.until(lambda now: len(now) == 1)
    assert set(found) == {f"{BUS.replace('usb', 'usbv3')}:3"}


def test_renumbered_ports_keep_bay_and_address():
    with bus() as world, Teller(world, "usb") as teller:
        world.plug("1-1", "2c7c:0125", ttys(0, 1, 2, 3))
        before = teller.until(lambda now: now and len(now[f"{BUS}:1"]["addresses"]) == 2)
        world.unplug("1-1")
        teller.until(lambda now: now == {})
        world.plug("1-1", "2c7c:0125", ttys(0, 1, 2, 3, first=7))
        after = teller.until(lambda now: now and len(now[f"{BUS}:1"]["addresses"]) == 2)
    arrivals = {found[f"{BUS}:1"].pop("arrival") for found in (before, after)}
    assert after == before
    assert len(arrivals) == 2  # who looks too rarely to see it gone knows it by that


def test_where_udev_is_silent_names_are_the_same_and_numbers_are_followed():
    with bus(has_udev_names=False) as world, Teller(world, "usb") as teller:
        world.plug("1-1.4", "2c7c:0125", ttys(0, 1, 2, 3))
        found = teller.until(lambda now: now and len(now[f"{BUS}:1.4"]["addresses"]) == 2)
        assert found[f"{BUS}:1.4"]["addresses"] == ["/dev/ttyUSB2", "/dev/ttyUSB3"]
        world.unplug("1-1.4")
        teller.until(lambda now: now == {})
        world.plug("1-1.4", "2c7c:0125", ttys(0, 1, 2, 3, first=7))
        found = teller.until(lambda now: now and len(now[f"{BUS}:1.4"]["addresses"]) == 2)
        assert found[f"{BUS}:1.4"]["addresses"] == ["/dev/ttyUSB9", "/dev/ttyUSB10"]


def test_a_frozen_device_delays_neither_another_bay_nor_the_end():
    """The kernel lets nobody read of a device while it is being reset or taken from its drivers."""
    with bus() as world:
        for n, socket in enumerate(("1-1.1", "1-1.2")):
            world.plug(socket, "2c7c:0125", ttys(2, 3, first=2 * n))
        thaw = world.freeze("1-1.1")
        with Teller(world, "usb") as teller:
            assert set(teller.next()) == {f"{BUS}:1.2"}
            world.plug("1-1.3", "2c7c:0125", ttys(2, 3, first=4))
            teller.until(lambda now: set(now) == {f"{BUS}:1.2", f"{BUS}:1.3"})
            thaw()
            found = teller.until(lambda now: len(now) == 3)
            assert found[f"{BUS}:1.1"]["addresses"] == [link("1.1", 2), link("1.1", 3)]
            world.unplug("1-1.3")
            teller.until(lambda now: len(now) == 2)


def test_the_end_waits_for_no_frozen_device():
    with bus() as world:
        world.plug("1-1.1", "2c7c:0125", ttys(2, 3))
        world.plug("1-1.2", "2c7c:0125", ttys(2, 3, first=2))
        thaw = world.freeze("1-1.1")
        with Teller(world, "usb") as teller:
            teller.next()
            assert teller.end() < 3
            thaw()


def test_each_port_of_a_bridge_is_a_bay():
    with bus() as world:
        world.plug("1-1.2", "0403:6011", ttys(0, 1, 2, 3), driver="ftdi_sio")
        with Teller(world, "usb") as teller:
            found = teller.next()
    addresses = {bay: one["addresses"] for bay, one in found.items()}
    assert addresses == {f"{BUS}:1.2:1.{n}": [link("1.2", n)] for n in range(4)}


def test_an_unknown_modem_is_told_once_all_its_ports_are_there():
    with bus() as world, Teller(world, "usb") as teller:
        assert teller.next() == {}
        world.plug("1-1", "1234:5678", ttys(0, 1, 2, 3))
        place = teller.next()[f"{BUS}:1"]
    assert place["addresses"] == [link("1", 2), link("1", 3), link("1", 0), link("1", 1)]
    assert not place["is_sure"]


def test_a_rule_of_the_site_comes_before_the_tables():
    at = {"ID_MM_PORT_TYPE_AT_PRIMARY": "1"}
    with bus() as world:
        world.plug(
            "1-1",
            "2c7c:0125",
            [*ttys(0, 2), *ttys(5, first=5, properties=at)],
        )
        world.plug("1-2", "2341:0043", ttys(0, first=9, properties={"MODEMCTL_IGNORE": "1"}))
        with Teller(world, "usb") as teller:
            found = teller.next()
    assert {bay: one["addresses"][0] for bay, one in found.items()} == {f"{BUS}:1": link("1", 2)}
    assert link("1", 5) in found[f"{BUS}:1"]["addresses"]


@pytest.mark.parametrize(
    ("usb_id", "note"),
    [("2c7c:0125", "shows no AT port (only diag, nmea)"), ("05c6:9008", "power-cycle")],
)
def test_a_modem_without_an_at_port_says_why(usb_id, note):
    with bus() as world:
        world.plug("1-1", usb_id, ttys(0, 1) if usb_id != "05c6:9008" else ttys(0))
        with Teller(world, "usb") as teller:
            [place] = teller.until(bool).values()
    assert place["addresses"] == []
    assert note in place["note"]


def test_names_of_the_configuration_stand_beside_usb(tmp_path):
    (tmp_path / "one").touch()
    (tmp_path / "ring").symlink_to(tmp_path / "ring")
    with bus() as world:
        world.plug("1-1", "2c7c:0125", ttys(2))
        named = (link("1", 2), f"{tmp_path}/*", f"{tmp_path}/two", "tcp://[::1]:7000", "unix:/a/b")
        with Teller(world, *named, "usb") as teller:
            found = teller.next()
    addresses = {bay: one["addresses"] for bay, one in found.items()}
    assert addresses == {
        f"{BUS}:1": [link("1", 2)],
        "one": [f"{tmp_path}/one"],
        "ring": [],
        "two": [],
        "[::1]:7000": ["tcp://[::1]:7000"],
        "b": ["unix:/a/b"],
    }
    assert found["two"]["note"] == f"{tmp_path}/two is missing"


def test_a_name_that_nobody_may_look_at_hides_no_other_bay(tmp_path):
    (tmp_path / "one").touch()
    odd = "/" + 300 * "a"  # the kernel refuses it, as it does what lies in another's folder
    with bus() as world, Teller(world, odd, f"{tmp_path}/one") as teller:
        found = teller.next()
    assert [one["addresses"] for one in found.values()] == [[], [f"{tmp_path}/one"]]


def test_two_links_of_one_port_are_one_bay(tmp_path):
    """A newer udev makes two links by path for each port: `-usb-` and `-usbv2-`."""
    (tmp_path / "node").touch()
    for name in ("x-usb-0:1:1.0-port0", "x-usbv2-0:1:1.0-port0"):
        (tmp_path / name).symlink_to(tmp_path / "node")
    with bus() as world, Teller(world, f"{tmp_path}/x-*") as teller:
        assert list(teller.next()) == ["x-usb-0:1:1.0-port0"]


def test_links_that_a_container_was_given_name_the_bay():
    with bus(has_udev_names=False) as world:
        given = "/dev/serial/by-path/platform-hub-usbv2-0:1.1:1.2-port0"
        world.plug("1-1.1", "2c7c:0125", ttys(2))
        world.link(given, "../../ttyUSB0")
        with Teller(world, "usb") as teller:
            found = teller.next()
    assert {bay: one["addresses"] for bay, one in found.items()} == {
        "platform-hub-usb-0:1.1": [given]
    }


def test_many_modems_are_told_once_and_their_hubs_are_known():
    with bus() as world:
        for n in range(12):
            socket = f"1-{n // 4 + 1}.{n % 4 + 1}"
            world.plug(socket, "12d1:1506", ttys(0, 1, first=2 * n))
        with Teller(world, "usb") as teller:
            found = teller.next()
    assert len(found) == 12
    assert {place["hub"] for place in found.values()} == {"1-1", "1-2", "1-3"}
