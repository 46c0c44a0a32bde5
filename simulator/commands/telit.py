"""Telit's own commands and call lines. Source: at-dialects §3.3, §3.7."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from simulator.cards.card import CardState
from simulator.commands.sim import card_of
from simulator.commands.voice import PlainCalls
from simulator.modem import Modem
from simulator.phone import Call
from simulator.wire.line import OK, Answer, Outcome
from simulator.wire.syntax import Command, Op

_IDLE: Final = 0
_CALLING: Final = 1
_ACTIVE: Final = 3
_ALERTING: Final = 6
_BUSY: Final = 7


class Calls(PlainCalls):
    """`#ECAM` lines once they were asked for; V.250's words besides."""

    def __init__(self, modem: Modem) -> None:
        super().__init__(modem)
        self._owner = modem

    def dialling(self, call: Call) -> list[str]:
        """The call leaves: its number is told here only."""
        return self._line(call, _CALLING)

    def alerting(self, call: Call) -> list[str]:
        """The other side rings."""
        return self._line(call, _ALERTING)

    def ringing(self, call: Call) -> list[str]:
        """A call has come in."""
        return self._line(call, _ALERTING)

    def connected(self, call: Call) -> list[str]:
        """Somebody answered."""
        return self._line(call, _ACTIVE)

    def ended(self, call: Call, *, seconds: int, cause: int, is_local: bool) -> list[str]:
        """The call is over."""
        plain = super().ended(call, seconds=seconds, cause=cause, is_local=is_local)
        busy = self._line(call, _BUSY) if cause == 17 and not is_local else []
        return [*busy, *self._line(call, _IDLE), *plain]

    def _line(self, call: Call, stat: int) -> list[str]:
        if self._owner.settings.get("#ECAM") != "1":
            return []
        number = f'"{call.plan.number}",{call.number_type}' if stat == _CALLING else ","
        return [f"#ECAM: 0,{stat},1,,,{number}"]


def _tries(modem: Modem, command: Command) -> Outcome:
    """`#PCT`: of the code that is asked for; once READY it is PIN2's, whatever PIN1 burns."""
    if command.op is Op.TEST:
        return OK
    card = card_of(modem)
    tries = {CardState.PIN: card.pin_tries, CardState.PUK: card.puk_tries, CardState.DEAD: 0}
    return Answer(lines=(f"#PCT: {tries.get(card.state, card.pin2_tries)}",))


def _card_stage(modem: Modem, command: Command) -> Outcome:
    """`#QSS`: 0 no card, 1 inserted, 2 PIN shown, 3 ready for messages and phone book."""
    match command.op:
        case Op.TEST:
            return Answer(lines=("#QSS: (0-2)",))
        case Op.READ:
            return Answer(lines=(f"#QSS: {modem.settings['#QSS']},{_stage(modem)}",))
    if command.text not in {"0", "1", "2"}:
        return Answer(final="ERROR")
    modem.settings["#QSS"] = command.text
    return OK


def _stage(modem: Modem) -> int:
    if modem.card is None:
        return 0
    if modem.card.state is not CardState.READY:
        return 1
    return 2 if modem.is_card_busy else 3


TABLE: Final[dict[str, Callable[[Modem, Command], Outcome]]] = {
    "#PCT": _tries,
    "#QSS": _card_stage,
}
