"""Cards and modems that change places while they work: the network's ledger judges."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from modemctl.model import Bay, Iccid
from modemctl.store import ties
from simulator.faults import Fault, FaultKind
from tests.support.approved import numbers
from tests.support.banks import DaemonProcess, Site
from tests.support.simulated import BankProcess, wait_until, within

LONG = "Ihre Bestellung ist unterwegs; " * 18  # four segments
PERSONAS = ("generic", "huawei", "quectel", "zte")


@pytest.fixture
def bank(tmp_path: Path) -> Iterator[BankProcess]:
    flags = ("--modems", str(2 * len(PERSONAS)), "--persona", ",".join(PERSONAS), "--seed", "7")
    with BankProcess(tmp_path / "bank", *flags, "--latency", "1", "--pin-lock", "off") as opened:
        yield opened


def pairs(bank: BankProcess) -> list[tuple[str, str]]:
    """Two modems of each persona."""
    by_persona: dict[str, list[str]] = {}
    for state in bank.control.state():
        by_persona.setdefault(str(state["persona"]), []).append(str(state["modem"]))
    assert len(by_persona) == len(PERSONAS)
    return [(one, other) for one, other in by_persona.values()]


def card_in(bank: BankProcess, modem: str) -> str:
    (state,) = bank.control.state(modem)
    return str(within(state, "card", "iccid"))


def by_recipient(bank: BankProcess) -> dict[str, list[dict]]:
    found: dict[str, list[dict]] = {}
    for line in bank.ledger(kind="submit"):
        found.setdefault(str(line["destination"]), []).append(line)
    return found


def moved_bays(site: Site) -> int:
    """Bays that learned another card than their first."""
    return len(site.query("SELECT 1 FROM audit_entry WHERE action = 'bay.learn'")) - len(
        site.query("SELECT 1 FROM modem")
    )


def is_over(site: Site) -> bool:
    return not site.segments().keys() & {"queued", "leased", "submitting"}


def open_site(tmp_path: Path, **settings: str) -> Site:
    site = Site(tmp_path / "site", str(tmp_path / "bank" / "ports" / "*"), **settings)
    site.add_cards(tmp_path / "bank")
    return site


def swap_in_mid_message(bank: BankProcess, site: Site, daemon: DaemonProcess) -> None:
    """Let every modem begin a long message; then each persona's two modems exchange cards."""
    n = 2 * len(PERSONAS)
    daemon.wait_until(lambda: site.n_ready() == n, what="all ready", seconds=90)
    wait_until(lambda: len(by_recipient(bank)) == n, what="all began", seconds=60)
    for one, other in pairs(bank):
        bank.control.swap_cards(one, other)


def test_after_a_swap_the_rest_of_a_long_message_leaves_by_its_own_card(tmp_path, bank):
    """Four models, each with its own way to tell (or not) that its card was changed."""
    site = open_site(tmp_path, sims__lock='"verify"')
    n = 2 * len(PERSONAS)
    site.add_batch(numbers(n), template=LONG)
    with DaemonProcess(site) as daemon:
        swap_in_mid_message(bank, site, daemon)
        daemon.wait_until(lambda: moved_bays(site) == n, what="all have the other's card")
        daemon.wait_until(lambda: site.n_ready() == n, what="all ready again", seconds=90)
        if (
            os.environ.get("MODEMCTL_LONG") == "1"
        ):  # a segment cut off by the swap waits for half a minute
            daemon.wait_until(lambda: is_over(site), what="all sent", seconds=120)
    sent = by_recipient(bank)
    assert len(sent) == n
    for lines in sent.values():
        assert len({line["iccid"] for line in lines}) == 1
    data = site.query("SELECT data FROM event WHERE kind = 'alarm'")
    moves = [one for (row,) in data if (one := json.loads(row))["alarm"] == "card_moved"]
    assert len(moves) >= len(PERSONAS), "one of two tells for both: the first took the other's card"
    assert {one["became"] for one in moves} == {"tied"}


def test_under_enforce_swapped_cards_send_nothing_and_get_no_pin_until_put_back(tmp_path):
    flags = ("--modems", "2", "--persona", "generic", "--latency", "1", "--pin", "1234")
    with BankProcess(tmp_path / "bank", *flags) as bank:
        site = open_site(tmp_path, bank__cards='"enforce"', bank__health_interval="1.0")
        names = ("modem01", "modem02")
        cards = {name: card_in(bank, name) for name in names}
        site.write(*[
            lambda tx, n=name: ties.bind(tx, Bay(n), Iccid(cards[n]), by="anna") for name in names
        ])  # fmt: skip
        site.add_batch(numbers(2), template=LONG)
        with DaemonProcess(site) as daemon:
            daemon.wait_until(lambda: len(by_recipient(bank)) == 2, what="both began", seconds=60)
            bank.control.swap_cards(*names)
            moved = ("quarantined", "moved (policy: SIM-07)")
            daemon.wait_until(
                lambda: set(site.modems().values()) == {moved}, what="both quarantined", seconds=60
            )
            tries = [within(state, "card", "state") for state in bank.control.state()]
            bank.control.swap_cards(*names)
            daemon.wait_until(lambda: site.n_ready() == 2, what="put back", seconds=90)
        for lines in by_recipient(bank).values():
            assert len({line["iccid"] for line in lines}) == 1
        assert tries == ["SIM PIN", "SIM PIN"], "neither card was opened in the other's bay"


@pytest.mark.skipif(os.environ.get("MODEMCTL_LONG") != "1", reason="waits for readings alike")
def test_readings_cut_in_half_convict_nobody_and_stop_nothing_for_good(tmp_path):
    """Half an ICCID looks like a card that no register knows; some models read so now and then."""
    flags = ("--modems", "2", "--persona", "generic,huawei", "--latency", "0.3", "--pin", "1234")
    with BankProcess(tmp_path / "bank", *flags) as bank:
        site = open_site(tmp_path, bank__cards='"enforce"')
        names = ("modem01", "modem02")
        cards = {name: card_in(bank, name) for name in names}
        site.write(*[
            lambda tx, n=name: ties.bind(tx, Bay(n), Iccid(cards[n]), by="anna") for name in names
        ])  # fmt: skip
        for name in names:
            bank.control.set_fault(name, Fault(kind=FaultKind.HALF_ICCID, rate=0.4, count=None))
        site.add_batch(numbers(4), template=LONG)
        with DaemonProcess(site) as daemon:
            daemon.wait_until(lambda: len(bank.ledger(kind="submit")) > 4, what="some sent")
            bank.control.clear_faults()
            daemon.wait_until(lambda: is_over(site), what="all sent", seconds=90)
        struck = bank.ledger(kind="fault", fault="half_iccid")
        data = [json.loads(row) for (row,) in site.query("SELECT data FROM event")]
    assert len(struck) > 4
    assert [one for one in data if one.get("state") == "quarantined"] == []
    assert [one for one in data if str(one.get("alarm", "")).startswith("card_")] == []
    assert len(bank.ledger(kind="submit")) == len(site.query("SELECT 1 FROM segment"))
