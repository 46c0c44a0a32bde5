"""How a line's octets leave: each answer in one write, unless a fault says otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from simulator.clock import Clock, Timer
from simulator.faults import FaultKind, Faults

_OCTET_SECONDS: Final = 0.001


class Output:
    """Writes in order, whatever is held back."""

    def __init__(self, *, clock: Clock, faults: Faults, write: Callable[[bytes], None]) -> None:
        self._clock = clock
        self._faults = faults
        self._write = write
        self._held = bytearray()
        self._is_merging = False
        self._timer: Timer | None = None

    def send(self, data: bytes) -> None:
        """Send now, or behind what is held back."""
        if self._held:
            self._held += data
            if self._is_merging:
                self._flush()
            return
        faults = self._faults
        if not faults.is_any:
            self._write(data)
        elif faults.take(FaultKind.SLOW_OUTPUT):
            self._hold(data, _OCTET_SECONDS, self._dribble)
        elif len(data) > 1 and (fault := faults.take(FaultKind.SPLIT_WRITES)):
            at = 1 + faults.place(fault.kind, len(data) - 1)
            self._write(data[:at])
            self._hold(data[at:], fault.seconds, self._flush)
        elif fault := faults.take(FaultKind.MERGED_WRITES):
            self._is_merging = True
            self._hold(data, fault.seconds, self._flush)
        else:
            self._write(data)

    def reset(self) -> None:
        """Forget what has not left."""
        self._held.clear()
        self._is_merging = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _hold(self, data: bytes, seconds: float, then: Callable[[], None]) -> None:
        self._held += data
        self._timer = self._clock.call_later(seconds, then)

    def _flush(self) -> None:
        data = bytes(self._held)
        self.reset()
        self._write(data)

    def _dribble(self) -> None:
        self._write(bytes(self._held[:1]))
        del self._held[:1]
        if self._held:
            self._timer = self._clock.call_later(_OCTET_SECONDS, self._dribble)


def damaged(text: bytes, faults: Faults, command: str) -> bytes:
    """The octets of an answer, after the faults that spoil octets."""
    if faults.take(FaultKind.DOUBLED_BYTE, command):
        at = faults.place(FaultKind.DOUBLED_BYTE, len(text))
        text = text[: at + 1] + text[at:]
    if faults.take(FaultKind.LOST_BYTE, command):
        at = faults.place(FaultKind.LOST_BYTE, len(text))
        text = text[:at] + text[at + 1 :]
    if faults.take(FaultKind.GARBAGE, command):
        text = b"\x00\xf8\x80~" + text
    return text


def truncated(lines: tuple[str, ...], faults: Faults, command: str) -> tuple[str, ...]:
    """An answer's information lines, of which the last may lose its second half and its end."""
    if not lines or not faults.take(FaultKind.TRUNCATED_LINE, command):
        return lines
    *others, last = lines
    return (*others, last[: (len(last) + 1) // 2])
