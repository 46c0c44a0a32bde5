"""Cinterion's own commands and call lines. Source: at-dialects §3.3, §3.5, §3.7, §3.8, §6.6."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from simulator.cards.card import Card, CardState, Secret
from simulator.commands.sim import ask_card, card_of
from simulator.commands.voice import PlainCalls
from simulator.modem import Modem
from simulator.phone import Call
from simulator.wire.line import OK, Answer, Outcome, cme
from simulator.wire.syntax import Command, Op

_AIRPLANE: Final = "^SCFG/airplane"
_INDICATORS: Final = {
    "battchg": 5,
    "signal": 99,
    "service": 1,
    "sounder": 0,
    "message": 0,
    "call": 0,
    "roam": 0,
    "smsfull": 0,
    "rssi": 4,
    "simstatus": 5,
}
_FACILITIES: Final = {"SC": (Secret.PIN1, Secret.PUK1), "P2": (Secret.PIN2, Secret.PUK2)}
_NETWORK_LOCKS: Final = frozenset({"PS", "PN", "PU", "PP", "PC", "PF"})


class Calls(PlainCalls):
    """The list of calls at each change once it was asked for; an empty line ends the list."""

    def __init__(self, modem: Modem) -> None:
        super().__init__(modem)
        self._owner = modem

    def dialling(self, call: Call) -> list[str]:
        """The call leaves."""
        return self._list(call)

    def alerting(self, call: Call) -> list[str]:
        """The other side rings."""
        return self._list(call)

    def ringing(self, call: Call) -> list[str]:
        """A call has come in."""
        return self._list(call)

    def connected(self, call: Call) -> list[str]:
        """Somebody answered."""
        return self._list(call)

    def ended(self, call: Call, *, seconds: int, cause: int, is_local: bool) -> list[str]:
        """The call has vanished from the list."""
        plain = super().ended(call, seconds=seconds, cause=cause, is_local=is_local)
        return self._list(None) + plain

    def _list(self, call: Call | None) -> list[str]:
        # One block: clients take everything up to the empty entry for one event.
        return ["\r\n".join(calls(call))] if self._owner.settings.get("^SLCC") == "1" else []


def calls(call: Call | None) -> list[str]:
    """The lines of `^SLCC`."""
    found: list[str] = []
    if call is not None:
        facts = f"{call.call_id},{int(call.is_incoming)},{call.state.value},0,0,0"
        found.append(f'^SLCC: {facts},"{call.plan.number}",{call.number_type}')
    return [*found, "^SLCC: "]


def _current_calls(modem: Modem, command: Command) -> Outcome:
    match command.op:
        case Op.TEST:
            return Answer(lines=("^SLCC: (0,1)",))
        case Op.READ:
            return Answer(lines=(f"^SLCC: {modem.settings['^SLCC']}",))
        case Op.RUN:
            return Answer(lines=tuple(calls(modem.phone.call)))
    if command.text not in {"0", "1"}:
        raise cme(50)
    modem.settings["^SLCC"] = command.text
    return OK


def _cause(modem: Modem, _command: Command) -> Outcome:
    # Location (8: call control), cause, supplementary services. Source: at-dialects §3.7.
    return Answer(lines=(f"+CEER: 8,{modem.phone.last_cause},0",))


def _tries(modem: Modem, command: Command) -> Outcome:
    """`^SPIC`: tries of what is required; bare and READY of PIN2, whatever PIN1 burns.

    The write form names the facility, and with `1` its PUK; blocked, it counts the PUK's by itself.
    """
    card = card_of(modem)
    match command.op:
        case Op.TEST:
            return Answer(lines=('^SPIC: ("SC","PN","PS","P2"),(0,1)',))
        case Op.READ:
            return Answer(lines=(f"^SPIC: {_required(card)}",))
        case Op.RUN:
            return Answer(lines=(f"^SPIC: {_bare_tries(card)}",))
    facility, *rest = command.args or [""]
    if facility in _NETWORK_LOCKS:
        return Answer(lines=("^SPIC: 3",))
    if facility not in _FACILITIES:
        raise cme(50)
    pin, puk = _FACILITIES[facility]
    asks_puk = rest[:1] == ["1"] or card.tries(pin) == 0
    return Answer(lines=(f"^SPIC: {card.tries(puk if asks_puk else pin)}",))


def _bare_tries(card: Card) -> int:
    match card.state:
        case CardState.PIN:
            return card.pin_tries
        case CardState.PUK | CardState.DEAD:
            return card.puk_tries
    return card.pin2_tries or card.puk2_tries


def _required(card: Card) -> str:
    if card.state is CardState.READY:
        return "SIM PIN2" if card.pin2_tries else "SIM PUK2"
    return card.state.value


def _second_pin(modem: Modem, command: Command) -> Outcome:
    """`+CPIN2`: shows PIN2, or unblocks it with PUK2."""
    if command.op is Op.TEST:
        return OK
    card = card_of(modem)
    if command.op is Op.READ:
        return Answer(lines=(f"+CPIN2: {_required(card)}",))
    args = command.args
    if len(args) == 2:
        ask_card(modem, lambda card: card.unblock_pin2(args[0], args[1]))
    elif len(args) == 1:
        ask_card(modem, lambda card: card.verify_pin2(args[0]))
    else:
        raise cme(50)
    return OK


def _indicator(modem: Modem, command: Command) -> Outcome:
    """`^SIND`: each indicator has its own switch."""
    settings = modem.settings
    match command.op:
        case Op.TEST:
            listed = ",".join(f"({name},(0-5))" for name in _INDICATORS)
            return Answer(lines=(f"^SIND: {listed},(0-2)",))
        case Op.READ:
            lines = (
                f"^SIND: {name},{settings.get(f'^SIND/{name}', '0')},{value}"
                for name, value in _INDICATORS.items()
            )
            return Answer(lines=tuple(lines))
    name, mode = [*command.args, "", ""][:2]
    if name not in _INDICATORS or mode not in {"0", "1", "2"}:
        raise cme(50)
    if mode != "2":
        settings[f"^SIND/{name}"] = mode
        modem.start_noise()
    shown = settings.get(f"^SIND/{name}", "0")
    return Answer(lines=(f"^SIND: {name},{shown},{_INDICATORS[name]}",))


def _configuration(modem: Modem, command: Command) -> Outcome:
    """`^SCFG`: of its many names the one that wakes the modem without its radio."""
    settings = modem.settings
    value = "on" if settings[_AIRPLANE] == "1" else "off"
    line = f'^SCFG: "MEopMode/Airplane","{value}"'
    match command.op:
        case Op.TEST:
            return Answer(lines=('^SCFG: "MEopMode/Airplane",("off","on")',))
        case Op.READ:
            return Answer(lines=(line, '^SCFG: "Serial/Interface/Allocation","0","0"'))
    args = command.args
    if args[:1] != ["MEopMode/Airplane"]:
        raise cme(50)
    if len(args) > 1:
        if args[1] not in {"on", "off"}:
            raise cme(50)
        settings[_AIRPLANE] = str(int(args[1] == "on"))
        modem.set_radio(is_on=args[1] == "off")
        line = f'^SCFG: "MEopMode/Airplane","{args[1]}"'
    return Answer(lines=(line,))


def _signal(modem: Modem, command: Command) -> Outcome:
    if command.op is Op.TEST:
        return OK
    if not modem.is_registered:
        return Answer(lines=("^SMONI: 2G,Searching",))
    return Answer(lines=("^SMONI: 2G,71,-61,460,00,8BE3,2BAF,33,33,3,6,G,NOCONN",))


TABLE: Final[dict[str, Callable[[Modem, Command], Outcome]]] = {
    "^SLCC": _current_calls,
    "+CEER": _cause,
    "^SPIC": _tries,
    "+CPIN2": _second_pin,
    "^SIND": _indicator,
    "^SCFG": _configuration,
    "^SMONI": _signal,
}
