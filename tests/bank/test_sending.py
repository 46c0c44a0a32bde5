"""The daemon as users run it, on a simulated bank: the network's ledger judges the store."""

import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support.approved import numbers
from tests.support.banks import DaemonProcess, Site, taken
from tests.support.simulated import BankProcess

LONG_TEXT = "Ihre Bestellung ist unterwegs; " * 8
CHINESE = "您好，您的账单已出，请及时查看。祝您生活愉快！🙂"


def is_over(site: Site) -> bool:
    """Whether nothing waits or is on its way."""
    return not site.segments().keys() & {"queued", "leased", "submitting"}


@pytest.fixture
def world(tmp_path):
    """A bank and a site on it; `open(n, **settings)` starts them."""
    opened: list[BankProcess] = []

    def open_world(n: int, *flags: str, **settings: str) -> tuple[BankProcess, Site]:
        bank = BankProcess(tmp_path / "bank", "--modems", str(n), "--seed", "7", *flags)
        bank.__enter__()
        opened.append(bank)
        site = Site(tmp_path / "site", str(tmp_path / "bank" / "ports" / "*"), **settings)
        site.add_cards(tmp_path / "bank")
        return bank, site

    yield open_world
    for bank in opened:
        bank.__exit__(None, None, None)


def test_an_approved_batch_leaves_whole_once_and_comes_back_delivered(world):
    bank, site = world(4)
    site.add_batch(numbers(30), template="Hello {n}")
    site.add_batch(numbers(10, start=100), template=CHINESE)
    site.add_batch(numbers(10, start=200), template=LONG_TEXT)
    with DaemonProcess(site) as daemon:
        daemon.wait_until(
            lambda: site.segments() == {"delivered": 60}, what="all delivered", seconds=90
        )
        daemon.wait_until(
            lambda: site.query("SELECT DISTINCT state FROM batch") == [("done",)], what="done"
        )
    lines = bank.ledger(kind="submit")
    assert len(lines) == 60
    assert max(taken(bank).values()) == 1
    texts = Counter(str(line["text"]) for line in lines if line["concat"] is None)
    assert texts == {**{f"Hello {i}": 1 for i in range(1, 31)}, CHINESE: 10}
    stored = site.query("SELECT iccid, mr FROM segment")
    assert Counter(stored) == Counter((line["iccid"], line["mr"]) for line in lines)
    assert len({line["modem"] for line in lines}) == 4, "all modems worked"


def test_segments_of_a_message_leave_in_order_by_one_card(world):
    bank, site = world(3)
    site.add_batch(numbers(12), template=LONG_TEXT)
    with DaemonProcess(site) as daemon:
        daemon.wait_until(lambda: is_over(site), what="sent")
    by_recipient: dict[str, list] = {}
    for line in bank.ledger(kind="submit"):
        by_recipient.setdefault(str(line["destination"]), []).append(line)
    assert len(by_recipient) == 12
    for lines in by_recipient.values():
        assert len({line["iccid"] for line in lines}) == 1
        assert [line["concat"]["seq"] for line in lines] == [1, 2]
        assert len({line["concat"]["ref"] for line in lines}) == 1


def test_the_gap_between_two_segments_of_a_card_is_kept(world):
    bank, site = world(2, limits__minimum_gap="0.25")
    site.add_batch(numbers(16))
    with DaemonProcess(site) as daemon:
        daemon.wait_until(lambda: is_over(site), what="sent")
    by_modem: dict[str, list[datetime]] = {}
    for line in bank.ledger(kind="submit"):
        at = datetime.fromisoformat(str(line["time"]))
        by_modem.setdefault(str(line["modem"]), []).append(at)
    # The rule counts from clearance to clearance; the prompt in between may be faster or slower.
    gaps = [(b - a).total_seconds() for times in by_modem.values() for a, b in pairwise(times)]
    assert len(gaps) == 14
    assert sum(gaps) / len(gaps) >= 0.25
    assert min(gaps) > 0.15


def test_a_limit_per_minute_stops_a_card_until_there_is_room(world):
    bank, site = world(2, limits__segments_per_minute="5")
    site.add_batch(numbers(30))
    with DaemonProcess(site) as daemon:
        daemon.wait_until(lambda: sum(taken(bank).values()) >= 10, what="both cards' limits used")
        daemon.wait_until(lambda: site.segments()["submitting"] == 0, what="nothing in flight")
    assert sum(taken(bank).values()) == 10
    assert set(Counter(line["modem"] for line in bank.ledger(kind="submit")).values()) == {5}


def test_a_network_refusal_is_tried_again_and_arrives_once(world):
    bank, site = world(1)
    bank.control.request(
        "set_fault", {"modem": "modem01", "fault": "cms_error", "code": 41, "count": 1}
    )
    site.add_batch(numbers(3))
    with DaemonProcess(site) as daemon:
        daemon.wait_until(lambda: is_over(site), what="sent", seconds=90)
    assert sorted(taken(bank).values()) == [1, 1, 1]
    assert site.query("SELECT max(tries) FROM segment") == [(2,)]


def test_a_lost_answer_is_doubt_that_only_the_report_settles(world):
    bank, site = world(1, bank__submit_timeout="3.0")
    bank.control.request("set_fault", {"modem": "modem01", "fault": "lost_answer", "count": 1})
    site.add_batch(numbers(4))
    with DaemonProcess(site) as daemon:
        daemon.wait_until(
            lambda: site.segments() == {"delivered": 4}, what="all delivered", seconds=90
        )
    assert sorted(taken(bank).values()) == [1, 1, 1, 1], "nothing was sent again"
    moved = site.query("SELECT count(*) FROM segment_journal WHERE after = 'in_doubt'")
    assert moved == [(1,)]


def test_a_late_answer_settles_its_own_segment(world):
    bank, site = world(1, bank__submit_timeout="2.0", sms__request_reports="false")
    bank.control.request(
        "set_fault", {"modem": "modem01", "fault": "late_answer", "seconds": 3, "count": 1}
    )
    site.add_batch(numbers(3))
    with DaemonProcess(site) as daemon:
        daemon.wait_until(lambda: site.segments() == {"sent": 3}, what="all sent", seconds=90)
    stored = Counter(site.query("SELECT mr FROM segment"))
    assert stored == Counter((line["mr"],) for line in bank.ledger(kind="submit"))
    assert sorted(taken(bank).values()) == [1, 1, 1]


def test_an_unplugged_modem_takes_nobody_with_it(world):
    bank, site = world(3, "--latency", "0.2")
    site.add_batch(numbers(60))
    with DaemonProcess(site) as daemon:
        daemon.wait_until(lambda: sum(taken(bank).values()) > 9, what="sending began")
        bank.control.request("unplug", {"modem": "modem02"})
        daemon.wait_until(lambda: site.modems()["modem02"][0] == "absent", what="absent")
        daemon.wait_until(lambda: is_over(site), what="sent", seconds=90)
        bank.control.request("plug", {"modem": "modem02"})
        daemon.wait_until(lambda: site.modems()["modem02"][0] == "ready", what="ready again")
    assert max(taken(bank).values()) == 1
    n_doubts = site.segments()["in_doubt"]
    assert len(taken(bank)) >= 60 - n_doubts
    assert n_doubts <= 1


def test_a_planned_stop_leaves_nothing_in_doubt(world):
    bank, site = world(4, "--latency", "0.5", sms__request_reports="false")
    site.add_batch(numbers(60))
    with DaemonProcess(site) as daemon:
        daemon.wait_until(lambda: sum(taken(bank).values()) > 6, what="sending began")
    assert set(site.segments()) == {"sent", "queued"}
    assert site.segments()["sent"] == len(bank.ledger(kind="submit")) < 60
    with DaemonProcess(site) as daemon:
        daemon.wait_until(lambda: site.segments() == {"sent": 60}, what="the rest", seconds=90)
    assert sorted(taken(bank).values()) == [1] * 60


@contextmanager
def held(port: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another program that holds a port until its input ends."""
    program = (
        "import serial, sys; held = serial.Serial(sys.argv[1], exclusive=True);"
        "print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout.readline() == b"held\n"
        yield holder


def test_a_missing_and_a_held_port_are_told_and_the_daemon_runs(world, tmp_path):
    _, site = world(2)
    ports = tmp_path / "bank" / "ports"
    text = site.config.read_text().replace(f'["{ports}/*"]', f'["{ports}/*", "/dev/ttyNONE7"]')
    site.config.write_text(text)
    site.add_batch(numbers(4))
    with held(ports / "modem01") as holder, DaemonProcess(site) as daemon:
        daemon.wait_until(lambda: is_over(site), what="the free modem sends")
        daemon.wait_until(lambda: len(site.modems()) == 3, what="every bay is known")
        assert site.modems()["ttyNONE7"][0] == "absent"
        state, reason = site.modems()["modem01"]
        assert state == "absent"
        assert f"{holder.pid} python" in reason
        holder.stdin.close()
        holder.wait(60)
        daemon.wait_until(lambda: site.modems()["modem01"][0] == "ready", what="free at last")


def test_an_unregistered_card_is_quarantined_and_gets_no_pin(tmp_path):
    with BankProcess(tmp_path / "bank", "--modems", "1", "--pin-lock", "on") as bank:
        site = Site(tmp_path / "site", str(tmp_path / "bank" / "ports" / "*"))
        with DaemonProcess(site) as daemon:
            daemon.wait_until(
                lambda: site.modems().get("modem01", ("",))[0] == "quarantined", what="quarantined"
            )
        assert "SIM-01" in site.modems()["modem01"][1]
        assert bank.control.state("modem01")[0]["card"]["pin_tries"] == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_daemon_in_order(world, number):
    _, site = world(1)
    with DaemonProcess(site) as daemon:
        daemon.wait_until(lambda: site.n_ready() == 1, what="ready")
        daemon.send(number)
        assert daemon.wait() == 0
    assert "Traceback" not in daemon.log.read_text()
    noted = json.loads(site.database.with_name("audit.head").read_text())
    ((seq,),) = site.query("SELECT max(seq) FROM audit_entry")
    assert [one["seq"] for one in noted.values()] == [seq]


def test_what_cannot_start_says_so_in_one_line(tmp_path):
    site = Site(tmp_path / "site", "/dev/null*")
    Path(site.folder / "keys" / "master.key").write_bytes(b"")
    done = subprocess.run(
        [sys.executable, "-m", "modemctl", "run", "-c", str(site.config)],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 78
    assert len(done.stderr.strip().splitlines()) == 1
    assert "master.key" in done.stderr
