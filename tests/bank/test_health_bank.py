"""What a modem does not say of itself is found out, by the daemon as users run it."""

import pytest

from tests.support.banks import DaemonProcess, Site
from tests.support.simulated import BankProcess

SENDER = "+8613800000001"


@pytest.fixture
def world(tmp_path):
    """Two modems, looked at often, and their site."""
    with BankProcess(tmp_path / "bank", "--modems", "2", "--seed", "7") as bank:
        ports = str(tmp_path / "bank" / "ports" / "*")
        site = Site(tmp_path / "site", ports, bank__health_interval="0.1")
        site.add_cards(tmp_path / "bank")
        yield bank, site


def n_texts(site: Site) -> int:
    return site.query("SELECT count(*) FROM inbox")[0][0]


def was(site: Site, bay: str, event: str) -> bool:
    found = site.query("SELECT data FROM event WHERE subject = ?", bay)
    return any(f'"{event}"' in data for (data,) in found)


def test_a_routing_that_was_lost_without_a_word_is_set_again(world):
    bank, site = world
    with DaemonProcess(site) as daemon:
        daemon.wait_until(lambda: site.n_ready() == 2, what="ready")
        bank.control.request("set_fault", {"modem": "modem01", "fault": "cnmi_lost"})
        bank.control.inject_sms("modem01", "heard of by looking", origin=SENDER)
        daemon.wait_until(lambda: n_texts(site) == 1, what="found")
        daemon.wait_until(lambda: was(site, "modem01", "rebooted"), what="noticed")
        daemon.wait_until(lambda: site.n_ready() == 2, what="ready again")
        bank.control.inject_sms("modem01", "heard of at once", origin=SENDER)
        daemon.wait_until(lambda: n_texts(site) == 2, what="announced again")
    assert not was(site, "modem02", "rebooted")
