"""With clients: the same seed gives each modem the same events in the same order, twice."""

import os
import select
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from simulator import pdu
from simulator.ledger import Fact
from tests.support.simulated import BankProcess, wait_until

MODEMS = 6
MESSAGES = 30
SCENARIO = """
modems = 6
persona = "mixed"
pin_lock = "off"
seed = 77
latency = 0
report_delay = 0

[[rules]]
rate = 0.2
cms = 38

[[rules]]
rate = 0.3
report = "doubled"

[[rules]]
rate = 0.2
report = "lost"

[[faults]]
modems = "all"
fault = "cms_error"
rate = 0.2

[[faults]]
modems = "all"
fault = "repeated_mr"
rate = 0.3

[[faults]]
modems = "1-3"
fault = "urc_in_answer"
rate = 0.1

[[faults]]
modems = "4-6"
fault = "split_writes"
rate = 0.3
seconds = 0.01
"""
Event = tuple[Fact, ...]


class Client:
    """A program that sends on one port, each message after the answer to the one before."""

    def __init__(self, port: str) -> None:
        self._fd = os.open(port, os.O_RDWR | os.O_NOCTTY)

    def close(self) -> None:
        os.close(self._fd)

    def say(self, octets: bytes, *ends: bytes) -> bytes:
        os.write(self._fd, octets)
        heard = b""
        while not any(end in heard for end in ends):
            ready, _, _ = select.select([self._fd], [], [], 30)
            assert ready, (octets, heard)
            heard += os.read(self._fd, 4096)
        return heard

    def send(self, number: str, text: str) -> None:
        (data,) = pdu.segments(text, reference=1)
        submit = pdu.Submit(
            first_octet=0x21, mr=0, destination=pdu.address(number), pid=0, validity=b"", data=data
        )
        tpdu = pdu.encode_submit(submit)
        self.say(b"AT+CMGS=%d\r" % len(tpdu), b"> ")
        self.say(b"00" + tpdu.hex().encode() + b"\x1a", b"OK\r\n", b"ERROR")


def drive(bank: BankProcess, number: int) -> None:
    client = Client(bank.port(f"modem{number:02d}"))
    try:
        client.say(b"ATE0;+CMEE=1;+CMGF=0\r", b"OK\r\n")
        for index in range(MESSAGES):
            client.send(f"+86139{number:02d}{index:06d}", f"message {index} of {number}")
    finally:
        client.close()


def sequences(lines: Sequence[dict[str, Fact]]) -> dict[Fact, list[Event]]:
    """Modem → what happened there, without times and numbers of lines."""
    found: dict[Fact, list[Event]] = {}
    for line in lines:
        facts = ("kind", "fault", "iccid", "destination", "mr", "text", "outcome", "st", "tpdu")
        # A report's TPDU holds the times of day.
        event = tuple(line.get(f) for f in facts if f != "tpdu" or line["kind"] == "submit")
        found.setdefault(line.get("modem"), []).append(event)
    return found


def run(folder: Path, scenario: Path) -> dict[Fact, list[Event]]:
    with BankProcess(folder, "--scenario", str(scenario)) as bank:
        wait_until(
            lambda: all(one["registration"] == 1 for one in bank.control.state()),
            what="registered",
        )
        with ThreadPoolExecutor(MODEMS) as pool:
            list(pool.map(lambda number: drive(bank, number), range(1, MODEMS + 1)))
        # The last reports, too.
        lines = bank.ledger()
        wait_until(lambda: _is_still(bank, lines), what="no more lines")
        return sequences(bank.ledger())


def _is_still(bank: BankProcess, before: list[dict[str, Fact]]) -> bool:
    now = bank.ledger()
    is_still = len(now) == len(before)
    before[:] = now
    return is_still


def test_same_seed_gives_each_modem_the_same_events_in_the_same_order(tmp_path: Path) -> None:
    scenario = tmp_path / "order.toml"
    scenario.write_text(SCENARIO, encoding="utf-8")
    first, second = (run(tmp_path / name, scenario) for name in ("one", "two"))
    assert first.keys() == second.keys()
    for modem, events in first.items():
        assert events == second[modem], modem
    modems = [f"modem{number:02d}" for number in range(1, MODEMS + 1)]
    kinds = [{str(event[0]) for event in first[modem]} for modem in modems]
    assert all({"submit", "refused", "report", "fault"} <= one for one in kinds), kinds
    # Chance is each modem's own: they do not have the same fate.
    assert len({str([event[6] for event in first[modem]]) for modem in modems}) == MODEMS
