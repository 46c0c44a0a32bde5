"""ofono, unmodified, against `python -m simulator`: the models that its plainest driver knows."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.ofono import Ofono
from tests.support.simulated import BankProcess, wait_until

# Its phonesim driver knows no maker's ways (they are asked for by udev): these need none, and let
# a message be acknowledged with a PDU.
PERSONAS = ("generic", "le910", "m35", "mc7304", "quectel")
MODEMS = {name: f"modem{at:02d}" for at, name in enumerate(PERSONAS, 1)}
FRIEND = "+8613900000001"
ORIGIN = "+8613912345678"
SHORT = "Call me back, please"
LONG = "通知：明天停电，请提前做好准备。" * 6


class Site:
    """A bank and the daemon that has its modems."""

    def __init__(self, bank: BankProcess, daemon: Ofono) -> None:
        self.bank = bank
        self.daemon = daemon
        self._up: set[str] = set()

    def modem(self, name: str) -> str:
        """The persona's modem, registered."""
        modem = MODEMS[name]
        if modem not in self._up:
            self.daemon.bring_up(modem, pin="1234")
            self._up.add(modem)
        return modem


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("ofono")
    flags = ("--modems", str(len(PERSONAS)), "--persona", ",".join(PERSONAS), "--pin", "1234")
    paces = ("--latency", "0.1", "--report-delay", "0.2", "--transport", "tcp")
    with BankProcess(folder / "bank", *flags, *paces) as bank:
        ports = {
            modem: Path(f"{bank.port(modem)}.tcp").read_text().strip() for modem in MODEMS.values()
        }
        with Ofono(ports) as daemon:
            yield Site(bank, daemon)


@pytest.mark.parametrize("name", PERSONAS)
def test_ofono_sends_and_acknowledges_the_reports(site: Site, name: str) -> None:
    modem = site.modem(name)
    for text in (SHORT, LONG):
        arguments = (f"string:{FRIEND}", f"string:{text}")
        site.daemon.call(modem, "MessageManager.SendMessage", *arguments)
    wait_until(lambda: len(site.bank.ledger(kind="report", modem=modem)) == 3, what="reports")
    short, *parts = site.bank.ledger(kind="submit", modem=modem)
    assert {sent["destination"] for sent in [short, *parts]} == {FRIEND}
    assert short["text"] == SHORT
    assert "".join(str(part["text"]) for part in parts) == LONG
    reports = site.bank.ledger(kind="report", modem=modem)
    assert [report["outcome"] for report in reports] == ["taken"] * 3


@pytest.mark.parametrize("name", PERSONAS)
def test_ofono_receives(site: Site, name: str) -> None:
    modem = site.modem(name)
    for text in (SHORT, LONG):
        site.bank.control.inject_sms(modem, text, origin=ORIGIN)
    wanted = sorted([(ORIGIN, SHORT), (ORIGIN, LONG)])
    wait_until(lambda: sorted(site.daemon.received(modem)) == wanted, what="both")


@pytest.mark.parametrize("name", PERSONAS)
def test_ofono_asks_for_the_balance(site: Site, name: str) -> None:
    modem = site.modem(name)
    said = site.daemon.call(modem, "SupplementaryServices.Initiate", "string:*100#")
    assert "10.00" in said
