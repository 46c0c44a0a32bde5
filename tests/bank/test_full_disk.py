"""The disk takes nothing more, under the running daemon: it stops leasing, waits, and goes on.

The limit of a file's size is the kernel's own: what is written behind it fails, in the database,
its log and the daemon's, until the limit is taken back.
"""

import resource
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2

from tests.support.approved import numbers
from tests.support.banks import DaemonProcess, Site, taken
from tests.support.simulated import BankProcess, within

N_SEGMENTS = 60
N_MODEMS = 2


@contextmanager
def full_disk(pid: int) -> Iterator[None]:
    """No file of a process grows beyond its first page."""
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


def is_refused(http: httpx2.Client) -> bool:
    """Whether the daemon says that it cannot write."""
    answer = http.get("/readyz")
    wrong = [check["name"] for check in answer.json()["checks"] if not check["is_good"]]
    assert (answer.status_code == 503) == bool(wrong)
    return "store_write" in wrong


def n_errors(http: httpx2.Client) -> float:
    """Transactions that failed so far."""
    lines = http.get("/metrics").text.splitlines()
    return sum(
        float(line.split()[-1])
        for line in lines
        if line.startswith("modemctl_storage_errors_total{")
    )


def test_a_full_disk_stops_the_sending_and_loses_nothing(tmp_path):
    flags = ("--modems", str(N_MODEMS), "--seed", "5", "--latency", "0.2", "--persona", "generic")
    with BankProcess(tmp_path / "bank", *flags) as bank:
        site = Site(tmp_path / "site", str(tmp_path / "bank" / "ports" / "*"))
        site.add_cards(tmp_path / "bank")
        site.add_batch(numbers(N_SEGMENTS, start=1_000_000), template="No {n}")
        number = str(within(bank.control.state("modem01")[0], "card", "number"))
        way = httpx2.HTTPTransport(uds=str(site.socket))
        with (
            DaemonProcess(site) as daemon,
            httpx2.Client(transport=way, base_url="http://modemctl", timeout=30) as http,
        ):
            daemon.wait_until(lambda: len(bank.ledger(kind="submit")) >= 6, what="sending")
            with full_disk(daemon.pid):
                daemon.wait_until(lambda: is_refused(http), what="503")
                assert n_errors(http) > 0
                # What was cleared before may still leave, one segment a card; nothing after it.
                n_left = len(bank.ledger(kind="submit"))
                bank.control.inject_sms(number, "while full", origin="+8613912345678")
                n_before = n_errors(http)

                def has_failed_on() -> bool:
                    assert is_refused(http), "it says so all the time"
                    return n_errors(http) >= n_before + 10

                daemon.wait_until(has_failed_on, what="many a failure")
                assert len(bank.ledger(kind="submit")) <= n_left + 2
                assert is_kept(bank), "what could not be stored stays in the modem"
            daemon.wait_until(lambda: not is_refused(http), what="ready again")
            daemon.wait_until(lambda: is_sent(site), what="all of it sent")
            daemon.wait_until(
                lambda: site.query("SELECT count(*) FROM inbox") == [(1,)], what="stored"
            )
            daemon.wait_until(lambda: not is_kept(bank), what="deleted once it is stored")
    assert set(taken(bank).values()) == {1}
    assert len(taken(bank)) == site.segments()["delivered"]
    doubts = site.query("SELECT count(*) FROM segment_journal WHERE after = 'in_doubt'")
    assert doubts == [(0,)], "an outcome that could not be stored was kept until it could"


def is_sent(site: Site) -> bool:
    """Whether all is delivered, also what a card could not give back at first."""
    return site.segments().keys() == {"delivered"}


def is_kept(bank: BankProcess) -> bool:
    """Whether the message lies in the modem, on its card or in the network."""
    state = bank.control.state("modem01")[0]
    card = state["card"]
    assert isinstance(card, dict)
    return bool(card["stored"] or state["me_used"] or card["waiting"])
