"""ZTE's own commands and call lines. Source: at-dialects §3.3, §3.5, §3.7, §3.8, §6.1."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final, TypeAlias

from simulator.commands import settings, sms, voice
from simulator.modem import Modem
from simulator.phone import Call
from simulator.wire.line import OK, Answer, Later, Outcome, Prompt, cme, cms
from simulator.wire.syntax import Command, Op

_Handler: TypeAlias = Callable[["Modem", Command], Outcome]

_FLOOD: Final = "+ZUSIMR"
_REJECTED: Final = 21


class Calls:
    """A call that goes out has no result until it is answered (`CONNECT`); ends say `HANGUP:`."""

    def __init__(self) -> None:
        self.finish: Callable[[Answer], None] | None = None

    def dialling(self, call: Call) -> list[str]:
        """Nothing is said."""
        del call
        return []

    def alerting(self, call: Call) -> list[str]:
        """Nothing is said."""
        del call
        return []

    def ringing(self, call: Call) -> list[str]:
        """Nothing beside RING."""
        del call
        return []

    def connected(self, call: Call) -> list[str]:
        """The result of the dialling that waits for it."""
        if call.is_incoming:
            return []
        return [] if self._finished("CONNECT") else ["CONNECT"]

    def ended(self, call: Call, *, seconds: int, cause: int, is_local: bool) -> list[str]:
        """`HANGUP: cause`; a call that was rejected, or never answered, ends its dialling."""
        del seconds
        self._finished("OK" if cause == _REJECTED or is_local else "NO CARRIER")
        return [f"HANGUP: {cause}", f"+ZCEND:{call.call_id}"]

    def _finished(self, final: str) -> bool:
        finish, self.finish = self.finish, None
        if finish is not None:
            finish(Answer(final=final))
        return finish is not None


def _dial(modem: Modem, command: Command) -> Outcome:
    ticket = modem.line.ticket()
    calls = modem.phone.dialect
    outcome = voice.TABLE["D"](modem, command)
    if outcome is not OK or not isinstance(calls, Calls) or modem.phone.call is None:
        return outcome
    calls.finish = ticket
    return Later.LATER


def _memories(modem: Modem, command: Command) -> Outcome:
    # Being asked for its stores is what ends the flood.
    if command.op is Op.READ:
        modem.settings[_FLOOD] = "0"
        modem.stop_noise()
    return sms.TABLE["+CPMS"](modem, command)


def _text_parameters(modem: Modem, command: Command) -> Outcome:
    outcome = settings.keep(modem, command)
    if command.op is Op.SET:
        modem.settings["+CSCA"] = ""
    return outcome


def _send(modem: Modem, command: Command) -> Outcome:
    """`+CMGS`: without a service centre in the modem a PDU has to bring its own."""
    outcome = sms.TABLE["+CMGS"](modem, command)
    if not isinstance(outcome, Prompt) or modem.settings.get("+CSCA") != "":
        return outcome

    def take(payload: bytes) -> Answer | Later:
        if outcome.is_text or payload.lstrip().startswith(b"00"):
            raise cms(330)
        return outcome.take(payload)

    return replace(outcome, take=take)


def _mode(modem: Modem, command: Command) -> Outcome:
    """`+ZOPRT`: 5 online, 6 offline."""
    match command.op, command.text:
        case Op.SET, "5":
            if not modem.radio:
                modem.set_radio(is_on=True)
        case Op.SET, "6":
            modem.set_radio(is_on=False)
        case Op.TEST, _:
            return Answer(lines=("+ZOPRT: (5,6)",))
        case Op.READ, _:
            return Answer(lines=(f"+ZOPRT: {5 if modem.radio else 6}",))
        case _:
            raise cme(50)
    return OK


TABLE: Final[Mapping[str, _Handler]] = {
    "D": _dial,
    "+CPMS": _memories,
    "+CSMP": _text_parameters,
    "+CMGS": _send,
    "+ZOPRT": _mode,
}
