"""The daemon gives cards random PINs of the vault, one before the others, and each card once."""

import csv
import os
from collections import Counter

import pytest

from modemctl.store import pins
from simulator.faults import Fault, FaultKind
from tests.support.banks import DaemonProcess, Site
from tests.support.simulated import BankProcess

N = 8
PIN = "4711"
FLAGS = ("--modems", str(N), "--latency", "0", "--pin", PIN, "--pin-lock", "on")


def plastic(bank: BankProcess) -> dict[str, dict]:
    """ICCID → the card as it is."""
    return {state["card"]["iccid"]: state["card"] for state in bank.control.state()}


def vault_pins(site: Site) -> dict[str, str]:
    """ICCID → the PIN that the vault holds; none is pending."""
    rows = site.query("SELECT iccid, pin_enc, pin_pending_enc FROM sim")
    assert all(pending is None for _, _, pending in rows)
    return {
        iccid: site.vault.decrypt_text(sealed, place=pins.pin_place(iccid))
        for iccid, sealed, _ in rows
    }


def changes(site: Site) -> Counter[str]:
    """Outcomes of `+CPWD`."""
    rows = site.query("SELECT outcome FROM pin_attempt WHERE command = 'CPWD'")
    return Counter(outcome for (outcome,) in rows)


@pytest.mark.timeout(180)
def test_every_card_gets_its_own_pin_once_and_comes_up_with_it(tmp_path):
    with BankProcess(tmp_path / "bank", *FLAGS) as bank:
        ports = str(bank.folder / "ports" / "*")
        site = Site(tmp_path / "site", ports, sims__pin='"random"', logging__wire_log="true",
                    logging__level='"debug"')  # fmt: skip
        site.add_cards(bank.folder)
        for _ in range(2):
            with DaemonProcess(site) as daemon:
                daemon.wait_recovered()
                daemon.wait_until(lambda: site.n_ready() == N, what="all ready")
            for state in bank.control.state():
                bank.control.insert_card(state["modem"], bank.control.pull_card(state["modem"]))
        cards, held = plastic(bank), vault_pins(site)
        told = daemon.log.read_text()
    assert held == {iccid: card["pin"] for iccid, card in cards.items()}
    assert len(set(held.values()) - {PIN}) == N
    assert {(card["pin_tries"], card["is_locked"]) for card in cards.values()} == {(3, True)}
    assert changes(site) == {"right": N}
    assert not [pin for pin in held.values() if pin in told]
    assert "CPWD" in told  # the wire log was on
    with (bank.folder / "cards.csv").open() as lines:
        assert {card["pin"] for card in csv.DictReader(lines)} == {PIN}


@pytest.mark.skipif(os.environ.get("MODEMCTL_LONG") != "1", reason="waits for lost answers")
@pytest.mark.timeout(180)
def test_a_bank_that_refuses_changes_keeps_its_pins_and_serves(tmp_path):
    """Nothing answers `+CPWD`: one card is asked, the others are left alone, all serve."""
    with BankProcess(tmp_path / "bank", *FLAGS, "--persona", "generic") as bank:
        for state in bank.control.state():
            fault = Fault(kind=FaultKind.REBOOT, on="+CPWD", count=None)
            bank.control.set_fault(state["modem"], fault)
        ports = str(bank.folder / "ports" / "*")
        site = Site(tmp_path / "site", ports, sims__pin='"random"')
        site.add_cards(bank.folder)
        with DaemonProcess(site) as daemon:
            daemon.wait_until(lambda: site.n_ready() == N, what="all ready", seconds=120)
            stops = site.query("SELECT stopped_reason FROM pin_change")
        cards = plastic(bank)
    assert changes(site) == {"unburnt": 1}
    assert stops == [("a card kept its PIN (unburnt)",)]
    assert vault_pins(site) == dict.fromkeys(cards, PIN)
    assert {(card["pin"], card["pin_tries"]) for card in cards.values()} == {(PIN, 3)}
