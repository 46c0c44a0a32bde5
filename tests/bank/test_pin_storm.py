"""A whole bank of cards meets the guard: the real daemon, judged by the cards' own counters."""

import csv
import os
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from modemctl.store import pins
from tests.support.approved import add_cards
from tests.support.banks import DaemonProcess, Site
from tests.support.simulated import BankProcess

LONG = os.environ.get("MODEMCTL_LONG") == "1"
N_MODEMS = 512 if LONG else 64
SET_ASIDE = "pin_wrong"
RIGHT, WRONG = "4711", "8620"
SECONDS = 200.0 if LONG else 60.0


@contextmanager
def bank_of_locked_cards(tmp_path: Path) -> Iterator[tuple[BankProcess, Site, Mapping[str, str]]]:
    """One generic modem a card, all with the same PIN; modem → its card's ICCID."""
    flags = ("--modems", str(N_MODEMS), "--persona", "generic", "--latency", "0")
    with BankProcess(tmp_path / "bank", *flags, "--pin", RIGHT, "--pin-lock", "on") as bank:
        with (bank.folder / "cards.csv").open() as lines:
            cards = {card["modem"]: card["iccid"] for card in csv.DictReader(lines)}
        yield bank, Site(tmp_path / "site", str(bank.folder / "ports" / "*")), cards


def import_pins(site: Site, given: Mapping[str, str]) -> None:
    """All cards registered, their PINs brought by one import."""
    site.write(
        lambda tx: add_cards(tx, list(given)),
        lambda tx: pins.add_import(tx, str(uuid.uuid4()), given),
    )


def counters(bank: BankProcess) -> dict[str, int]:
    """ICCID → tries left, as the simulated cards themselves count them."""
    cards = [state["card"] for state in bank.control.state()]
    return {card["iccid"]: card["pin_tries"] for card in cards}


def tries(site: Site) -> Counter[tuple[str, str]]:
    """Attempts on disk by command and outcome."""
    return Counter(site.query("SELECT command, outcome FROM pin_attempt"))


def noted(site: Site) -> Counter[tuple[bool, str]]:
    """What the report of locks says; a card that is looked at again has a PIN that failed."""
    rows = site.query("SELECT is_locked, reason FROM card_lock")
    again = {"pin_failed": SET_ASIDE}
    return Counter((is_locked, again.get(reason, reason)) for is_locked, reason in rows)


def n_in(site: Site, state: str) -> int:
    """Bays in a state."""
    return sum(one == state for one, _ in site.modems().values())


@pytest.mark.timeout(400)
def test_a_bank_full_of_wrong_pins_costs_one_try_in_total(tmp_path):
    with bank_of_locked_cards(tmp_path) as (bank, site, cards):
        import_pins(site, dict.fromkeys(cards.values(), WRONG))
        with DaemonProcess(site) as daemon:
            daemon.wait_until(
                lambda: n_in(site, "sim_wait") == N_MODEMS, what="all set aside", seconds=SECONDS
            )
        left = counters(bank)
    assert Counter(left.values()) == {2: 1, 3: N_MODEMS - 1}
    assert tries(site) == {("CPIN", "wrong"): 1}
    assert noted(site) == {(1, SET_ASIDE): 1, (1, "import_stopped"): N_MODEMS - 1}


@pytest.mark.timeout(400)
def test_one_wrong_pin_among_right_ones_sets_that_card_aside_alone(tmp_path):
    """Its stick is plugged in once the canary was right: as canary it would stop its import."""
    with bank_of_locked_cards(tmp_path) as (bank, site, cards):
        odd = f"modem{N_MODEMS // 2:02d}"
        import_pins(site, dict.fromkeys(cards.values(), RIGHT) | {cards[odd]: WRONG})
        bank.control.unplug(odd)
        with DaemonProcess(site) as daemon:
            daemon.wait_until(lambda: tries(site)["CPIN", "right"], what="the canary")
            bank.control.plug(odd)
            daemon.wait_until(
                lambda: n_in(site, "ready") == N_MODEMS - 1 and n_in(site, "sim_wait") == 1,
                what="all but one ready",
                seconds=SECONDS,
            )
            aside = [bay for bay, (state, _) in site.modems().items() if state == "sim_wait"]
        left = counters(bank)
    assert aside == [odd]
    assert left.pop(cards[odd]) == 2
    assert set(left.values()) == {3}
    assert tries(site) == {("CPIN", "right"): N_MODEMS - 1, ("CPIN", "wrong"): 1}
    assert noted(site) == {(1, ""): N_MODEMS - 1, (1, SET_ASIDE): 1}
