"""The real daemon on a real PostgreSQL: it sends, and outlives the server's absence."""

import httpx2
import pytest

from tests.support import postgres
from tests.support.approved import numbers
from tests.support.banks import DaemonProcess, accepts, taken
from tests.support.commands import call
from tests.support.server_sites import ServerSite, wire
from tests.support.simulated import BankProcess, within

N_SEGMENTS = 60
N_MODEMS = 2
CHECKS = {"store_read", "store_write"}


@pytest.fixture
def cluster() -> postgres.Cluster:
    return postgres.cluster()


def why_not(http: httpx2.Client) -> dict[str, str]:
    """What keeps the daemon from its work, by the name of the check."""
    answer = http.get("/readyz")
    assert "checks" in answer.json(), answer.text
    wrong = {one["name"]: one["detail"] for one in answer.json()["checks"] if not one["is_good"]}
    assert (answer.status_code == 503) == bool(wrong)
    return wrong


@pytest.mark.timeout(300)
def test_a_daemon_whose_postgresql_goes_in_mid_batch_sends_all_once(tmp_path, cluster):
    """And ends where another one has written under its name while it was cut off."""
    name = cluster.create()
    flags = ("--modems", str(N_MODEMS), "--seed", "5", "--latency", "0.2", "--persona", "generic")
    with wire(cluster.url(name)) as line, BankProcess(tmp_path / "bank", *flags) as bank:
        ports = str(tmp_path / "bank" / "ports" / "*")
        site = ServerSite(tmp_path / "site", ports, cluster=cluster, through=line, name=name)
        site.add_cards(tmp_path / "bank")
        site.add_batch(numbers(N_SEGMENTS, start=1_000_000), template="No {n}")
        number = str(within(bank.control.state("modem01")[0], "card", "number"))
        way = httpx2.HTTPTransport(uds=str(site.socket))
        line.cut()
        with (
            DaemonProcess(site) as daemon,
            httpx2.Client(transport=way, base_url="http://modemctl", timeout=60) as http,
        ):
            daemon.wait_until(lambda: accepts(site.socket), what="the reason of the wait")
            assert "cannot be reached now" in why_not(http)["store_write"]
            assert http.get("/v1/batches").status_code == 503
            assert http.get("/healthz").status_code == 200
            told = call("--socket", str(site.socket), "status")
            assert told.status == 1, told
            assert "store_write: WRONG: " in told.out, "the checks are told all the same"
            assert "what else there is cannot be told now: " in told.out
            line.join()
            daemon.wait_until(lambda: len(bank.ledger(kind="submit")) >= 6, what="sending")
            line.cut()
            daemon.wait_until(lambda: why_not(http).keys() >= CHECKS, what="503")
            # What was cleared before may still leave, one segment a card; nothing after it.
            n_left = len(bank.ledger(kind="submit"))
            bank.control.inject_sms(number, "while away", origin="+8613912345678")
            n_before = n_failures(daemon)
            daemon.wait_until(lambda: n_failures(daemon) >= n_before + 5, what="many a failure")
            assert why_not(http).keys() >= CHECKS, "it says so all the time"
            assert len(bank.ledger(kind="submit")) <= n_left + N_MODEMS
            assert site.query("SELECT count(*) FROM inbox") == [(0,)]
            line.join()
            daemon.wait_until(lambda: why_not(http) == {}, what="ready again")
            daemon.wait_until(lambda: is_sent(site), what="all of it sent")
            daemon.wait_until(
                lambda: site.query("SELECT count(*) FROM inbox") == [(1,)], what="stored"
            )
            line.cut()
            site.write(lambda tx: tx.audit("tester", "test", "as the same node, elsewhere", {}))
            line.join()
            daemon.good_ends = {1}
            assert daemon.wait(60) == 1
            assert "modemctl: another daemon wrote to the database as node n1" in daemon.tail(1)
        done = call("-c", site.config, "audit", "verify", "--offline")
        assert done.status == 0, done
    assert set(taken(bank).values()) == {1}
    assert len(taken(bank)) == site.segments()["delivered"]
    doubts = site.query("SELECT count(*) FROM segment_journal WHERE after = 'in_doubt'")
    assert doubts == [(0,)], "an outcome that could not be stored was kept until it could"


def n_failures(daemon: DaemonProcess) -> int:
    """How often the sweeper, who asks each second, met a database that is away."""
    return daemon.log.read_text().count("sweeper.store_failed")


def is_sent(site: ServerSite) -> bool:
    """Whether all is delivered but what a card could not give back; that comes when it lapses."""
    states = site.segments()
    return states.keys() <= {"delivered", "leased"} and states["leased"] <= N_MODEMS
