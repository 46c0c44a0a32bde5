"""Wavecom's own commands and call lines. Source: at-dialects §3.5, §3.7, §3.8."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from simulator.commands import basic, voice
from simulator.commands.voice import PlainCalls
from simulator.modem import Modem
from simulator.phone import Call
from simulator.wire.line import OK, Answer, Later, Outcome
from simulator.wire.syntax import Command, Op

_ALERT_BIT: Final = 2
_CREATED_BIT: Final = 16
_RELEASED_BIT: Final = 32


class Calls(PlainCalls):
    """`+WIND` lines under the bits of its mask; a call out has no result until it is answered."""

    def __init__(self, modem: Modem) -> None:
        super().__init__(modem)
        self._owner = modem
        self.finish: Callable[[Answer], None] | None = None

    def dialling(self, call: Call) -> list[str]:
        """The call has got its number."""
        return self._wind(_CREATED_BIT, f"5,{call.call_id}")

    def alerting(self, call: Call) -> list[str]:
        """The other side rings."""
        del call
        return self._wind(_ALERT_BIT, "2")

    def ringing(self, call: Call) -> list[str]:
        """A call has come in and has got its number."""
        return self._wind(_CREATED_BIT, f"5,{call.call_id}")

    def connected(self, call: Call) -> list[str]:
        """The result of the dialling that waits for it."""
        if not call.is_incoming:
            self._finished("OK")
        return []

    def ended(self, call: Call, *, seconds: int, cause: int, is_local: bool) -> list[str]:
        """The result of a dialling that was not answered, or the far end's; the number is free."""
        plain = super().ended(call, seconds=seconds, cause=cause, is_local=is_local)
        is_told = self._finished(plain[0] if plain else "OK")
        return ([] if is_told else plain) + self._wind(_RELEASED_BIT, f"6,{call.call_id}")

    def _finished(self, final: str) -> bool:
        finish, self.finish = self.finish, None
        if finish is not None:
            finish(Answer(final=final))
        return finish is not None

    def _wind(self, bit: int, what: str) -> list[str]:
        mask = self._owner.settings.get("+WIND", "")
        return [f"+WIND: {what}"] if mask.isdigit() and int(mask) & bit else []


def _dial(modem: Modem, command: Command) -> Outcome:
    ticket = modem.line.ticket()
    outcome = voice.TABLE["D"](modem, command)
    told = modem.phone.dialect
    if outcome is not OK or not isinstance(told, Calls) or modem.phone.call is None:
        return outcome
    told.finish = ticket
    return Later.LATER


def _functionality(modem: Modem, command: Command) -> Outcome:
    # Full functionality out of any other is a restart; a module that has it already stays up.
    if command.op is Op.SET and command.text == "1" and not modem.radio:
        modem.after(0.02, modem.reboot)
        return OK
    return basic.TABLE["+CFUN"](modem, command)


TABLE: Final[dict[str, Callable[[Modem, Command], Outcome]]] = {
    "D": _dial,
    "+CFUN": _functionality,
}
