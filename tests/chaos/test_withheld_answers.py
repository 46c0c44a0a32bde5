"""The network takes segments and nobody answers for them: in doubt, never resent, then settled.

16 withheld answers by default, 1,000 under `MODEMCTL_LONG=1`. A modem meets two of them: more in a
row and it is left alone for minutes, which is another test's story.
"""

import os
from collections import defaultdict

import pytest

from simulator.faults import Fault, FaultKind
from tests.support.approved import numbers
from tests.support.banks import DaemonProcess, Site, taken
from tests.support.simulated import BankProcess

LONG = os.environ.get("MODEMCTL_LONG") == "1"
N_WITHHELD = 1_000 if LONG else 16
PER_MODEM = 2
N_MODEMS = N_WITHHELD // PER_MODEM
REPORT_DELAY = 30 if LONG else 5
WORLD = f"""
seed = 5
persona = "generic"
latency = 0.02
report_delay = {REPORT_DELAY}
modems = {N_MODEMS}
"""


@pytest.mark.timeout(1_200)
def test_what_nobody_answers_for_is_in_doubt_and_settled_by_its_report(tmp_path):
    (tmp_path / "world.toml").write_text(WORLD)
    recipients = numbers(2 * N_WITHHELD, start=1_000_000)
    with BankProcess(tmp_path / "bank", "--scenario", str(tmp_path / "world.toml")) as bank:
        lost = Fault(kind=FaultKind.LOST_ANSWER, count=PER_MODEM)
        bank.control.set_fault("all", lost)
        site = Site(
            tmp_path / "site",
            str(tmp_path / "bank" / "ports" / "*"),
            bank__submit_timeout="2.0",
            bank__start_parallel="64",
        )
        site.add_cards(tmp_path / "bank")
        site.add_batch(recipients, template="No {n}")
        with DaemonProcess(site) as daemon:
            daemon.wait_until(
                lambda: site.segments() == {"delivered": len(recipients)},
                what="all settled",
                seconds=900 if LONG else 300,
            )
            # Doubts hold a batch open; once the last one is settled it is done by itself.
            daemon.wait_until(
                lambda: site.query("SELECT DISTINCT state FROM batch") == [("done",)], what="done"
            )
    struck = [line for line in bank.ledger(kind="fault") if line["fault"] == "lost_answer"]
    assert len(struck) == N_WITHHELD
    assert sum(taken(bank).values()) == len(recipients), "nothing was sent again"
    assert set(taken(bank).values()) == {1}
    stories: dict[int, list[str]] = defaultdict(list)
    for segment_id, after in site.query(
        "SELECT segment_id, after FROM segment_journal ORDER BY entry_id"
    ):
        stories[segment_id].append(after)
    assert all(story.count("submitting") == 1 for story in stories.values())
    doubted = [story for story in stories.values() if "in_doubt" in story]
    assert len(doubted) >= N_WITHHELD, "a busy machine may add some"
    for story in doubted:  # after a doubt comes its report, at most the modem's late answer before
        assert story[story.index("in_doubt") :] in (
            ["in_doubt", "delivered"],
            ["in_doubt", "sent", "delivered"],
        )
