"""Programs that never heard of us, recorded at work and then served their own recording."""

import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulator import pdu
from simulator.recording import tape
from tests.support.recorders import Tool
from tests.support.simulated import BankProcess
from tests.support.tools import require_tool

NUMBER = "+8613900000001"
TEXT = "你好 from the library"
INBOUND = "Your code is {482913} 好"
PIN = "73918264"

# Its sources warn when they are compiled and it leaves a thread behind: a process of its own.
LIBRARY = textwrap.dedent(
    """
    import json, sys, threading
    from gsmmodem.exceptions import CmsError
    from gsmmodem.modem import GsmModem

    def say(what, **facts):
        print(json.dumps({"what": what, **facts}), flush=True)

    def received(sms):
        say("sms", number=len(sms.number), text=len(sms.text))
        done.set()

    done = threading.Event()
    def connected():
        # Behind the PIN the card is busy for a moment, and the library does not wait for it.
        for attempt in range(5):
            modem = GsmModem(sys.argv[1], 115200, smsReceivedCallbackFunc=received)
            modem.smsTextMode = False
            try:
                modem.connect(sys.argv[2])
                return modem
            except CmsError:
                modem.close()
                done.wait(0.5)

    modem = connected()
    modem.waitForNetworkCoverage(10)
    say("connected", model=modem.model, manufacturer=modem.manufacturer, imei=len(modem.imei),
        imsi=modem.imsi[:5], network=modem.networkName, smsc=len(modem.smsc))
    sent = modem.sendSms(sys.argv[3], sys.argv[4], waitForDeliveryReport=True, deliveryTimeout=20)
    say("sent", status=sent.status, reference=sent.reference)
    say("heard", is_heard=done.wait(60))
    modem.close()
    """
)


@pytest.fixture
def bank(tmp_path: Path) -> Iterator[BankProcess]:
    flags = ("--modems", "1", "--persona", "generic", "--latency", "0.1", "--report-delay", "0.5")
    with BankProcess(tmp_path / "bank", *flags, "--pin", PIN) as bank:
        yield bank


class Library:
    """python-gsmmodem-new at a port: one SMS out, one in."""

    def __init__(self, port: Path, pin: str, number: str, text: str) -> None:
        command = [sys.executable, "-W", "ignore", "-c", LIBRARY, str(port), pin, number, text]
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def next(self) -> dict[str, object]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, self._process.communicate(timeout=60)[1]
        event: dict[str, object] = json.loads(line)
        return event

    def end(self) -> None:
        _, errors = self._process.communicate(timeout=30)
        assert self._process.returncode == 0, errors


def test_the_library_works_with_its_own_recording(bank: BankProcess, tmp_path: Path) -> None:
    file = tmp_path / "library.jsonl"
    with Tool("record", bank.port(), "--to", file):
        library = Library(tmp_path / "library.port", PIN, NUMBER, TEXT)
        events = [library.next(), library.next()]
        bank.control.inject_sms("modem01", INBOUND, origin="+8613912345678")
        events += [library.next(), library.next()]
        library.end()
    assert [event["what"] for event in events] == ["connected", "sent", "sms", "heard"]
    (sent,) = bank.ledger(kind="submit")
    assert (sent["destination"], sent["text"]) == (NUMBER, TEXT)
    raw = file.read_text()
    state = bank.control.state("modem01")[0]
    card = state["card"]
    assert isinstance(card, dict)
    for secret in (PIN, NUMBER[1:], str(state["imei"]), str(card["imsi"]), "482913"):
        assert secret not in raw
    assert TEXT.encode("utf-16-be").hex().upper() not in raw

    with Tool("replay", file, "--pty", tmp_path / "again") as tool:
        # Another PIN, another recipient and another text of the same length.
        library = Library(tmp_path / "again", "11112222", "+8613877777777", TEXT[::-1])
        again = [library.next() for _ in events]
        library.end()
    assert again == events
    assert tool.status == 0
    assert "not in the recording" not in tool.output


def gammu(port: Path, folder: Path, *arguments: str) -> str:
    program = require_tool("gammu")
    config = folder / "gammurc"
    config.write_text(f"[gammu]\ndevice = {port}\nconnection = at\n")
    done = subprocess.run(
        [program, "-c", str(config), *arguments],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
        env={"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_gammu_works_with_its_own_recording(tmp_path: Path) -> None:
    flags = ("--modems", "1", "--persona", "quectel", "--latency", "0.1", "--pin-lock", "off")
    send = ("sendsms", "text", NUMBER, "-unicode", "-text", "会议改到下午三点")
    file = tmp_path / "gammu.jsonl"
    with BankProcess(tmp_path / "bank", *flags) as bank:
        bank.control.inject_sms("modem01", INBOUND, origin="+8613912345678")
        with Tool("record", bank.port(), "--to", file):
            port = tmp_path / "gammu.port"
            listed = gammu(port, tmp_path, "getallsms")
            sent = gammu(port, tmp_path, *send)
    assert INBOUND in listed
    assert "reference=0" in sent
    raw = file.read_text()
    assert pdu.address(NUMBER).octets[2:].hex().upper() not in raw
    assert "482913" not in raw

    with Tool("replay", file, "--pty", tmp_path / "again", "--fast") as tool:
        port = tmp_path / "again"
        relisted = gammu(port, tmp_path, "getallsms")
        resent = gammu(port, tmp_path, *send)
    assert tool.status == 0
    assert "1 SMS parts in 1 SMS sequences" in relisted
    assert INBOUND not in relisted
    assert "reference=0" in resent
    assert tape.load(file).is_complete
