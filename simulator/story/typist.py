"""A client for stories that have none: types commands and messages into a modem's command port.

It hears what the modem says beside whoever else has the port open, and is in nobody's way as long
as nobody else types at the same time.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from typing import Final

from simulator import pdu
from simulator.clock import Clock, Timer
from simulator.modem import Modem
from simulator.persona import PortRole
from simulator.world import Port

_ESCAPE: Final = b"\x1b"
_PAUSE: Final = 0.02  # seconds between an answer and the next command
_FINAL: Final = re.compile(rb"\r\n(OK|ERROR|\+CM[SE] ERROR: [^\r\n]*)\r\n")
_PROMPT: Final = re.compile(rb"> ?\Z")
_REPORT: Final = 0x20
_HEADER: Final = 0x40
_RELATIVE_VALIDITY: Final = 0x10
_ONE_DAY: Final = b"\xa7"  # TS 23.040 §9.2.3.12.1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """Octets to write, and what to wait for, at most `limit` seconds."""

    octets: bytes
    until: re.Pattern[bytes]
    limit: float
    is_last: bool = False  # of its message: an error before it ends the message


class _Tap:
    """Lets the typist hear what goes out by a port."""

    def __init__(self, typist: Typist, inner: Port | None) -> None:
        self._typist = typist
        self._inner = inner

    def write(self, data: bytes) -> None:
        """Send on, and tell."""
        if self._inner is not None:
            self._inner.write(data)
        self._typist.hear(data)


class Typist:
    """Types into one modem; messages one after the other, each step after its answer."""

    def __init__(self, modem: Modem, clock: Clock) -> None:
        self._modem = modem
        self._clock = clock
        self._steps: deque[_Step] = deque()
        self._heard = bytearray()
        self._answer: bytearray | None = None
        self._step: _Step | None = None
        self._limit: Timer | None = None
        self._reference = 0
        self._is_waiting = False
        modem.ports[PortRole.AT] = _Tap(self, modem.ports.get(PortRole.AT))

    def type(self, octets: bytes) -> bytes:
        """Write octets; what comes back at once."""
        said = self._answer = bytearray()
        self._modem.receive(octets)
        self._answer = None
        return bytes(said)

    def send(self, to: str, text: str, *, report: bool = False) -> int:
        """Queue a message; the number of its segments.

        Raises:
            PduError: the address or the text cannot be coded.
        """
        self._reference = self._reference % 255 + 1
        parts = pdu.segments(text, reference=self._reference)
        destination = pdu.address(to)
        steps = [_Step(octets=b"AT+CMGF=0\r", until=_FINAL, limit=5.0)]
        for number, data in enumerate(parts, 1):
            first = 0x01 | _RELATIVE_VALIDITY
            first |= _REPORT * report | _HEADER * data.has_header
            submit = pdu.Submit(
                first_octet=first, mr=0, destination=destination, pid=0, validity=_ONE_DAY,
                data=data,
            )  # fmt: skip
            tpdu = pdu.encode_submit(submit)
            steps.append(_Step(octets=b"AT+CMGS=%d\r" % len(tpdu), until=_PROMPT, limit=5.0))
            octets = b"00" + tpdu.hex().upper().encode() + b"\x1a"
            is_last = number == len(parts)
            steps.append(_Step(octets=octets, until=_FINAL, limit=120.0, is_last=is_last))
        self._steps.extend(steps)
        if self._step is None and not self._is_waiting:
            self._soon()
        return len(parts)

    def hear(self, data: bytes) -> None:
        """What the modem said."""
        if self._answer is not None:
            self._answer += data
        step = self._step
        if step is None:  # a client of hours would hear without end
            return
        self._heard += data
        final = _FINAL.search(self._heard)
        if step.until.search(self._heard):
            is_well = step.until is _PROMPT or (final is not None and final[1] == b"OK")
            self._done(is_well=is_well)
        elif final is not None:  # an error instead of a prompt
            self._done(is_well=False)

    def _done(self, *, is_well: bool) -> None:
        step = self._step
        assert step is not None
        if self._limit is not None:
            self._limit.cancel()
        self._step = None
        if not is_well and not step.is_last:
            self._drop_message()
        self._soon()

    def _drop_message(self) -> None:
        while self._steps and not self._steps.popleft().is_last:
            pass

    def _soon(self) -> None:
        self._is_waiting = True
        # Not at once: the modem is still speaking.
        self._clock.call_later(_PAUSE, self._next)

    def _next(self) -> None:
        self._is_waiting = False
        if not self._steps:
            return
        step = self._step = self._steps.popleft()
        self._heard.clear()
        self._limit = self._clock.call_later(step.limit, self._give_up)
        self._modem.receive(step.octets)

    def _give_up(self) -> None:
        self._done(is_well=False)
        self._modem.receive(_ESCAPE)
