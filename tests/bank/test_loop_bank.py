"""The daemon on a simulated bank: cards write to themselves, as long as that is approved."""

import csv
from datetime import timedelta

from modemctl.clock import SystemClock
from modemctl.lifecycle import BatchState
from modemctl.policy.digest import Standing
from modemctl.store import sims
from tests.bank.test_stop_bank import Person
from tests.support.approved import SALES
from tests.support.banks import DaemonProcess, Site
from tests.support.simulated import BankProcess

TEXT = "A test of our own cards."


def self_tests(mei, *, sms=False):
    """Bay → what is told of the card's message to itself."""
    answer = mei.ask("POST", "/v1/self-tests", {"sms": True}) if sms else None
    answer = answer or mei.ask("GET", "/v1/self-tests")
    return {one["bay"]: one["sms"] for one in answer.json()}


def test_cards_write_to_themselves_while_it_is_approved_and_not_a_moment_longer(tmp_path):
    with BankProcess(tmp_path / "bank", "--modems", "2", "--seed", "7") as bank:
        site = Site(tmp_path / "site", str(tmp_path / "bank" / "ports" / "*"))
        site.add_cards(tmp_path / "bank", department=SALES)
        with (tmp_path / "bank" / "cards.csv").open() as lines:
            cards = {row["iccid"]: row["number"] for row in csv.DictReader(lines)}
        own = sorted(cards.values())
        standing = site.add_batch(
            own, template=TEXT, department=SALES, state=BatchState.APPROVED,
            standing=Standing(runs_per_week=2), not_after=SystemClock().now() + timedelta(days=60),
        )  # fmt: skip
        site.write(lambda tx: [sims.set_number(tx, *one) for one in cards.items()])
        mei = Person(site, "mei", "maintainer", "submitter", "auditor")
        with DaemonProcess(site) as daemon:
            daemon.wait_until(lambda: site.n_ready() == 2, what="READY")
            self_tests(mei, sms=True)
            daemon.wait_until(
                lambda: {one["state"] for one in self_tests(mei).values()} == {"arrived"},
                what="each card's message in its own inbox",
            )
            assert "arrived after" in mei.type("self-test", "--last")
            sent = bank.ledger(kind="submit")
            assert sorted(str(one["destination"]) for one in sent) == own
            assert not [one for one in mei.ask("GET", "/v1/events").json()["items"]
                        if one["kind"] == "alarm"]  # fmt: skip

            paused = sorted(self_tests(mei))[1]
            mei.ask("POST", f"/v1/modems/{paused}/pause", {"reason": "antenna work"})
            self_tests(mei, sms=True)
            daemon.wait_until(lambda: len(bank.ledger(kind="submit")) == 3, what="the other card")
            refused = {one["told"] for one in self_tests(mei, sms=True).values()}
            assert refused == {
                "no SMS: 2 self-tests ran under this approval in seven days, 2 were signed "
                "(policy: SMS-09)"
            }
            mei.ask("POST", f"/v1/batches/{standing}/withdraw", {"reason": "no more tests"})
            mei.ask("POST", f"/v1/modems/{paused}/resume", {"reason": "done"})
            daemon.wait_until(
                lambda: "failed" in {one["state"] for one in self_tests(mei).values()},
                what="the run is held",
            )
            told = {one["told"] for one in self_tests(mei).values() if one["state"] == "failed"}
            assert "the standing approval is withdrawn (policy: SMS-09)" in str(told)
            assert len(bank.ledger(kind="submit")) == 3
            assert "no SMS: no standing approval" in mei.type("self-test", "--sms", status=1)
            mei.type("audit", "verify")
