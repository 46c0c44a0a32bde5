"""Quectel's own commands and call lines. Source: at-dialects §3.2, §3.3, §3.7, §3.8."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from simulator.commands.settings import keep
from simulator.commands.sim import card_of
from simulator.commands.voice import PlainCalls
from simulator.line import Answer, Outcome
from simulator.phone import Call
from simulator.syntax import Command, Op

if TYPE_CHECKING:
    from simulator.modem import Modem

_DIALLING: Final = 2
_CONNECTED: Final = 3
_INCOMING: Final = 4
_ENDED: Final = 6
_ALERTING: Final = 7


class Calls(PlainCalls):
    """`^DSCI` lines once they were asked for; NO CARRIER besides."""

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
        return self._line(call, _INCOMING)

    def connected(self, call: Call) -> list[str]:
        """Somebody answered."""
        return self._line(call, _CONNECTED)

    def ended(self, call: Call, *, seconds: int, cause: int, is_local: bool) -> list[str]:
        """The call is over."""
        plain = super().ended(call, seconds=seconds, cause=cause, is_local=is_local)
        return self._line(call, _ENDED) + plain

    def _line(self, call: Call, stat: int) -> list[str]:
        if self._owner.settings["^DSCI"] != "1":
            return []
        direction = int(call.is_incoming)
        return [f"^DSCI: {call.call_id},{direction},{stat},0,{call.plan.number},{call.number_type}"]


def _tries(modem: Modem, command: Command) -> Outcome:
    if command.op is Op.TEST:
        return Answer(lines=('+QPINC: ("SC","P2")',))
    card = card_of(modem)
    lines = (f'+QPINC: "SC",{card.pin_tries},{card.puk_tries}', '+QPINC: "P2",3,10')
    if command.op is Op.SET:
        return Answer(lines=(lines[0] if "SC" in command.text else lines[1],))
    return Answer(lines=lines)


def _iccid(modem: Modem, _command: Command) -> Outcome:
    return Answer(lines=(f"+QCCID: {card_of(modem).iccid.upper().ljust(20, 'F')}",))


def _initialised(modem: Modem, _command: Command) -> Outcome:
    is_ready = modem.card is not None and modem.card.state == "READY" and not modem.is_card_busy
    return Answer(lines=(f"+QINISTAT: {7 if is_ready else 1}",))


TABLE: Final = {
    "+QPINC": _tries,
    "+QCCID": _iccid,
    "+CCID": _iccid,
    "+QINISTAT": _initialised,
    "^DSCI": keep,
}
