"""Sick modems on the real daemon: how far each fault climbs, and that it climbs alone.

A healthy modem is judged by what the network took from it, never by how fast.
"""

import json

from tests.support.approved import numbers
from tests.support.banks import DaemonProcess, Site
from tests.support.simulated import BankProcess

DEAD, WELL, HICCUP = "modem01", "modem02", "modem03"


def steps(site: Site, bay: str) -> list[tuple[str, str]]:
    """The steps of the ladder that a bay took, and how each ended."""
    found = site.query("SELECT data FROM event WHERE subject = ? ORDER BY event_id", bay)
    told = [json.loads(data) for (data,) in found]
    return [(one["ladder"], one["outcome"]) for one in told if "ladder" in one]


def state(site: Site, bay: str) -> str:
    return site.modems()[bay][0]


def n_taken(bank: BankProcess, modem: str) -> int:
    return len(bank.ledger(kind="submit", modem=modem))


def test_faults_climb_as_far_as_they_must_and_the_healthy_modem_sends_the_batch(tmp_path):
    """One is dead after Ctrl-Z until somebody restarts it, one loses a single answer."""
    with BankProcess(tmp_path / "bank", "--modems", "3", "--seed", "7") as bank:
        ports = str(tmp_path / "bank" / "ports" / "*")
        site = Site(tmp_path / "site", ports, bank__submit_timeout="2.0")
        site.add_cards(tmp_path / "bank")
        bank.control.request("set_fault", {"modem": DEAD, "fault": "hang"})
        lost = {"modem": HICCUP, "fault": "no_answer", "on": "+CREG", "skip": 1, "count": 1}
        bank.control.request("set_fault", lost)
        site.add_batch(numbers(60, start=100))
        with DaemonProcess(site) as daemon:
            daemon.wait_until(lambda: site.segments() == {"delivered": 59, "in_doubt": 1},
                              what="all but the dead one's", seconds=90)  # fmt: skip
            daemon.wait_until(lambda: state(site, DEAD) == "failed", what="failed", seconds=90)
            daemon.wait_until(lambda: bool(steps(site, HICCUP)), what="hiccup noticed")
            daemon.wait_until(lambda: state(site, HICCUP) == "ready", what="ready again")
        assert [step for step, _ in steps(site, DEAD)] == ["realign", "reopen", "reset"]
        assert {outcome for _, outcome in steps(site, DEAD)} == {"failed"}
        assert steps(site, HICCUP) == [("realign", "recovered")]
        assert steps(site, WELL) == []
        taken = [n_taken(bank, modem) for modem in (DEAD, WELL, HICCUP)]
        assert taken[0] == 0
        assert sum(taken) == 59
