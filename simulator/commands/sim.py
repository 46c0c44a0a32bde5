"""Card commands: PIN and locks. Source: TS 27.007 §7.1, §7.4, §7.5, §8.3, §8.65."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from simulator.cards.card import Card, CardState, PinRefused
from simulator.commands import cardfiles, telling
from simulator.faults import FaultKind
from simulator.modem import Modem
from simulator.wire.line import OK, Answer, Outcome, Refused, cme
from simulator.wire.syntax import Command, Op

_LOCKS: Final = frozenset({"PS", "PN", "PU", "PP", "PC", "AO", "OI", "OX", "AI", "IR"})
_CODE: Final = re.compile(r"\*\*0(42?|52?)\*(\d*)\*(\d*)\*(\d*)#")


def card_of(modem: Modem) -> Card:
    """The card, in whatever state.

    Raises:
        Refused: there is none.
    """
    if modem.card is None:
        raise Refused(modem.persona.no_card)
    return modem.card


def iccid_of(modem: Modem) -> str:
    """The card's number as this modem reads it, in capitals and without filler.

    Raises:
        Refused: there is no card.
    """
    return cardfiles.iccid_octets(modem, card_of(modem)).rstrip("F")


def ask_card(modem: Modem, act: Callable[[Card], None]) -> None:
    """Have the card verify or change a secret, and tell what becomes of it.

    Raises:
        Refused: the card did; a try may be burnt.
    """
    card = card_of(modem)
    before = card.state
    try:
        act(card)
    except PinRefused as refusal:
        if card.state is not before:
            telling.tell_state(modem)
            if before is CardState.READY:
                # Blocked in mid-session: the modem loses the network with its card.
                modem.search_again()
        raise cme(refusal.cme) from refusal
    if card.state is CardState.READY and before is not CardState.READY:
        modem.pin_shown()


def card_code(modem: Modem, dialled: str) -> Outcome | None:
    """What a code dialled as `**05*puk*new*new#` does; None where it is no such code.

    `**04*` changes PIN1, `**042*` PIN2, `**05*` unblocks PIN1, `**052*` PIN2.
    Source: TS 22.030 §6.6.

    Raises:
        Refused: the card did; 3 the new PIN was not typed twice alike.
    """
    match = _CODE.fullmatch(dialled.rstrip(";"))
    if match is None:
        return None
    what, old, new, again = match.groups()
    if new != again:
        raise cme(3)
    acts: dict[str, Callable[[Card], None]] = {
        "4": lambda card: card.change_pin(old, new),
        "42": lambda card: card.change_pin2(old, new),
        "5": lambda card: card.unblock(old, new),
        "52": lambda card: card.unblock_pin2(old, new),
    }
    ask_card(modem, acts[what])
    return OK


def _pin(modem: Modem, command: Command) -> Outcome:
    if command.op is Op.TEST:
        return OK
    card = card_of(modem)
    if command.op is Op.READ:
        return _pin_state(modem, card)
    args = command.args
    if not 1 <= len(args) <= 2:
        raise cme(50)
    if len(args) == 2:
        ask_card(modem, lambda card: card.enter_puk(args[0], args[1]))
    elif card.state is CardState.PUK:
        raise cme(12)
    else:
        ask_card(modem, lambda card: card.enter_pin(args[0]))
    return OK


def _pin_state(modem: Modem, card: Card) -> Answer:
    persona = modem.persona
    if card.state is CardState.DEAD:
        raise cme(13)
    if (modem.is_card_busy and persona.cpin_is_busy) or modem.faults.take(FaultKind.SIM_BUSY):
        raise Refused(persona.busy_card)
    # Wavecom leaves the final result out. Source: at-dialects §3.3.
    return Answer(lines=(f"+CPIN: {card.state.value}",), final="OK" if persona.cpin_has_ok else "")


def _lock(modem: Modem, command: Command) -> Outcome:
    if command.op is Op.TEST:
        return Answer(lines=('+CLCK: ("SC","FD","PN","PU","PP","PC","AO","OI","AI","IR")',))
    args = command.args
    if len(args) < 2:
        raise cme(50)
    facility, mode = args[0], args[1]
    if facility in _LOCKS and mode == "2":
        return Answer(lines=("+CLCK: 0",))
    if facility not in {"SC", "FD"} or mode not in {"0", "1", "2"}:
        raise cme(4)
    card = card_of(modem)
    if mode == "2":
        is_on = card.is_locked if facility == "SC" else modem.settings.get("FD") == "1"
        return Answer(lines=(f"+CLCK: {int(is_on)}",))
    if len(args) < 3:
        raise cme(50)
    if facility == "SC":
        ask_card(modem, lambda card: card.set_lock(enabled=mode == "1", pin=args[2]))
    else:
        # Fixed dialling is switched with PIN2, and burns its tries.
        ask_card(modem, lambda card: card.verify_pin2(args[2]))
        modem.settings["FD"] = mode
    return OK


def _password(modem: Modem, command: Command) -> Outcome:
    if command.op is Op.TEST:
        return Answer(lines=('+CPWD: ("SC",8),("P2",8)',))
    args = command.args
    if len(args) != 3 or args[0] not in {"SC", "P2"}:
        raise cme(50)
    if args[0] == "SC":
        ask_card(modem, lambda card: card.change_pin(args[1], args[2]))
    else:
        ask_card(modem, lambda card: card.change_pin2(args[1], args[2]))
    return OK


def _imsi(modem: Modem, command: Command) -> Outcome:
    if command.op is Op.TEST:
        return OK
    return Answer(lines=(modem.require_card().subscription.imsi,))


def _own_number(modem: Modem, command: Command) -> Outcome:
    if command.op is Op.TEST:
        return OK
    data = modem.require_card().subscription
    if not data.stores_number:
        # The usual card: only OK.
        return OK
    kind = 145 if data.number.startswith("+") else 129
    line = modem.persona.own_number_line
    facts = {"{alpha}": data.alpha, "{number}": data.number, "{type}": str(kind)}
    for word, value in facts.items():
        line = line.replace(word, value)
    return Answer(lines=(line,))


def _tries(modem: Modem, command: Command) -> Outcome:
    if command.op is Op.TEST:
        return OK
    card = card_of(modem)
    return Answer(
        lines=(
            f"+CPINR: SIM PIN,{card.pin_tries},3",
            f"+CPINR: SIM PUK,{card.puk_tries},10",
            f"+CPINR: SIM PIN2,{card.pin2_tries},3",
            f"+CPINR: SIM PUK2,{card.puk2_tries},10",
        )
    )


TABLE: Final = {
    "+CPIN": _pin,
    "+CLCK": _lock,
    "+CPWD": _password,
    "+CIMI": _imsi,
    "+CNUM": _own_number,
    **cardfiles.TABLE,
}
RELEASE_9: Final = {"+CPINR": _tries}
