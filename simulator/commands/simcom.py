"""SIMCom's own commands and call lines. Source: at-dialects §3.2, §3.3, §3.7, §3.8."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from simulator.commands.settings import keep
from simulator.commands.voice import PlainCalls, clcc
from simulator.modem import Modem
from simulator.phone import Call
from simulator.wire.line import Answer, Outcome, cme
from simulator.wire.syntax import Command

_RELEASED: Final = 6


class Calls(PlainCalls):
    """`+CLCC` lines once they were asked for; LTE models say `VOICE CALL:` besides."""

    def __init__(self, modem: Modem) -> None:
        super().__init__(modem)
        self._owner = modem

    def dialling(self, call: Call) -> list[str]:
        """The call leaves."""
        return self._line(call)

    def alerting(self, call: Call) -> list[str]:
        """The other side rings."""
        ring = ["MO RING"] if self._owner.settings["+MORING"] == "1" else []
        return ring + self._line(call)

    def ringing(self, call: Call) -> list[str]:
        """A call has come in."""
        return self._line(call)

    def connected(self, call: Call) -> list[str]:
        """Somebody answered."""
        lines = ["VOICE CALL: BEGIN"] if self._is_lte else []
        if not call.is_incoming and self._owner.settings["+MORING"] == "1":
            lines.append("MO CONNECTED")
        return lines + self._line(call)

    def ended(self, call: Call, *, seconds: int, cause: int, is_local: bool) -> list[str]:
        """The call is over."""
        lines = self._line(call, stat=_RELEASED)
        if self._is_lte:
            lines.append(f"VOICE CALL: END: {seconds:06d}" if call.answered else "VOICE CALL: END")
            if call.is_incoming and not call.answered and not is_local:
                lines.append(f"MISSED_CALL: {call.started:%I:%M%p} {call.plan.number}")
        return lines + super().ended(call, seconds=seconds, cause=cause, is_local=is_local)

    @property
    def _is_lte(self) -> bool:
        return self._owner.persona.has_eps

    def _line(self, call: Call, *, stat: int | None = None) -> list[str]:
        if self._owner.settings["+CLCC"] != "1":
            return []
        return [clcc(call, stat=stat)]


def _power_down(modem: Modem, command: Command) -> Outcome:
    """`+CPOWD=1`: the last words stand in place of a result."""
    if command.text not in {"0", "1"}:
        raise cme(50)
    modem.power_down()
    return Answer(final="")


TABLE: Final[Mapping[str, Callable[[Modem, Command], Outcome]]] = {
    "+MORING": keep,
    "+CPOWD": _power_down,
}
