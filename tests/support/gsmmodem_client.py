"""python-gsmmodem-new in a child process.

Its sources hold invalid escape sequences that warn when they are compiled, it leaves a reader
thread behind, and its faults must not be ours.
"""

import json
import subprocess
import sys
import textwrap
from typing import IO, Self

CLIENT = textwrap.dedent(
    """
    import json, sys, threading
    from gsmmodem.exceptions import CommandError
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

    def connected(pin):
        # A card is busy for seconds after its PIN; the library gives up at once, so who uses it
        # has to try again.
        for attempt in range(10):
            modem = GsmModem(
                sys.argv[1], 115200, incomingCallCallbackFunc=called,
                smsReceivedCallbackFunc=received, smsStatusReportCallback=received)
            modem.smsTextMode = False
            try:
                modem.connect(pin)
                return modem
            except CommandError as error:
                modem.close()
                if attempt == 9:
                    raise
                threading.Event().wait(1)

    modem = connected(sys.argv[3] if len(sys.argv) > 3 else None)
    try:
        modem.waitForNetworkCoverage(5)
    except CommandError:
        pass  # It reads +CSQ in one form only.
    say("connected", imei=modem.imei, imsi=modem.imsi, network=modem.networkName,
        manufacturer=modem.manufacturer, model=modem.model)
    for line in sys.stdin:
        number, text, waits = json.loads(line)
        sent = modem.sendSms(number, text, waitForDeliveryReport=waits, deliveryTimeout=20)
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

    def send(self, number: str, text: str, *, waits: bool = True) -> None:
        """Let it send, and wait for the delivery report where it can hear of one."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([number, text, waits]) + "\n")
        self._process.stdin.flush()

    def next(self, what: str) -> dict[str, object]:
        stream: IO[str] | None = self._process.stdout
        assert stream is not None
        line = stream.readline()
        assert line, self._process.communicate(timeout=60)[1]
        event: dict[str, object] = json.loads(line)
        assert event.pop("what") == what, event
        return event
