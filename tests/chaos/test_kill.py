"""`kill -9` in the middle of a batch, judged by the simulated network's own ledger (design §13)."""

import os
import random
import time
from collections import Counter

import pytest

from tests.support.approved import numbers
from tests.support.banks import DaemonProcess, Site
from tests.support.simulated import BankProcess

LONG = os.environ.get("MODEMCTL_LONG") == "1"
N_KILLS = 20 if LONG else 3
N_AIMED = 10 if LONG else 2  # right after the network took one: Ctrl-Z is out, no result stored
N_MODEMS = 16
LATENCY = 0.5
SEED = int(os.environ.get("MODEMCTL_SEED", "20261122"))


@pytest.mark.timeout(600)
def test_a_kill_at_any_instant_loses_nothing_and_doubles_nothing(tmp_path):
    print(f"seed {SEED}")
    dice = random.Random(SEED)
    recipients = numbers(60 * (N_KILLS + 1))
    with BankProcess(
        tmp_path / "bank", "--modems", str(N_MODEMS), "--latency", str(LATENCY), "--seed", "3"
    ) as bank:
        site = Site(
            tmp_path / "site", str(tmp_path / "bank" / "ports" / "*"), sms__request_reports="false"
        )
        site.add_cards(tmp_path / "bank")
        site.add_batch(recipients, template="No {n}")
        judge = Judge(site, bank, recipients)
        n_hit = 0
        for turn in range(N_KILLS):
            with DaemonProcess(site) as daemon:
                judge.after_restart(daemon)
                n_before = len(bank.ledger(kind="submit"))
                daemon.wait_until(
                    lambda n=n_before: len(bank.ledger(kind="submit")) > n + 10, what="sending"
                )
                if turn < N_AIMED:
                    wait_for_growth(bank)
                else:
                    wait_for(dice.uniform(0, 2 * LATENCY))
                daemon.kill()
            n_hit += judge.after_kill()
        assert n_hit > 0, "no kill hit a segment in flight: the test would prove nothing"
        with DaemonProcess(site) as daemon:
            judge.after_restart(daemon)
            daemon.wait_until(
                lambda: not site.segments().keys() & {"queued", "leased", "submitting"},
                what="the rest",
                seconds=180,
            )
        judge.at_the_end()


def wait_for_growth(bank: BankProcess) -> None:
    """Return as soon as the ledger grows: the answer is on its way to the daemon, not stored."""
    path = bank.folder / "ledger.jsonl"
    size, deadline = path.stat().st_size, time.monotonic() + 10
    while path.stat().st_size == size:
        assert time.monotonic() < deadline, "nothing is sent"


def wait_for(seconds: float) -> None:
    """Spin until a random instant; which one it is, nobody relies on."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        pass


class Judge:
    """Compares store and ledger by recipient; each gets one segment."""

    def __init__(self, site: Site, bank: BankProcess, recipients: list[str]) -> None:
        self._site = site
        self._bank = bank
        self._recipients = {site.vault.blind_index(number): number for number in recipients}
        self._submitting: set[str] = set()
        self._doubted: set[str] = set()

    def after_kill(self) -> int:
        """Note what was SUBMITTING at the kill; how many that were."""
        self._submitting = self._in_state("submitting")
        return len(self._submitting)

    def after_restart(self, daemon: DaemonProcess) -> None:
        """What was SUBMITTING is in doubt, and nothing else has become so."""
        daemon.wait_recovered()
        doubted = self._ever_doubted()
        assert doubted - self._doubted == self._submitting
        self._doubted = doubted

    def at_the_end(self) -> None:
        """The ledger's verdict over the whole batch."""
        took = Counter(str(line["destination"]) for line in self._bank.ledger(kind="submit"))
        sent, doubtful = self._in_state("sent"), self._in_state("in_doubt")
        everybody = set(self._recipients.values())
        assert sent | doubtful == everybody, "every message ends in one of the two"
        assert doubtful <= self._ever_doubted()
        assert max(took.values()) == 1, "nothing is doubled, in doubt or not"
        missing = everybody - took.keys()
        assert missing <= doubtful, "what is said to be sent was taken"
        assert took.keys() - sent <= doubtful, "what was taken without a stored result is in doubt"

    def _in_state(self, state: str) -> set[str]:
        rows = self._site.query(
            "SELECT recipient_bidx FROM segment JOIN message USING (message_id) WHERE state = ?",
            state,
        )
        return {self._recipients[row[0]] for row in rows}

    def _ever_doubted(self) -> set[str]:
        rows = self._site.query(
            "SELECT recipient_bidx FROM segment_journal JOIN segment USING (segment_id)"
            " JOIN message USING (message_id) WHERE after = 'in_doubt'"
        )
        return {self._recipients[row[0]] for row in rows}
