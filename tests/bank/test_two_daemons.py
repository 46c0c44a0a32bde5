"""Two daemons share one queue on PostgreSQL: one is killed, one cut off, all is sent once."""

import csv
import os
from pathlib import Path

import pytest

from tests.support import postgres
from tests.support.approved import GENERAL, add_cards, numbers
from tests.support.banks import DaemonProcess, taken
from tests.support.commands import call
from tests.support.server_sites import OtherNode, ServerSite, wire
from tests.support.simulated import BankProcess

LONG = os.environ.get("MODEMCTL_LONG") == "1"
N_MESSAGES, N_ALLOWED = (900, 700) if LONG else (120, 90)
N_MODEMS = 2
CUT_FOR = 60 if LONG else 5  # turns of a sweeper that meets no database, one a second


@pytest.fixture
def cluster() -> postgres.Cluster:
    return postgres.cluster()


def register(site: ServerSite, bank: Path) -> None:
    """The cards of another bank, in the same department."""
    with (bank / "cards.csv").open() as lines:
        for card in csv.DictReader(lines):
            one, pin = [card["iccid"]], card["pin"] or None
            site.write(lambda tx, one=one, pin=pin: add_cards(tx, one, department=GENERAL, pin=pin))


def n_taken(bank: BankProcess) -> int:
    return len(bank.ledger(kind="submit"))


def in_flight(site: ServerSite, node: str) -> set[int]:
    """Segments whose submit may have left by this node, as rows say."""
    found = site.query(
        "SELECT segment_id FROM segment WHERE state = 'submitting' AND node_id = ?", node
    )
    return {row[0] for row in found}


def doubted(site: ServerSite) -> set[int]:
    found = site.query("SELECT segment_id FROM segment_journal WHERE after = 'in_doubt'")
    return {row[0] for row in found}


@pytest.mark.timeout(900)
def test_two_daemons_one_killed_and_one_cut_off_send_all_once_within_the_limits(tmp_path, cluster):
    name = cluster.create()
    flags = ("--modems", str(N_MODEMS), "--latency", "0.3", "--persona", "generic")
    folders = [tmp_path / "bank-1", tmp_path / "bank-2"]
    with (
        wire(cluster.url(name)) as line,
        BankProcess(folders[0], *flags, "--seed", "5") as bank,
        BankProcess(folders[1], *flags, "--seed", "6") as other_bank,
    ):
        one = ServerSite(
            tmp_path / "one",
            str(folders[0] / "ports" / "*"),
            cluster=cluster,
            through=None,
            name=name,
            limits__department__segments_per_day=str(N_ALLOWED),
            sms__request_reports="false",
        )
        one.add_cards(folders[0])
        register(one, folders[1])
        one.add_batch(numbers(N_MESSAGES, start=1_000_000), template="No {n}")
        two = OtherNode(one, tmp_path / "two", str(folders[1] / "ports" / "*"), line)
        with DaemonProcess(two) as second:
            with DaemonProcess(one) as first:
                first.wait_until(lambda: n_taken(bank) >= 8, what="the first sends")
                second.wait_until(lambda: n_taken(other_bank) >= 8, what="the second sends")
                first.wait_until(lambda: in_flight(one, "n1"), what="a submit")
                first.kill()
                lost = in_flight(one, "n1")
            line.cut()
            n_failures = second.log.read_text().count("sweeper.store_failed")
            n_left = n_taken(other_bank)

            def is_long_away() -> bool:
                n = second.log.read_text().count("sweeper.store_failed")
                return n >= n_failures + CUT_FOR

            second.wait_until(is_long_away, what="a time without a database", seconds=300)
            assert n_taken(other_bank) <= n_left + N_MODEMS, "who is cut off submits no more"
            line.join()
            if LONG:
                second.wait_until(
                    lambda: "node.lost" in second.log.read_text(), what="its end seen", seconds=300
                )
                wait_for_rest(one, second)
            else:
                with DaemonProcess(one) as first:
                    wait_for_rest(one, first)
        for node, site in (("n1", one), ("n2", two)):
            done = call("-c", site.config, "audit", "verify", "--offline")
            assert f"{node}: whole" in done.out, done  # another node's chain is verified over there
    ledgers = taken(bank) + taken(other_bank)
    print(one.segments(), len(ledgers), lost)
    assert set(ledgers.values()) == {1}, "nothing is doubled"
    assert doubted(one) == lost, "doubt only on the lost node, and about what was in flight there"
    states = one.segments()
    assert states["sent"] + states["in_doubt"] == N_ALLOWED, "the limit holds over both"
    assert states["sent"] <= len(ledgers) <= N_ALLOWED


def wait_for_rest(site: ServerSite, daemon: DaemonProcess) -> None:
    """Until all that the limit allows has left or is in doubt."""

    def is_done() -> bool:
        states = site.segments()
        return states["sent"] + states["in_doubt"] == N_ALLOWED and not states["submitting"]

    daemon.wait_until(is_done, what="the rest", seconds=400)
