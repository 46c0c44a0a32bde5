"""What the register says of a card reaches the modem that holds it, at once."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from modemctl.store import sims
from tests.bank.test_stop_bank import SECOND, Person
from tests.support.approved import numbers
from tests.support.banks import DaemonProcess, Site
from tests.support.simulated import BankProcess

LATENCY = 0.5


@pytest.fixture
def world(tmp_path):
    """Three modems that take their time, and a technician."""
    flags = ("--modems", "3", "--seed", "7", "--latency", str(LATENCY), "--pin-lock", "off")
    with BankProcess(tmp_path / "bank", *flags) as bank:
        site = Site(
            tmp_path / "site",
            str(tmp_path / "bank" / "ports" / "*"),
            sms__request_reports="false",
            bank__health_interval="2",
        )
        site.add_cards(tmp_path / "bank")
        yield bank, site, Person(site, "it", "technician")


def test_a_lost_card_begins_no_payload_a_second_later_and_the_others_go_on(world):
    bank, site, it = world
    site.add_batch(numbers(200))
    with DaemonProcess(site) as daemon:
        daemon.wait_until(lambda: len(bank.ledger(kind="submit")) > 6, what="full flight")
        cards = list(dict.fromkeys(str(line["iccid"]) for line in bank.ledger(kind="submit")))
        ended = {}
        for card, state in zip(cards, ("lost", "suspended_arrears"), strict=False):
            it.type("sims", "state", card, state, "--reason", "地铁上丢失")
            ended[card] = datetime.now(UTC)
        taken = len(bank.ledger(kind="submit", iccid=cards[2]))
        daemon.wait_until(
            lambda: len(bank.ledger(kind="submit", iccid=cards[2])) > taken + 2,
            what="the third goes on",
        )
        for card, at in ended.items():
            ends = [str(line["time"]) for line in bank.ledger(kind="submit", iccid=card)]
            begun = [datetime.fromisoformat(one) - timedelta(seconds=LATENCY) for one in ends]
            assert begun, "it was in full flight"
            assert max(begun) <= at + SECOND
        daemon.wait_until(
            lambda: sum(state == "quarantined" for state, _ in site.modems().values()) == 2,
            what="both are quarantined",
        )
        assert site.segments()["in_doubt"] == 0


def test_who_leaves_is_not_done_before_his_card_is_out_of_its_bay(world):
    bank, site, it = world
    (one,) = bank.control.state("modem01")
    card = one["card"]["iccid"]
    site.write(lambda tx: sims.amend(tx, card, {"holder": "王芳"}))
    leave = ("sims", "offboard", "王芳", "--reason", "离职", "--json")
    with DaemonProcess(site) as daemon:
        daemon.wait_until(
            lambda: [one for one, _ in site.modems().values()] == ["ready"] * 3, what="ready"
        )
        first = json.loads(it.type(*leave))
        assert (first["is_finished"], first["left"][0]["state"]) == (False, "returned")
        daemon.wait_until(
            lambda: sum(state == "quarantined" for state, _ in site.modems().values()) == 1,
            what="it is quarantined",
        )
        assert json.loads(it.type(*leave))["is_finished"] is False
        bank.control.pull_card("modem01")
        daemon.wait_until(lambda: json.loads(it.type(*leave))["is_finished"], what="it is out")
