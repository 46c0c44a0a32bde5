"""python-gsmmodem-new, unmodified, against `python -m simulator`.

The library runs in a child process: its sources hold invalid escape sequences that warn when they
are compiled, it leaves a reader thread behind, and its faults must not be ours.
"""

import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Self

import pytest

from simulator.phone import CallOutcome, CallPlan
from tests.support.simulated import BankProcess, wait_until

CLIENT = textwrap.dedent(
    """
    import json, sys, threading
    from gsmmodem.modem import GsmModem, StatusReport

    def say(what, **facts):
        print(json.dumps({"what": what, **facts}), flush=True)

    def received(sms):
        if isinstance(sms, StatusReport):
            say("report", reference=sms.reference, status=sms.deliveryStatus, number=sms.number)
        else:
            say("sms", number=sms.number, text=sms.text)

    def called(call):
        say("call", number=call.number, ring=call.ringCount, type=call.type)
        if sys.argv[2] == "answer" and call.ringCount == 2:
            call.answer()
            say("answered", is_answered=call.answered)
            call.hangup()
            say("hung_up")

    modem = GsmModem(
        sys.argv[1], 115200, incomingCallCallbackFunc=called, smsReceivedCallbackFunc=received,
        smsStatusReportCallback=received)
    modem.smsTextMode = False
    modem.connect(sys.argv[3] if len(sys.argv) > 3 else None)
    modem.waitForNetworkCoverage(5)
    say("connected", imei=modem.imei, imsi=modem.imsi, network=modem.networkName,
        manufacturer=modem.manufacturer, model=modem.model)
    for line in sys.stdin:
        number, text = json.loads(line)
        sent = modem.sendSms(number, text, waitForDeliveryReport=True, deliveryTimeout=20)
        say("sent", status=sent.status, reference=sent.reference)
    modem.close()
    """
)


class Client:
    """The library in a child process; `events` is what it told."""

    def __init__(self, port: str, *arguments: str) -> None:
        self._command = [sys.executable, "-W", "ignore", "-c", CLIENT, port, *arguments]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.stdin = None
        _, errors = self._process.communicate(timeout=30)
        assert self._process.returncode == 0, errors

    def send(self, number: str, text: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([number, text]) + "\n")
        self._process.stdin.flush()

    def next(self, what: str) -> dict[str, object]:
        stream: IO[str] | None = self._process.stdout
        assert stream is not None
        line = stream.readline()
        assert line, self._process.communicate(timeout=10)[1]
        event: dict[str, object] = json.loads(line)
        assert event.pop("what") == what, event
        return event


@pytest.fixture
def bank(tmp_path: Path) -> Iterator[BankProcess]:
    flags = ("--modems", "1", "--persona", "generic", "--latency", "0.1", "--report-delay", "0.5")
    with BankProcess(tmp_path / "bank", *flags, "--pin", "1234") as bank:
        yield bank


def test_the_library_connects_sends_and_hears_reports_messages_and_calls(
    bank: BankProcess,
) -> None:
    modem = bank.control.state("modem01")[0]
    card = modem["card"]
    assert isinstance(card, dict)
    with Client(bank.port(), "answer", "1234") as client:
        assert client.next("connected") == {
            "imei": modem["imei"],
            "imsi": card["imsi"],
            "network": "CHINA MOBILE",
            "manufacturer": "Generic",
            "model": "GM100",
        }
        client.send("+8613900000001", "你好 from the library")
        # 1 = DELIVERED; the callback is for reports that nobody waits for.
        assert client.next("sent") == {"status": 1, "reference": 0}
        (sent,) = bank.ledger(kind="submit")
        assert (sent["destination"], sent["text"]) == ("+8613900000001", "你好 from the library")

        bank.control.inject_sms("modem01", "Reply {1} 好", origin="+8613912345678")
        assert client.next("sms") == {"number": "+8613912345678", "text": "Reply {1} 好"}

        plan = CallPlan(
            number="+8613912345678", outcome=CallOutcome.MISSED, rings=5, ring_seconds=0.7
        )
        bank.control.inject_call("modem01", plan)
        first = client.next("call")
        assert first == {"number": "+8613912345678", "ring": 1, "type": 0}  # 0 = VOICE
        assert client.next("call")["ring"] == 2
        assert client.next("answered") == {"is_answered": True}
        client.next("hung_up")
        wait_until(lambda: bool(bank.ledger(kind="call")), what="the call in the ledger")
        (call,) = bank.ledger(kind="call")
        assert (call["direction"], call["outcome"]) == ("in", "answered")
        assert call["rings"] in {2, 3}, "it answers at the second ring, in its own time"
