"""Huawei's own commands and call lines. Source: at-dialects §3.3, §3.5, §3.7, §3.8."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from simulator.commands import basic, settings, sim, sms, variants
from simulator.modem import Modem
from simulator.phone import Call
from simulator.wire.line import OK, Answer, Later, Outcome, cme
from simulator.wire.syntax import Command, Op

_Handler: TypeAlias = Callable[["Modem", Command], Outcome]

_OFFLINE: Final = frozenset({"5", "7"})
_RESET: Final = "16"


class Calls:
    """`^ORIG`, `^CONF`, `^CONN`, `^CEND`: said without being asked."""

    def dialling(self, call: Call) -> list[str]:
        """The call leaves."""
        return [f"^ORIG:{call.call_id},0"]

    def alerting(self, call: Call) -> list[str]:
        """The other side rings."""
        return [f"^CONF:{call.call_id}"]

    def ringing(self, call: Call) -> list[str]:
        """Nothing beside RING."""
        del call
        return []

    def connected(self, call: Call) -> list[str]:
        """Somebody answered."""
        return [f"^CONN:{call.call_id},0"]

    def ended(self, call: Call, *, seconds: int, cause: int, is_local: bool) -> list[str]:
        """29 = ended here, 104 = ended by the network; then the Q.850 cause."""
        return [f"^CEND:{call.call_id},{seconds},{29 if is_local else 104},{cause}"]


def _chatter(modem: Modem, command: Command) -> Outcome:
    answer = settings.keep(modem, command)
    modem.stop_noise()
    modem.start_noise()
    return answer


def _functionality(modem: Modem, command: Command) -> Outcome:
    """`+CFUN` with Huawei's levels: 5 and 7 are offline, 16 is a reset."""
    if command.op is Op.SET and command.args[:1] == [_RESET]:
        return basic.reboot(modem, command)
    if command.op is Op.SET and command.args and command.args[0] in _OFFLINE:
        modem.set_radio(is_on=False)
        return OK
    return basic.TABLE["+CFUN"](modem, command)


def _transmitter(modem: Modem, command: Command) -> Outcome:
    """`^RFSWITCH=0|1`; read: software switch, hardware switch."""
    match command.op, command.text:
        case Op.SET, "0" | "1":
            modem.set_radio(is_on=command.text == "1")
            return OK
        case Op.READ, _:
            return Answer(lines=(f"^RFSWITCH:{int(modem.radio)},1",))
        case Op.TEST, _:
            return Answer(lines=("^RFSWITCH:(0,1)",))
    raise cme(50)


def _crash(modem: Modem, _command: Command) -> Outcome:
    modem.reboot()
    return Later.LATER


def _with_blank_lines(handler: _Handler) -> _Handler:
    def carry_out(modem: Modem, command: Command) -> Outcome:
        outcome = handler(modem, command)
        if not isinstance(outcome, Answer) or not outcome.lines:
            return outcome
        spread = tuple(part for line in outcome.lines for part in (line, ""))
        return Answer(lines=spread, final=outcome.final)

    return carry_out


def _only_when_ready(handler: _Handler) -> _Handler:
    def carry_out(modem: Modem, command: Command) -> Outcome:
        # Asked before it has read the card, this firmware falls over.
        if modem.is_card_busy and command.op is not Op.TEST:
            return _crash(modem, command)
        return handler(modem, command)

    return carry_out


TABLE: Final[Mapping[str, _Handler]] = {
    "^CURC": _chatter,
    "^RESET": basic.reboot,
    "^RFSWITCH": _transmitter,
    "+CFUN": _functionality,
}
MODELS: Final[Mapping[str, Mapping[str, _Handler]]] = {
    "E173": {
        "+CPMS": _only_when_ready(sms.TABLE["+CPMS"]),
        "+CMGL": _only_when_ready(sms.TABLE["+CMGL"]),
        "+CMGS": _only_when_ready(sms.TABLE["+CMGS"]),
        "+CIMI": _only_when_ready(sim.TABLE["+CIMI"]),
    },
    "E1752": {
        "+CMGL": _with_blank_lines(sms.TABLE["+CMGL"]),
        "+CMGR": _with_blank_lines(variants.read_message),
        "+CPMS": _with_blank_lines(sms.TABLE["+CPMS"]),
    },
    "MU609": {"^GETPORTMODE": _crash},
}
