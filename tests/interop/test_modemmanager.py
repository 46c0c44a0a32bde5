"""ModemManager, unmodified, against `python -m simulator`: one modem of every persona at once."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from simulator import pdu, persona
from simulator.phone import CallOutcome, CallPlan
from tests.support.modem_manager import ModemManager, Refused, value
from tests.support.simulated import BankProcess

# An E173 of old firmware restarts when it is asked for its IMSI right after the PIN, as it always
# is; and a virtual port that went and came again is none of the daemon's.
WORKING = [name for name in persona.names() if name != "e173"]
# One of each maker, unless there is time.
FIRST = {persona.load(name).vendor: name for name in reversed(WORKING)} | {
    name: name for name in WORKING if persona.load(name).vendor == name
}
PERSONAS = WORKING if os.environ.get("MODEMCTL_LONG") else sorted(FIRST.values())
# Debian's Huawei plugin aborts on virtual ports: such modems are shown to it as unknown ones.
PLUGINS = {
    "quectel": "quectel",
    "simcom": "simtech",
    "zte": "zte",
    "telit": "telit",
    "sierra": "sierra",
    "ublox": "u-blox",
    "cinterion": "cinterion",
    "wavecom": "wavecom",
}
# What Huawei, Wavecom and ZTE say between ATD and its OK, or in its place, it takes for a failure.
CANNOT_CALL = {"huawei", "wavecom", "zte"}
# It asks for +CNMI=2,1,2,1,0 and little else; these must take it, others refuse as in real life.
MUST_TELL = {"generic", "quectel", "simcom"}
PIN = "1234"
FRIEND = "+8613900000001"
ORIGIN = "+8613912345678"
SHORT = "Meeting moved to three o'clock"
LONG = "通知：明天停电，请提前做好准备。" * 8
# It adds a part to any long message of the same reference, its own among them: these have 1…254.
REFERENCE = 255


class Site:
    """A bank with a modem of every persona, and the daemon that has them all."""

    def __init__(self, bank: BankProcess, daemon: ModemManager) -> None:
        self.bank = bank
        self.daemon = daemon
        self._modems = {name: f"modem{at:02d}" for at, name in enumerate(PERSONAS, 1)}
        self._pool = ThreadPoolExecutor(4)
        self._coming: dict[str, Future[None]] = {}

    def start(self) -> None:
        for name, modem in self._modems.items():
            port = Path(f"{self.bank.port(modem)}.abstract").read_text().strip()
            plugin = PLUGINS.get(persona.load(name).vendor, "generic")
            self.daemon.add(modem, plugin=plugin, port=port)
            self._coming[modem] = self._pool.submit(self.daemon.bring_up, modem, pin=PIN)

    def stop(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def modem(self, name: str) -> str:
        """The persona's modem, once it is registered."""
        modem = self._modems[name]
        self._coming[modem].result()
        return modem

    def indications(self, name: str) -> tuple[bool, bool]:
        """Whether the model told the daemon of messages, and of reports, as `+CNMI` was set."""
        (state,) = self.bank.control.state(self.modem(name))
        mode, mt, _, ds, _ = str(state["cnmi"]).split(",")
        told = mode != "0" and mt == "1", mode != "0" and ds == "1"
        assert all(told) or name not in MUST_TELL
        return told

    def received(self, modem: str, state: str = "received") -> list[str]:
        found = self.daemon.messages(modem, "deliver")
        assert {value(message, "content", "number") for message in found} <= {ORIGIN}
        return sorted(
            value(message, "content", "text")
            for message in found
            if value(message, "properties", "state") == state
        )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    flags = ("--modems", str(len(PERSONAS)), "--persona", ",".join(PERSONAS), "--pin", PIN)
    paces = ("--latency", "0.1", "--report-delay", "0.2", "--transport", "abstract")
    with (
        ModemManager(folder / "daemon") as daemon,
        BankProcess(folder / "bank", *flags, *paces) as bank,
    ):
        site = Site(bank, daemon)
        try:
            site.start()
            yield site
        finally:
            site.stop()


@pytest.mark.parametrize("name", PERSONAS)
def test_it_finds_unlocks_enables_and_registers(site: Site, name: str) -> None:
    modem = site.modem(name)
    _, facts = site.daemon.modem(modem)
    (state,) = site.bank.control.state(modem)
    card = state["card"]
    assert isinstance(card, dict)
    assert (card["state"], card["pin_tries"]) == ("READY", 3)
    # Of +CGSN it takes all there is: quotes, or a software version for the check digit.
    assert str(state["imei"])[:14] in value(facts, "generic", "equipment-identifier")
    assert value(facts, "generic", "model") == persona.load(name).model.strip()
    assert value(facts, "3gpp", "operator-code") == "46000"
    sim = site.daemon.facts("-i", value(facts, "generic", "sim"))
    assert value(sim, "properties", "imsi") == card["imsi"]
    assert value(sim, "properties", "iccid") == card["iccid"]


@pytest.mark.parametrize("name", PERSONAS)
def test_it_sends_and_learns_of_the_delivery(site: Site, name: str) -> None:
    modem = site.modem(name)
    _, is_told_of_reports = site.indications(name)
    site.daemon.send(modem, number=FRIEND, text=SHORT)
    site.daemon.send(modem, number=FRIEND, text=LONG)
    first, *parts = site.bank.ledger(kind="submit", modem=modem)
    assert {sent["destination"] for sent in [first, *parts]} == {FRIEND}
    assert first["text"] == SHORT
    assert "".join(str(part["text"]) for part in parts) == LONG
    # Of a long message it asks after the last part.
    assert [sent["wants_report"] for sent in [first, *parts]] == [True, False, True]

    site.daemon.wait(
        lambda: len(site.bank.ledger(kind="report", modem=modem)) == 2, what="two reports"
    )

    def reports() -> list[str]:
        found = site.daemon.messages(modem, "status-report")
        return [value(report, "properties", "delivery-state") for report in found]

    if is_told_of_reports:
        site.daemon.wait(lambda: reports() == ["completed-received"] * 2, what="it knows")


@pytest.mark.parametrize("name", PERSONAS)
def test_it_receives(site: Site, name: str) -> None:
    modem = site.modem(name)
    is_told, _ = site.indications(name)
    (short,), (first, second) = _segments(SHORT), _segments(LONG)
    if is_told:
        _deliver(site, modem, short, lambda: SHORT in site.received(modem))
        _deliver(site, modem, first, lambda: len(site.received(modem, "receiving")) == 1)
        _deliver(site, modem, second, lambda: not site.received(modem, "receiving"))
    else:
        for tpdu in (short, first, second):
            site.bank.control.inject_tpdu(modem, tpdu)
        path, _ = site.daemon.modem(modem)
        site.daemon.command("-m", path, "--disable")
        site.daemon.command("-m", path, "--enable")
    site.daemon.wait(lambda: set(site.received(modem)) == {SHORT, LONG}, what="both")


def _deliver(site: Site, modem: str, tpdu: bytes, holds: Callable[[], bool]) -> None:
    """Deliver until it is seen: the daemon drops a +CMTI while it has the storage in use."""
    for _ in range(2):
        site.bank.control.inject_tpdu(modem, tpdu)
        with suppress(AssertionError):
            site.daemon.wait(holds, what="a part", seconds=15)
            return
    site.bank.control.inject_tpdu(modem, tpdu)
    site.daemon.wait(holds, what="a part")


def _segments(text: str) -> list[bytes]:
    origin = pdu.address(ORIGIN)
    scts = datetime(2026, 1, 1, 8, 0, tzinfo=timezone(timedelta(hours=8)))
    return [
        pdu.encode_deliver(pdu.Deliver(origin=origin, pid=0, scts=scts, data=part))
        for part in pdu.segments(text, reference=REFERENCE)
    ]


@pytest.mark.parametrize(
    "name",
    # The other plugins do not know that Huawei answers in packed septets.
    [name for name in PERSONAS if persona.load(name).vendor != "huawei"],
)
def test_it_asks_for_the_balance(site: Site, name: str) -> None:
    path, _ = site.daemon.modem(site.modem(name))
    with suppress(Refused):
        # A +CDSI means nothing to it and is taken for the beginning of the next answer: not ours.
        site.daemon.command("-m", path, "--time")
    said = site.daemon.command("-m", path, "--3gpp-ussd-initiate=*100#")
    # It does not decode an answer with blanks after its commas, as SIM800 writes it.
    assert "10.00" in said or "10.00".encode("utf-16-be").hex().upper() in said


@pytest.mark.parametrize(
    "name", [name for name in PERSONAS if persona.load(name).vendor not in CANNOT_CALL]
)
def test_it_calls(site: Site, name: str) -> None:
    modem = site.modem(name)
    path, _ = site.daemon.modem(modem)
    said = site.daemon.command("-m", path, f"--voice-create-call=number={FRIEND}")
    call = said.rpartition(" ")[2].strip()
    site.daemon.command("-o", call, "--start")
    site.daemon.command("-o", call, "--hangup")
    calls = site.bank.ledger(kind="call", modem=modem, direction="out")
    assert [made["number"] for made in calls] == [FRIEND]


@pytest.mark.parametrize("name", PERSONAS)
def test_it_is_called(site: Site, name: str) -> None:
    modem = site.modem(name)
    path, _ = site.daemon.modem(modem)
    plan = CallPlan(
        number=ORIGIN, outcome=CallOutcome.NO_ANSWER, rings=3, seconds=0.0, ring_seconds=1.0
    )
    site.bank.control.inject_call(modem, plan)
    site.daemon.wait(
        lambda: "ringing-in" in site.daemon.command("-m", path, "--voice-list-calls"),
        what="it rings",
    )
