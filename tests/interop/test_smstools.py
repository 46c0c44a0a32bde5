"""smstools3 `smsd`, unmodified, against `python -m simulator`: a modem of every persona at once."""

import subprocess
from collections.abc import Callable, Iterator
from math import ceil
from os import SEEK_END
from pathlib import Path

import pytest

from simulator import persona
from simulator.persona import RegistrationForm
from simulator.phone import CallOutcome, CallPlan
from tests.support.simulated import BankProcess, wait_until
from tests.support.tools import require_tool

PERSONAS = persona.names()
MODEMS = {name: f"modem{at:02d}" for at, name in enumerate(PERSONAS, 1)}
FRIEND = "+8613900000001"
ORIGIN = "+8613912345678"
SHORT = "Meeting moved to three o'clock"
LONG = "Please bring your passport, and a photograph. " * 6 + "Thank you."
CHINESE = "通知：明天停电，请提前做好准备。" * 6
_FOLDERS = ("outgoing", "incoming", "checked", "sent", "failed", "report", "phonecalls")
# It reads what lies in the storages: reports that come by themselves are not for it.
_LAST_LINES = 100_000
"""Octets of the log in which every modem has spoken."""
_ROUTING = {"cinterion": "AT+CNMI=1,1,0,2,1"}


class Spool:
    """A running smsd's folders; every modem has a queue of its name."""

    def __init__(self, bank: BankProcess, folder: Path) -> None:
        self.bank = bank
        self.folder = folder
        self._written = 0
        queues = [f"queues/{modem}" for modem in MODEMS.values()]
        for name in (*_FOLDERS, *queues):
            (folder / name).mkdir(parents=True)
        self.config = folder / "smsd.conf"
        paths = "".join(f"{name} = {folder / name}\n" for name in _FOLDERS)
        queues = [f"{modem} = {folder}/queues/{modem}\n" for modem in MODEMS.values()]
        sections = [self._section(name, modem) for name, modem in MODEMS.items()]
        self.config.write_text(
            f"devices = {','.join(MODEMS.values())}\nloglevel = 7\nlogfile = {folder}/log\n"
            f"pidfile = {folder}/pid\ninfofile = {folder}/info\n{paths}"
            "delaytime = 1\nerrorsleeptime = 1\nblockafter = 1000\nautosplit = 3\n"
            "incoming_utf8 = yes\nreceive_before_send = no\n"
            f"[queues]\n{''.join(queues)}{''.join(sections)}"
        )

    def _section(self, name: str, modem: str) -> str:
        """What the manual says for a modem of this kind."""
        model = persona.load(name)
        code = "AA180C3602" if model.vendor == "huawei" else "*100#"
        wake = ceil(model.sim_busy_seconds + model.messaging_seconds + model.register_seconds)
        lines = [
            f"[{modem}]",
            f"device = {self.bank.port(modem)}",
            f"queues = {modem}",
            "incoming = yes",
            "report = yes",
            "pin = 1234",
            f"pinsleeptime = {wake + 1}",
            f"init2 = {_ROUTING.get(model.vendor, 'AT+CNMI=1,1,0,2,0')}",
            f"memory_start = {model.first_slot}",
            "phonecalls = clip",
            "device_open_retries = -1",
            "device_open_errorsleeptime = 1",
            f'regular_run_cmd = AT+CUSD=1,"{code}",15',
            f"regular_run_statfile = {self.folder}/ussd-{modem}",
        ]
        if model.report_memory or model.report_slot:
            lines += [f"primary_memory = {model.default_memory}", "secondary_memory = SR"]
        if not model.boots_with_radio:
            lines.append("init = AT+CFUN=1")
        # Where a port goes in the middle of its question for the network, it asks the void without
        # end: so it asks only before it sends.
        asks = model.creg_form is not RegistrationForm.URC
        lines.append(f"check_network = {2 if asks else 0}")
        return "\n".join(lines) + "\n"

    def send(self, modem: str, text: str) -> None:
        is_latin = text.isascii()
        head = f"To: {FRIEND.removeprefix('+')}\nAlphabet: {'ISO' if is_latin else 'UCS2'}\n\n"
        body = text.encode("ascii" if is_latin else "utf-16-be")
        self._written += 1
        ready = self.folder / f"written-{self._written}"
        ready.write_bytes(head.encode() + body)
        ready.rename(self.folder / "queues" / modem / ready.name)

    def kept(self, name: str, modem: str) -> list[tuple[str, str]]:
        """The head and the text of a folder's files that are this modem's."""
        files = [_kept(file) for file in sorted((self.folder / name).iterdir())]
        return [file for file in files if f"Modem: {modem}\n" in file[0]]

    def is_idle(self, modem: str) -> bool:
        """Whether it sleeps until its next poll."""
        with (self.folder / "log").open("rb") as log:
            log.seek(max(0, log.seek(0, SEEK_END) - _LAST_LINES))
            lines = log.read().decode("utf-8", "replace").splitlines()
        last = next((line for line in reversed(lines) if f" {modem}: " in line), "")
        return last.endswith("No SMS received")

    def wait(self, holds: Callable[[], bool], what: str, *, seconds: float = 90) -> None:
        wait_until(holds, what=what, seconds=seconds)


def _kept(file: Path) -> tuple[str, str]:
    try:
        content = file.read_bytes()
    except FileNotFoundError:  # it is still being written under another name
        return "", ""
    head, _, body = content.partition(b"\n\n")
    return f"{head.decode()}\n", body.decode("utf-16-be" if b"UCS2" in head else "utf-8")


@pytest.fixture(scope="module")
def spool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spool]:
    program = require_tool("smsd")
    folder = tmp_path_factory.mktemp("smstools")
    flags = ("--modems", str(len(PERSONAS)), "--persona", ",".join(PERSONAS), "--pin", "1234")
    paces = ("--latency", "0.1", "--report-delay", "0.2")
    with BankProcess(folder / "bank", *flags, *paces) as bank:
        spool = Spool(bank, folder / "spool")
        for modem in MODEMS.values():
            for text in (SHORT, LONG, CHINESE):
                spool.send(modem, text)
                bank.control.inject_sms(modem, text, origin=ORIGIN)
        with subprocess.Popen(
            [program, f"-c{spool.config}", "-t"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            try:
                yield spool
            finally:
                process.terminate()
                process.wait(timeout=60)


@pytest.mark.parametrize("name", PERSONAS)
def test_smsd_sends(spool: Spool, name: str) -> None:
    modem = MODEMS[name]
    spool.wait(lambda: len(spool.kept("sent", modem)) == 3, "three sent")
    short, *parts = spool.bank.ledger(kind="submit", modem=modem)[:5]
    assert {sent["destination"] for sent in [short, *parts]} == {FRIEND}
    assert {sent["wants_report"] for sent in [short, *parts]} == {True}
    assert short["text"] == SHORT
    assert "".join(str(part["text"]) for part in parts) == LONG + CHINESE
    heads = [head for head, _ in spool.kept("sent", modem)]
    assert any(f"Message_id: {short['mr']}\n" in head for head in heads)
    assert spool.kept("failed", modem) == []


@pytest.mark.parametrize("name", PERSONAS)
def test_smsd_learns_of_the_delivery(spool: Spool, name: str) -> None:
    modem = MODEMS[name]
    spool.wait(lambda: len(spool.kept("report", modem)) >= 5, "five reports")
    for _, text in spool.kept("report", modem):
        assert "Status: 0,Ok,short message received by the SME" in text


@pytest.mark.parametrize("name", PERSONAS)
def test_smsd_receives(spool: Spool, name: str) -> None:
    modem = MODEMS[name]
    spool.wait(lambda: len(spool.kept("incoming", modem)) == 3, "three received")
    received = spool.kept("incoming", modem)
    assert all(f"From: {ORIGIN.removeprefix('+')}\n" in head for head, _ in received)
    assert sorted(text for _, text in received) == sorted([SHORT, LONG, CHINESE])


@pytest.mark.parametrize("name", PERSONAS)
def test_smsd_asks_for_the_balance(spool: Spool, name: str) -> None:
    answers = spool.folder / f"ussd-{MODEMS[name]}"
    spool.wait(lambda: answers.exists() and "+CUSD: " in answers.read_text(), "an answer")


@pytest.mark.parametrize("name", PERSONAS)
def test_smsd_notes_a_missed_call(spool: Spool, name: str) -> None:
    modem = MODEMS[name]
    spool.wait(lambda: bool(spool.kept("sent", modem)), "it works")
    plan = CallPlan(
        number=ORIGIN, outcome=CallOutcome.NO_ANSWER, rings=5, seconds=0.0, ring_seconds=1.0
    )
    spool.bank.control.inject_call(modem, plan)
    spool.wait(lambda: bool(spool.kept("phonecalls", modem)), "a call")
    ((head, _),) = spool.kept("phonecalls", modem)
    assert f"From: {ORIGIN.removeprefix('+')}\n" in head


@pytest.mark.timeout(300)
def test_smsd_goes_on_after_every_modem_was_unplugged(spool: Spool) -> None:
    for modem in MODEMS.values():
        spool.wait(lambda modem=modem: len(spool.kept("sent", modem)) == 3, f"{modem} works")
        spool.wait(lambda modem=modem: not spool.is_idle(modem), f"{modem} polls")
        spool.wait(lambda modem=modem: spool.is_idle(modem), f"{modem} is idle")
        spool.bank.control.unplug(modem)
        spool.bank.control.plug(modem)
        spool.send(modem, "Back again")

    def missing() -> set[str]:
        sent = spool.bank.ledger(kind="submit", text="Back again")
        return set(MODEMS.values()) - {str(line["modem"]) for line in sent}

    # Where the port goes in the middle of its question for the PIN, its process ends for good: a
    # busy machine that is late by a whole pause of the poll may lose some so.
    few = len(MODEMS) // 4
    spool.wait(lambda: len(missing()) <= few, f"all but {few} at most are back", seconds=150)
