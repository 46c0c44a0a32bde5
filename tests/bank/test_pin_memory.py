"""No PIN stands in the memory of a daemon that has unlocked its cards with it."""

import csv
import re
from pathlib import Path

import pytest

from tests.support.banks import DaemonProcess, Site
from tests.support.simulated import BankProcess

N = 6
PIN = "73918264"
FLAGS = ("--modems", str(N), "--latency", "0", "--pin", PIN, "--pin-lock", "on")
_WRITABLE = re.compile(r"([0-9a-f]+)-([0-9a-f]+) rw")


def copies(pid: int, *wanted: str) -> list[int]:
    """How often each of these texts stands in the writable memory of a process."""
    counts = [0] * len(wanted)
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            found = _WRITABLE.match(line)
            if found is None:
                continue
            start, end = int(found[1], 16), int(found[2], 16)
            memory.seek(start)
            try:
                octets = memory.read(end - start)
            except OSError:
                continue  # given back since
            for at, text in enumerate(wanted):
                counts[at] += octets.count(text.encode())
    return counts


@pytest.mark.timeout(120)
def test_once_the_cards_are_open_no_pin_is_left_in_memory(tmp_path):
    """The card's ICCID shows that the scan finds what is there."""
    with BankProcess(tmp_path / "bank", *FLAGS) as bank:
        site = Site(tmp_path / "site", str(bank.folder / "ports" / "*"))
        site.add_cards(bank.folder)
        with (bank.folder / "cards.csv").open() as lines:
            iccid = next(csv.DictReader(lines))["iccid"]
        with DaemonProcess(site) as daemon:
            daemon.wait_until(lambda: site.n_ready() == N, what="all ready")
            found: list[int] = []

            def is_clean() -> bool:
                found[:] = copies(daemon.pid, PIN, iccid)
                return found[0] == 0

            daemon.wait_until(is_clean, what="no PIN in memory", seconds=60)
            assert found[1] > 0
