"""Quectel's own commands and call lines. Source: at-dialects §2.2, §3.3, §3.5, §3.7."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from simulator import pdu
from simulator.commands import submit
from simulator.commands.settings import keep
from simulator.commands.sim import card_of
from simulator.commands.voice import PlainCalls
from simulator.modem import Modem
from simulator.persona import PortRole
from simulator.phone import Call
from simulator.wire.line import OK, Answer, Outcome, cme, cms
from simulator.wire.syntax import Command, Op

_DIALLING: Final = 2
_CONNECTED: Final = 3
_INCOMING: Final = 4
_ENDED: Final = 6
_ALERTING: Final = 7
# What `+QIND: "ccinfo"` calls them: the states of +CLCC, -1 = gone.
_LISTED: Final = {_DIALLING: 2, _CONNECTED: 0, _INCOMING: 4, _ENDED: -1, _ALERTING: 3}
_PORTS: Final = {"usbat": PortRole.AT, "usbmodem": PortRole.MODEM}
_INDICATIONS: Final = ("all", "csq", "smsfull", "ring", "smsincoming", "ccinfo", "act")


class Calls(PlainCalls):
    """`^DSCI` and `+QIND: "ccinfo"` lines once they were asked for; NO CARRIER besides."""

    def __init__(self, modem: Modem) -> None:
        super().__init__(modem)
        self._owner = modem

    def dialling(self, call: Call) -> list[str]:
        """The call leaves."""
        return self._lines(call, _DIALLING)

    def alerting(self, call: Call) -> list[str]:
        """The other side rings."""
        return self._lines(call, _ALERTING)

    def ringing(self, call: Call) -> list[str]:
        """A call has come in."""
        return self._lines(call, _INCOMING)

    def connected(self, call: Call) -> list[str]:
        """Somebody answered."""
        return self._lines(call, _CONNECTED)

    def ended(self, call: Call, *, seconds: int, cause: int, is_local: bool) -> list[str]:
        """The call is over."""
        plain = super().ended(call, seconds=seconds, cause=cause, is_local=is_local)
        return self._lines(call, _ENDED) + plain

    def _lines(self, call: Call, stat: int) -> list[str]:
        settings = self._owner.settings
        direction = int(call.is_incoming)
        number = call.plan.number
        lines: list[str] = []
        if settings["^DSCI"] == "1":
            place = f"{call.call_id},{direction},{stat},0"
            lines.append(f"^DSCI: {place},{number},{call.number_type}")
        if is_indicated(self._owner, "ccinfo"):
            place = f"{call.call_id},{direction},{_LISTED[stat]},0,0"
            lines.append(f'+QIND: "ccinfo",{place},"{number}",{call.number_type}')
        return lines


def is_indicated(modem: Modem, what: str) -> bool:
    """True where `+QINDCFG` switched this kind of `+QIND` on."""
    chosen = modem.settings.get(f"+QINDCFG/{what}", "0")
    return chosen == "1" and modem.settings.get("+QINDCFG/all", "1") == "1"


def _indications(modem: Modem, command: Command) -> Outcome:
    match command.op:
        case Op.TEST:
            names = ",".join(f'"{name}"' for name in _INDICATIONS)
            return Answer(lines=(f"+QINDCFG: ({names}),(0,1),(0,1)",))
        case Op.SET if command.args and command.args[0] in _INDICATIONS:
            name, *values = command.args
            if not values:
                value = modem.settings.get(f"+QINDCFG/{name}", "0")
                return Answer(lines=(f'+QINDCFG: "{name}",{value}',))
            if values[0] not in {"0", "1"}:
                raise cme(50)
            modem.settings[f"+QINDCFG/{name}"] = values[0]
            return OK
    raise cme(50)


def _urc_port(modem: Modem, command: Command) -> Outcome:
    """`+QURCCFG="urcport"[,port]`: where unsolicited lines come; it outlives restarts."""
    if command.op is Op.TEST:
        return Answer(lines=('+QURCCFG: "urcport",("usbat","usbmodem","uart1","all")',))
    args = command.args
    if args[:1] != ["urcport"]:
        raise cme(50)
    if len(args) == 1:
        name = next(name for name, role in _PORTS.items() if role is modem.urc_role)
        return Answer(lines=(f'+QURCCFG: "urcport","{name}"',))
    role = _PORTS.get(args[1])
    if role is None or role not in modem.lines:
        raise cme(50)
    modem.stop_noise()
    modem.urc_role = role
    modem.start_noise()
    return OK


def _tries(modem: Modem, command: Command) -> Outcome:
    if command.op is Op.TEST:
        return Answer(lines=('+QPINC: ("SC","P2")',))
    card = card_of(modem)
    lines = (f'+QPINC: "SC",{card.pin_tries},{card.puk_tries}', '+QPINC: "P2",3,10')
    if command.op is Op.SET:
        return Answer(lines=(lines[0] if "SC" in command.text else lines[1],))
    return Answer(lines=lines)


def _long_text(modem: Modem, command: Command) -> Outcome:
    """`+QCMGS="number"[,toda][,uid,part,parts]`: in text mode, one part of a long text.

    Raises:
        Refused: 302 not in text mode, 305 senseless parameters, else as `+CMGS`.
    """
    if command.op is Op.TEST:
        return OK
    if modem.settings["+CMGF"] != "1":
        raise cms(302)
    number, *rest = command.args or [""]
    plain = Command(name="+CMGS", op=Op.SET, text=f'"{number}"')
    outcome = submit.TABLE["+CMGS"](modem, plain)
    if len(rest) < 3:
        return outcome
    numbers = [int(arg) for arg in rest[-3:] if arg.isascii() and arg.isdigit()]
    if len(numbers) != 3 or max(numbers) > 255 or not 1 <= numbers[1] <= numbers[2]:
        raise cms(305)
    concat = pdu.Concat(reference=numbers[0], sequence=numbers[1], total=numbers[2])
    return submit.text_prompt(modem, number, concat)


TABLE: Final[Mapping[str, Callable[[Modem, Command], Outcome]]] = {
    "+QCMGS": _long_text,
    "+QPINC": _tries,
    "+QINDCFG": _indications,
    "+QURCCFG": _urc_port,
    "^DSCI": keep,
}
