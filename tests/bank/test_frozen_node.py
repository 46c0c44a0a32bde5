"""A node of two is stopped in mid-batch, as by a hypervisor, and let go: nothing is sent twice."""

import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.bank.test_two_daemons import doubted, in_flight, n_taken, register
from tests.support import postgres
from tests.support.approved import numbers
from tests.support.banks import DaemonProcess, taken
from tests.support.server_sites import OtherNode, ServerSite
from tests.support.simulated import BankProcess

LONG = os.environ.get("MODEMCTL_LONG") == "1"
N_MESSAGES = 900 if LONG else 60
N_FREEZES = 8 if LONG else 3
MEANWHILE = 6  # sent by the other node
Node: TypeAlias = tuple[ServerSite, BankProcess]


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[tuple[Node, Node]]:
    """Two servers of a site with a batch, and the banks that are theirs."""
    cluster = postgres.cluster()
    flags = ("--modems", "2", "--latency", "0.3", "--persona", "generic")
    folders = [tmp_path / "bank-1", tmp_path / "bank-2"]
    with (
        BankProcess(folders[0], *flags, "--seed", "5") as bank,
        BankProcess(folders[1], *flags, "--seed", "6") as other_bank,
    ):
        one = ServerSite(
            tmp_path / "one",
            str(folders[0] / "ports" / "*"),
            cluster=cluster,
            through=None,
            name=cluster.create(),
            sms__request_reports="false",
        )
        one.add_cards(folders[0])
        register(one, folders[1])
        one.add_batch(numbers(N_MESSAGES, start=1_000_000), template="No {n}")
        two = OtherNode(one, tmp_path / "two", str(folders[1] / "ports" / "*"), None)
        yield (one, bank), (two, other_bank)


@pytest.mark.timeout(900)
def test_a_node_that_freezes_and_thaws_again_and_again_sends_nothing_twice(nodes):
    (one, bank), (two, other_bank) = nodes
    were_in_flight: set[int] = set()
    with DaemonProcess(two) as second, DaemonProcess(one) as first:
        first.wait_until(lambda: n_taken(bank) >= 4, what="the first sends")
        for _ in range(N_FREEZES):
            first.wait_until(lambda: in_flight(one, "n1"), what="a submit")
            with frozen(first):
                were_in_flight |= in_flight(one, "n1")
                enough = min(n_taken(other_bank) + MEANWHILE, N_MESSAGES)
                second.wait_until(
                    lambda enough=enough: n_taken(other_bank) >= enough, what="others' sends"
                )
        second.wait_until(lambda: is_done(one), what="the rest", seconds=400)
    judge(one, taken(bank) + taken(other_bank), were_in_flight)


@pytest.mark.skipif(not LONG, reason="a node is lost after 90 s: ./run check --long")
@pytest.mark.timeout(900)
def test_a_node_that_thaws_after_it_was_declared_lost_submits_nothing_and_ends(nodes):
    (one, bank), (two, other_bank) = nodes
    with DaemonProcess(two) as second, DaemonProcess(one) as first:
        first.wait_until(lambda: n_taken(bank) >= 4, what="the first sends")
        first.wait_until(lambda: in_flight(one, "n1"), what="a submit")
        with frozen(first):
            were_in_flight = in_flight(one, "n1")
            second.wait_until(
                lambda: "node.lost" in second.log.read_text(), what="its end seen", seconds=200
            )
            second.wait_until(lambda: is_done(one), what="the rest", seconds=400)
            n_before = n_taken(bank)
        assert first.wait(60) not in {0, -signal.SIGKILL}
        first.good_ends.add(first.wait())
        assert "declared lost" in first.log.read_text()
        assert n_taken(bank) == n_before
    judge(one, taken(bank) + taken(other_bank), were_in_flight)


@contextmanager
def frozen(daemon: DaemonProcess) -> Iterator[None]:
    """It does nothing and does not know it, as where its machine is halted."""
    daemon.send(signal.SIGSTOP)
    try:
        yield
    finally:
        daemon.send(signal.SIGCONT)


def judge(site: ServerSite, ledgers: Counter[str], were_in_flight: set[int]) -> None:
    """All was sent once; doubt only about what was in flight as a node froze."""
    states = site.segments()
    print(states, len(ledgers), were_in_flight)
    assert set(ledgers.values()) == {1}, "nothing is doubled"
    assert doubted(site) <= were_in_flight
    assert states["sent"] + states["in_doubt"] == N_MESSAGES
    assert states["sent"] <= len(ledgers) <= N_MESSAGES


def is_done(site: ServerSite) -> bool:
    states = site.segments()
    return states["sent"] + states["in_doubt"] == sum(states.values())
