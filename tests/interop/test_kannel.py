"""Kannel, unmodified, against `python -m simulator`: a modem of every persona at once."""

import os
from collections.abc import Iterator

import pytest

from simulator import persona
from simulator.persona import Persona
from tests.support.kannel import Kannel, Modem
from tests.support.simulated import BankProcess, wait_until

# It waits for the exact `+CPIN: READY`; an E173 of old firmware puts that in quotes.
PERSONAS = [name for name in persona.names() if name != "e173"]
# The last one has no PIN to ask for, and gets the messages of phase 2+, to be acknowledged.
ACKNOWLEDGING = "acknowledging"
MODEMS = {name: f"modem{at:02d}" for at, name in enumerate([*PERSONAS, ACKNOWLEDGING], 1)}
FRIEND = "+8613900000001"
ORIGIN = "+8613912345678"
SHORT = "Call me back, please"
LONG = "通知：明天停电，请提前做好准备。" * 6


def way(name: str) -> str:
    """How this model's messages get to it: by themselves, or by way of the storages."""
    if name == ACKNOWLEDGING:
        return ACKNOWLEDGING
    return "plain" if _shows_messages(persona.load(name)) else "storing"


def _shows_messages(model: Persona) -> bool:
    # It reads `+CMT: [name],<length>` and `+CDS: <length>`, each followed by the PDU's line.
    is_read = model.message_line.endswith(",{length}") and model.report_line == "+CDS: {length}"
    is_offered = 1 not in model.cnmi_refused_reports and not model.direct_needs_ack
    return is_read and is_offered and not model.report_memory


class Site:
    """A bank and the boxes that have all its modems."""

    def __init__(self, bank: BankProcess, boxes: Kannel) -> None:
        self.bank = bank
        self.boxes = boxes

    def wait(self, name: str, path: str, count: int) -> list[dict[str, str]]:
        modem = MODEMS[name]
        wait_until(
            lambda: len(self.boxes.told(path, modem)) >= count,
            what=f"{count} {path}s of {modem}, not {self.boxes.told(path, modem)}",
            seconds=90,
        )
        return self.boxes.told(path, modem)


def _enter_pin(port: str) -> None:
    line = os.open(port, os.O_RDWR | os.O_NOCTTY)
    try:
        os.write(line, b'ATE0\rAT+CPIN="1234"\r')
        said = b""
        while said.count(b"OK") < 2:
            said += os.read(line, 100)
    finally:
        os.close(line)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("kannel")
    chosen = ",".join([*PERSONAS, "generic"])
    flags = ("--modems", str(len(MODEMS)), "--persona", chosen, "--pin", "1234")
    paces = ("--latency", "0.1", "--report-delay", "0.2")
    with BankProcess(folder / "bank", *flags, *paces) as bank:
        _enter_pin(bank.port(MODEMS[ACKNOWLEDGING]))
        modems = [
            Modem(name=modem, kind=way(name), device=bank.port(modem))
            for name, modem in MODEMS.items()
        ]
        with Kannel(folder / "boxes", modems) as boxes:
            for modem in MODEMS.values():
                boxes.send(modem, number=FRIEND, text=SHORT)
            for name in PERSONAS:
                boxes.send(MODEMS[name], number=FRIEND, text=LONG)
            yield Site(bank, boxes)


@pytest.mark.parametrize("name", MODEMS)
def test_kannel_sends_and_learns_of_the_delivery(site: Site, name: str) -> None:
    modem = MODEMS[name]
    if name == ACKNOWLEDGING:
        # Where a report comes just before its next message, it types the +CNMA into the prompt.
        site.wait(name, "report", 1)
        site.boxes.send(modem, number=FRIEND, text=LONG)
    reports = site.wait(name, "report", 2)
    assert [report["type"] for report in reports] == ["1", "1"]
    # Of a long message it asks after the first part.
    wait_until(lambda: len(site.bank.ledger(kind="submit", modem=modem)) == 3, what="all sent")
    sent = site.bank.ledger(kind="submit", modem=modem)
    assert {segment["destination"] for segment in sent} == {FRIEND}
    # What was refused while the modem was waking comes again behind the others.
    texts = {str(segment["concat"]): str(segment["text"]) for segment in sent}
    assert texts.pop("None") == SHORT
    assert "".join(texts[key] for key in sorted(texts)) == LONG


@pytest.mark.parametrize("name", MODEMS)
def test_kannel_receives(site: Site, name: str) -> None:
    modem = MODEMS[name]
    site.wait(name, "report", 1)
    for text in (SHORT, LONG):
        site.bank.control.inject_sms(modem, text, origin=ORIGIN)
    received = site.wait(name, "message", 2)
    assert {message["from"] for message in received} == {ORIGIN}
    assert sorted(message["text"] for message in received) == sorted([SHORT, LONG])
