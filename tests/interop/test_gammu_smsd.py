"""gammu-smsd with its files back end, unmodified, against `python -m simulator`."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.simulated import BankProcess, wait_until
from tests.support.tools import require_tool

CHINESE = "通知：明天停电"


class Daemon:
    """A running gammu-smsd."""

    def __init__(self, bank: BankProcess, folder: Path) -> None:
        self.folder = folder
        for name in ("inbox", "outbox", "sent", "error"):
            (folder / name).mkdir(parents=True)
        self.config = folder / "smsdrc"
        self.config.write_text(
            f"[gammu]\ndevice = {bank.port()}\nconnection = at\n"
            "[smsd]\nservice = files\ndeliveryreport = sms\npin = 1234\ncommtimeout = 1\n"
            f"sendtimeout = 30\nlogfile = {folder}/log\ndebuglevel = 0\nloopsleep = 1\n"
            f"inboxpath = {folder}/inbox/\noutboxpath = {folder}/outbox/\n"
            f"sentsmspath = {folder}/sent/\nerrorsmspath = {folder}/error/\n"
        )

    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def inbox(self) -> list[str]:
        files = sorted((self.folder / "inbox").iterdir())
        return [file.read_text(errors="replace") for file in files]


@pytest.fixture
def bank(tmp_path: Path) -> Iterator[BankProcess]:
    flags = ("--modems", "1", "--persona", "generic", "--latency", "0.1", "--pin", "1234")
    with BankProcess(tmp_path / "bank", *flags) as bank:
        yield bank


@pytest.fixture
def daemon(bank: BankProcess, tmp_path: Path) -> Iterator[Daemon]:
    program = require_tool("gammu-smsd")
    daemon = Daemon(bank, tmp_path / "smsd")
    command = [program, "-c", str(daemon.config)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        yield daemon
        process.terminate()
        process.wait(timeout=30)


def test_the_daemon_unlocks_sends_and_receives(bank: BankProcess, daemon: Daemon) -> None:
    inject = require_tool("gammu-smsd-inject")
    subprocess.run(
        [inject, "-c", str(daemon.config), "TEXT", "+8613900000001", "-unicode", "-text", CHINESE],
        check=True,
        capture_output=True,
        timeout=30,
    )
    wait_until(lambda: bool(bank.ledger(kind="submit")), what=f"sent: {daemon.log()}", seconds=60)
    (sent,) = bank.ledger(kind="submit")
    assert (sent["destination"], sent["text"]) == ("+8613900000001", CHINESE)
    wait_until(lambda: len(list((daemon.folder / "sent").iterdir())) == 1, what="kept as sent")
    assert list((daemon.folder / "error").iterdir()) == []

    bank.control.inject_sms("modem01", "回复 TD", origin="+8613912345678")
    wait_until(
        lambda: any("回复 TD" in text for text in daemon.inbox()), what="received", seconds=60
    )
    card = bank.control.state("modem01")[0]["card"]
    assert isinstance(card, dict)
    assert (card["state"], card["pin_tries"]) == ("READY", 3)
    wait_until(lambda: bool(bank.ledger(kind="report")), what="report delivered")
