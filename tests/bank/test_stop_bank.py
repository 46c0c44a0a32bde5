"""A stop in full flight: the network's ledger says when the last payload began, and counts."""

import base64
import csv
import json
import os
import secrets
import subprocess
import sys
import threading
from collections import Counter
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta

import httpx2
import pytest

from modemctl.store import accounts
from tests.support.approved import numbers
from tests.support.banks import DaemonProcess, Site
from tests.support.simulated import BankProcess

LATENCY = 1.5
SECOND = timedelta(seconds=1)


class Person:
    """Somebody with a key, who asks over the daemon's socket."""

    def __init__(self, site: Site, name: str, *roles: str) -> None:
        self.name = name
        self.token = site.write(lambda tx: issue(tx, name, roles))
        self.key_file = site.folder / f"{name}.key"
        self.key_file.write_text(self.token)
        self.key_file.chmod(0o600)
        self.socket = site.socket

    def ask(self, method: str, path: str, body: object = None) -> httpx2.Response:
        transport = httpx2.HTTPTransport(uds=str(self.socket))
        headers = {"Authorization": f"Bearer {self.token}"}
        with httpx2.Client(
            transport=transport, base_url="http://modemctl", headers=headers, timeout=30
        ) as client:
            answer = client.request(method, path, json=body)
        assert answer.is_success, answer.text
        return answer

    def type(self, *words: str, status: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "modemctl", "--socket", str(self.socket),
             "--key-file", str(self.key_file), *words],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == status, done.stderr
        return done.stdout


def base32(n_octets):
    return base64.b32encode(secrets.token_bytes(n_octets)).decode().rstrip("=").lower()


def issue(tx, name, roles):
    account = accounts.add_account(
        tx, name=name, kind=accounts.AccountKind.PERSON, department=None, roles=roles
    )
    key_id, secret = (base32(n) for n in (10, 32))
    token = f"mk_{key_id}_{secret}"
    accounts.add_key(
        tx, key_id=key_id, account_id=account.account_id, token_hash=tx.vault.token_hash(token),
        expires_at=tx.now + timedelta(days=9),
    )  # fmt: skip
    return token


@pytest.fixture
def world(tmp_path, request):
    """Modems that take their time, and two persons who may stop."""
    flags = (
        "--modems",
        str(request.param),
        "--seed",
        "7",
        "--latency",
        str(LATENCY),
        "--pin-lock",
        "off",
    )
    with BankProcess(tmp_path / "bank", *flags) as bank:
        site = Site(
            tmp_path / "site", str(tmp_path / "bank" / "ports" / "*"), sms__request_reports="false"
        )
        site.add_cards(tmp_path / "bank")
        yield bank, site, [Person(site, name, "operator") for name in ("anna", "bert")]


@contextmanager
def busy(site, person):
    """Others write all the time, while the block lasts."""
    is_over = threading.Event()

    def write(start):
        n = start
        while not is_over.is_set():
            n += 1
            person.ask("POST", "/v1/opt-outs", {"number": f"137{n:08d}"})

    threads = [threading.Thread(target=write, args=(i * 1_000_000,)) for i in range(6)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


def begun(bank):
    """When each payload began to leave, by the network's clock."""
    return [
        datetime.fromisoformat(str(line["time"])) - timedelta(seconds=LATENCY)
        for line in bank.ledger(kind="submit")
    ]


def rows_of(person, stop_id):
    text = person.ask("GET", f"/v1/stops/{stop_id}/reach.csv").text
    return list(csv.DictReader(text.lstrip("\ufeff").splitlines()))


LONG = pytest.mark.skipif("MODEMCTL_LONG" not in os.environ, reason="./run check --long")


@pytest.mark.parametrize("world", [16], indirect=True)
@pytest.mark.parametrize(
    "is_busy",
    [pytest.param(False, id="calm", marks=LONG), pytest.param(True, id="busy store")],
)
def test_a_stop_of_the_fleet_in_full_flight_among_ten_thousands_that_wait(world, is_busy):
    bank, site, (anna, bert) = world
    site.add_batch(numbers(12_000))
    with DaemonProcess(site) as daemon:
        daemon.wait_until(lambda: len(bank.ledger(kind="submit")) > 32, what="full flight")
        with busy(site, bert) if is_busy else nullcontext():
            asked_at = datetime.now(UTC)
            body = {"kind": "fleet", "reason": "wrong text"}
            placed = anna.ask("POST", "/v1/stops", body).json()
            answered_at = datetime.now(UTC)
            daemon.wait_until(lambda: site.segments()["submitting"] == 0, what="all landed")
        print(f"answered in {(answered_at - asked_at).total_seconds():.3f} s")
        assert is_busy or answered_at - asked_at < SECOND
        late = [at for at in begun(bank) if at > answered_at + SECOND]
        assert late == []
        n_after = sum(at > answered_at for at in begun(bank))
        print(f"{n_after} payloads began after the answer")
        taken = len(bank.ledger(kind="submit"))
        daemon.wait_until(lambda: site.segments()["leased"] == 0, what="given back")
        seen = anna.ask("GET", f"/v1/stops/{placed['stop_id']}").json()
        assert seen["sent"] + seen["in_flight"] + seen["unsent"] == 12_000
        assert seen["in_flight"] >= 8, "it was in full flight"
        assert sum(seen["outcomes"].values()) == seen["in_flight"]
        assert seen["sent"] + seen["outcomes"].get("sent", 0) == taken
        reached = Counter(
            row["to"]
            for row in rows_of(anna, placed["stop_id"])
            if row["part"] == "sent" or (row["part"], row["state now"]) == ("in_flight", "sent")
        )
        ledger = Counter(str(line["destination"]) for line in bank.ledger(kind="submit"))
        assert {to.lstrip("'"): n for to, n in reached.items()} == ledger
        assert "STOPPED: fleet" in anna.type("status")
        anna.type("resume", "fleet", "--reason", "never mind", status=1)
        assert len(bank.ledger(kind="submit")) == taken
        bert.type("resume", "fleet", "--reason", "settled")
        daemon.wait_until(lambda: len(bank.ledger(kind="submit")) > taken, what="it goes on")
        again = anna.ask("GET", f"/v1/stops/{placed['stop_id']}").json()
        parts = ("sent", "in_flight", "unsent")
        assert [again[part] for part in parts] == [seen[part] for part in parts]


@pytest.mark.parametrize("world", [3], indirect=True)
def test_a_stopped_card_sends_nothing_more_and_the_others_go_on(world):
    bank, site, (anna, _) = world
    site.add_batch(numbers(200))
    with DaemonProcess(site) as daemon:
        daemon.wait_until(lambda: len(bank.ledger(kind="submit")) > 3, what="full flight")
        card = str(bank.ledger(kind="submit")[0]["iccid"])
        shown = json.loads(anna.type("stop", "card", card, "--reason", "lost", "--json"))
        answered_at = datetime.now(UTC)
        taken = len(bank.ledger(kind="submit"))
        daemon.wait_until(
            lambda: len(bank.ledger(kind="submit")) > taken + 6, what="the others go on"
        )
        mine = bank.ledger(kind="submit", iccid=card)
        ends = [datetime.fromisoformat(str(line["time"])) for line in mine]
        assert max(ends) - timedelta(seconds=LATENCY) <= answered_at + SECOND
        seen = anna.ask("GET", f"/v1/stops/{shown['stop']['stop_id']}").json()
        assert seen["sent"] + seen["outcomes"].get("sent", 0) == len(mine)
