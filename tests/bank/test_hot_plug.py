"""Modems that come, go, change places and numbers while the daemon runs, on a pretended USB bus."""

import pytest

from tests.support.banks import Site
from tests.support.simulated import BankProcess
from tests.support.usb_banks import UsbBank, imeis, ports, usb_site
from tests.support.usb_world import UsbWorld


@pytest.fixture
def start(tmp_path):
    """A bank with all ports of each modem, a bus, and a site that discovers them."""
    opened: list = []

    def start_all(n: int, persona: str, *, has_udev_names: bool = True) -> tuple[UsbBank, Site]:
        flags = ("--modems", str(n), "--persona", persona, "--port-sets", "all", "--seed", "7")
        bank = BankProcess(tmp_path / "bank", *flags)
        opened.append(bank.__enter__())
        world = UsbWorld(has_udev_names=has_udev_names)
        opened.append(world.__enter__())
        usb = UsbBank(bank, world)
        for modem in usb.modems:
            bank.control.request("unplug", {"modem": modem, "keeps_power": True})
        return usb, usb_site(tmp_path / "site", bank)

    yield start_all
    for one in reversed(opened):
        one.__exit__(None, None, None)


def test_modems_are_found_plugged_in_unplugged_and_renumbered(start):
    usb, site = start(2, "quectel")
    one = usb.plug("modem01", "1-1.1")
    with usb.daemon(site) as daemon:
        daemon.wait_until(lambda: site.n_ready() == 1, what="found")
        other = usb.plug("modem02", "1-1.2")
        daemon.wait_until(lambda: site.n_ready() == 2, what="plugged in")
        assert ports(site)[other] == f"/dev/serial/by-path/{other}:1.2-port0"
        usb.unplug("modem01")
        daemon.wait_until(lambda: site.modems()[one][0] == "absent", what="unplugged")
        usb.plug("modem01", "1-1.1", numbers_from=40)
        daemon.wait_until(lambda: site.n_ready() == 2, what="back under other numbers")
    assert set(site.modems()) == {one, other}


def test_two_modems_that_change_sockets_and_numbers_take_their_imei_along(start):
    """In a container: without udev's links the only address is a number, and they swap theirs."""
    usb, site = start(2, "huawei", has_udev_names=False)
    sockets = {"modem01": "1-1.1", "modem02": "1-1.2"}
    one, other = (usb.plug(modem, socket) for modem, socket in sockets.items())
    with usb.daemon(site) as daemon:
        daemon.wait_until(lambda: site.n_ready() == 2, what="ready")
        before = imeis(site)
        usb.unplug("modem01")
        usb.unplug("modem02")
        daemon.wait_until(
            lambda: {state for state, _ in site.modems().values()} == {"absent"}, what="unplugged"
        )
        usb.plug("modem02", "1-1.1", numbers_from=0)  # each gets the other's old numbers
        usb.plug("modem01", "1-1.2", numbers_from=3)
        swapped = {one: before[other], other: before[one]}
        daemon.wait_until(lambda: imeis(site) == swapped, what="each with its IMEI")
        assert ports(site) == {one: "/dev/ttyUSB2", other: "/dev/ttyUSB5"}
    assert len(set(before.values())) == 2
