"""smstools3 `smsd`, unmodified, against `python -m simulator`."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.simulated import BankProcess, wait_until
from tests.support.tools import require_tool

_FOLDERS = ("outgoing", "incoming", "checked", "sent", "failed", "report")


class Spool:
    """A running smsd's folders."""

    def __init__(self, bank: BankProcess, folder: Path) -> None:
        self.folder = folder
        for name in _FOLDERS:
            (folder / name).mkdir(parents=True)
        paths = "".join(f"{name} = {folder / name}\n" for name in _FOLDERS)
        self.config = folder / "smsd.conf"
        self.config.write_text(
            f"devices = M1\nloglevel = 7\nlogfile = {folder}/log\n"
            f"pidfile = {folder}/pid\ninfofile = {folder}/info\n"
            f"{paths}delaytime = 1\nreceive_before_send = no\nautosplit = 3\n"
            f"[M1]\ndevice = {bank.port()}\nincoming = yes\nreport = yes\npin = 1234\n"
            "init = AT+CNMI=2,1,0,2,0\n"
        )

    def texts(self, name: str) -> list[str]:
        files = sorted((self.folder / name).iterdir())
        return [file.read_text("latin-1") for file in files]

    def send(self, name: str, to: str, text: str) -> None:
        ready = self.folder / name
        ready.write_text(f"To: {to.removeprefix('+')}\nAlphabet: ISO\n\n{text}", "latin-1")
        ready.rename(self.folder / "outgoing" / name)


@pytest.fixture
def bank(tmp_path: Path) -> Iterator[BankProcess]:
    flags = ("--modems", "1", "--persona", "generic", "--latency", "0.1", "--pin", "1234")
    with BankProcess(tmp_path / "bank", *flags) as bank:
        yield bank


@pytest.fixture
def spool(bank: BankProcess, tmp_path: Path) -> Iterator[Spool]:
    program = require_tool("smsd")
    spool = Spool(bank, tmp_path / "spool")
    command = [program, f"-c{spool.config}", "-t"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        yield spool
        process.terminate()
        process.wait(timeout=60)


def test_smsd_sends_with_report_and_receives(bank: BankProcess, spool: Spool) -> None:
    spool.send("one", "+8613900000001", "Meeting moved to three o'clock")
    wait_until(lambda: bool(spool.texts("sent")), what="sent", seconds=90)
    (sent,) = bank.ledger(kind="submit")
    assert (sent["destination"], sent["text"]) == (
        "+8613900000001",
        "Meeting moved to three o'clock",
    )
    assert sent["wants_report"] is True
    (kept,) = spool.texts("sent")
    assert f"Message_id: {sent['mr']}" in kept

    wait_until(lambda: bool(spool.texts("report")), what="report", seconds=60)
    (report,) = spool.texts("report")
    assert "Status: 0,Ok,short message received by the SME" in report

    bank.control.inject_sms("modem01", "Please call back", origin="+8613912345678")
    wait_until(lambda: bool(spool.texts("incoming")), what="received", seconds=60)
    (received,) = spool.texts("incoming")
    assert "From: 8613912345678" in received
    assert received.endswith("Please call back")
    assert spool.texts("failed") == []
