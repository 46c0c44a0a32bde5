"""Bays of USB ports, told from what sysfs says of them."""

from pathlib import Path

from drivers.usb_ports import UsbInterface
from modemctl.fleet.places import UsbDevice
from modemctl.fleet.usb_bays import UsbPort, group


def port(folder: str, interface: int, node: str) -> UsbPort:
    """A port of an EC25 on port 3 of a root hub."""
    device = UsbDevice(
        folder=Path("/sys/bus/usb/devices") / folder,
        hub=f"usb{folder[0]}",
        hub_port=3,
        vendor_id="2c7c",
        product_id="0125",
    )
    return UsbPort(
        node=node,
        link=None,
        name=f"pci-0000:00:14.0-usb-0:3:1.{interface}",
        number=0,
        device=device,
        interface=UsbInterface(number=interface),
        driver="option",
        marks={},
    )


def test_a_modem_whose_name_another_bears_is_shown_and_their_ports_never_mix():
    first = [port("1-3", 2, "/dev/ttyUSB6"), port("1-3", 3, "/dev/ttyUSB7")]
    second = [port("2-3", 2, "/dev/ttyUSB2"), port("2-3", 3, "/dev/ttyUSB3")]
    for ports in (first + second, second + first):
        places = group(ports)
        bay = "pci-0000:00:14.0-usb-0:3"
        assert set(places) == {bay, f"{bay}@2-3"}
        assert places[bay].addresses == ("/dev/ttyUSB6", "/dev/ttyUSB7")
        assert places[bay].usb == first[0].device
        assert places[f"{bay}@2-3"].addresses == ()
        assert (
            places[f"{bay}@2-3"].note == f"USB tells it and {bay} not apart: plug it in elsewhere"
        )
