"""u-blox's own call lines and causes. Source: at-dialects §3.7."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from simulator.commands.voice import PlainCalls
from simulator.modem import Modem
from simulator.phone import Call
from simulator.wire.line import Answer, Outcome
from simulator.wire.syntax import Command

_ACTIVE: Final = 0
_DIALLING: Final = 2
_ALERTING: Final = 3
_RINGING: Final = 4
_DISCONNECTED: Final = 6
_CONNECTED: Final = 7

_CAUSES: Final = {
    16: ("Call cleared", "Normal call clearing"),
    17: ("CC setup error", "User busy"),
    19: ("CC setup error", "User alerting, no answer"),
    21: ("CC setup error", "Call rejected"),
}


class Calls(PlainCalls):
    """`+UCALLSTAT` lines once they were asked for; V.250's words besides."""

    def __init__(self, modem: Modem) -> None:
        super().__init__(modem)
        self._owner = modem

    def dialling(self, call: Call) -> list[str]:
        """The call leaves."""
        return self._line(call, _DIALLING)

    def alerting(self, call: Call) -> list[str]:
        """The other side rings."""
        return self._line(call, _ALERTING)

    def ringing(self, call: Call) -> list[str]:
        """A call has come in."""
        return self._line(call, _RINGING)

    def connected(self, call: Call) -> list[str]:
        """Somebody answered: a call out is connected first, then active."""
        first = [] if call.is_incoming else self._line(call, _CONNECTED)
        return first + self._line(call, _ACTIVE)

    def ended(self, call: Call, *, seconds: int, cause: int, is_local: bool) -> list[str]:
        """The call is over."""
        plain = super().ended(call, seconds=seconds, cause=cause, is_local=is_local)
        return self._line(call, _DISCONNECTED) + plain

    def _line(self, call: Call, stat: int) -> list[str]:
        if self._owner.settings.get("+UCALLSTAT") != "1":
            return []
        return [f"+UCALLSTAT: {call.call_id},{stat}"]


def _cause(modem: Modem, _command: Command) -> Outcome:
    cause = modem.phone.last_cause
    if not cause:
        return Answer(lines=('+CEER: "No report available"',))
    where, why = _CAUSES.get(cause, ("CC setup error", "Interworking, unspecified"))
    return Answer(lines=(f'+CEER: "{where}",{cause},"{why}"',))


TABLE: Final[dict[str, Callable[[Modem, Command], Outcome]]] = {
    "+CEER": _cause,
}
