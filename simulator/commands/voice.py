"""Call commands. Source: TS 27.007 §6, §7.6, §7.11, §7.18; at-dialects §3.7."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from simulator.commands import telling
from simulator.commands.settings import keep
from simulator.commands.sim import card_code
from simulator.modem import Modem
from simulator.persona import Moment
from simulator.phone import Call, CallState
from simulator.wire.line import OK, Answer, Outcome, Refused, cme
from simulator.wire.syntax import Command, Op


class PlainCalls:
    """A model without call lines of its own but what its file has; a client asks `+CLCC`."""

    def __init__(self, modem: Modem) -> None:
        self._modem = modem

    def dialling(self, call: Call) -> list[str]:
        """The call leaves."""
        return telling.of_call(self._modem, Moment.DIALLING, call)

    def alerting(self, call: Call) -> list[str]:
        """The other side rings."""
        return telling.of_call(self._modem, Moment.ALERTING, call)

    def ringing(self, call: Call) -> list[str]:
        """Lines beside RING."""
        return telling.of_call(self._modem, Moment.RINGING, call)

    def connected(self, call: Call) -> list[str]:
        """Somebody answered."""
        return telling.of_call(self._modem, Moment.CONNECTED, call)

    def ended(self, call: Call, *, seconds: int, cause: int, is_local: bool) -> list[str]:
        """The far end's hang-up, in V.250's words."""
        told = telling.of_call(self._modem, Moment.ENDED, call, talked=seconds, cause=cause)
        if is_local:
            return told
        plain = {17: "BUSY", 19: "NO ANSWER"}.get(cause, self._modem.persona.call_end)
        return [*told, plain]


# Source: Q.850 §2.2.7; at-dialects §3.7.
_CAUSES: Final = {
    0: "No cause information available",
    1: "Unassigned number",
    8: "Operator determined barring",
    16: "Normal call clearing",
    17: "User busy",
    18: "No user responding",
    19: "User alerting, no answer",
    21: "Call rejected",
    27: "Destination out of order",
    28: "Invalid number format",
    34: "No circuit or channel available",
    41: "Temporary failure",
    42: "Switching equipment congestion",
}


def _dial(modem: Modem, command: Command) -> Outcome:
    # A code for the card works before its PIN, too.
    done = card_code(modem, command.text)
    if done is not None:
        return done
    card = modem.require_card()
    # 6 and 7 are registered for SMS only. Source: TS 27.007 §7.2.
    if not modem.is_registered or modem.registration in {6, 7}:
        raise Refused("NO CARRIER")
    number = "".join(char for char in command.text if char in "+0123456789*#")
    if not number:
        raise cme(27)
    # V.250 / TS 27.007 §6.2: `I` withholds the number for this call, `i` shows it.
    is_withheld = modem.settings["+CLIR"] == "1"
    if "I" in command.text or "i" in command.text:
        is_withheld = "I" in command.text
    if not modem.world.network.call(card, modem, number, is_withheld=is_withheld):
        raise cme(3)
    return OK


def _answer(modem: Modem, _command: Command) -> Outcome:
    if not modem.phone.answer():
        raise Refused("NO CARRIER")
    return OK


def _hang_up(modem: Modem, command: Command) -> Outcome:
    if command.op is Op.RUN:
        modem.phone.hang_up()
    return OK


def _current_calls(modem: Modem, command: Command) -> Outcome:
    if command.op is not Op.RUN:
        if modem.persona.vendor != "simcom":
            return OK if command.op is Op.TEST else Answer(final="ERROR")
        return keep(modem, command)
    call = modem.phone.call
    return Answer(lines=(clcc(call),) if call is not None else ())


def clcc(call: Call, *, stat: int | None = None) -> str:
    """One line of `+CLCC`."""
    state = call.state.value if stat is None else stat
    number = f'"{call.plan.number}",{call.number_type}'
    return f'+CLCC: {call.call_id},{int(call.is_incoming)},{state},0,0,{number},""'


def _ring_type(modem: Modem, command: Command) -> Outcome:
    answer = keep(modem, command)
    modem.phone.ring_type = modem.settings["+CRC"] == "1"
    return answer


def _caller(modem: Modem, command: Command) -> Outcome:
    if command.op is Op.READ:
        return Answer(lines=(f"+CLIP: {modem.settings['+CLIP']},1",))
    answer = keep(modem, command)
    modem.phone.shows_caller = modem.settings["+CLIP"] == "1"
    return answer


def _tone(modem: Modem, command: Command) -> Outcome:
    if command.op is Op.TEST:
        return Answer(lines=("+VTS: (0-9,*,#,A,B,C,D)",))
    call = modem.phone.call
    if call is None or call.state is not CallState.ACTIVE:
        raise cme(3)
    return OK


def _cause(modem: Modem, _command: Command) -> Outcome:
    return Answer(lines=(f"+CEER: {_CAUSES.get(modem.phone.last_cause, 'Network ended call')}",))


TABLE: Final[dict[str, Callable[[Modem, Command], Outcome]]] = {
    "D": _dial,
    "A": _answer,
    "H": _hang_up,
    "+CHUP": _hang_up,
    "+CLCC": _current_calls,
    "+CRC": _ring_type,
    "+CLIP": _caller,
    "+VTS": _tone,
    "+CEER": _cause,
}
