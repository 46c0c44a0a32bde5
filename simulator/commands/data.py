"""What a persona file says about single commands: fixed answers, errors, kept values.

An answer may name what is true now, in braces: `+QCCID: {iccid_padded}`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from simulator.card import Card, CardState
from simulator.line import OK, Answer, Outcome, Refused
from simulator.syntax import Command, Op

if TYPE_CHECKING:
    from simulator.modem import Modem

_NAME: Final = re.compile(r"\{([a-z][a-z0-9_]*)\}")


def _swapped(digits: str) -> str:
    return "".join(b + a for a, b in zip(digits[::2], digits[1::2], strict=True))


def _asked(card: Card) -> str:
    tries = {CardState.PIN: card.pin_tries, CardState.PUK: card.puk_tries}
    return str(tries.get(card.state, ""))


# What holds of the card, where there is one; the rest holds of the modem.
_OF_CARD: Final[Mapping[str, Callable[[Card], str]]] = {
    "iccid": lambda card: card.iccid.upper(),
    "iccid_padded": lambda card: card.iccid.upper().ljust(20, "F"),
    "iccid_lower": lambda card: card.iccid.ljust(20, "f"),
    "iccid_swapped": lambda card: _swapped(card.iccid.upper().ljust(20, "F")),
    "pin_state": lambda card: card.state.value,
    "pin_tries": lambda card: str(card.pin_tries),
    "puk_tries": lambda card: str(card.puk_tries),
    "asked_tries": _asked,
}


def fixed(modem: Modem, command: Command) -> Outcome | None:
    """What the persona's file says about this command; None where it says nothing.

    Raises:
        Refused: the file names an error, or the answer needs a card and there is none.
    """
    persona = modem.persona
    if not (persona.answers or persona.errors or persona.keeps):
        return None
    for key in (f"{command.key}{command.text}", command.key):
        final = persona.errors.get(key)
        if final is not None:
            raise Refused(final)
        lines = persona.answers.get(key)
        if lines is not None:
            return Answer(lines=tuple(_NAME.sub(_filler(modem), line) for line in lines))
    if command.name in persona.keeps:
        return _keep(modem, command)
    return None


def _filler(modem: Modem) -> Callable[[re.Match[str]], str]:
    def fill(match: re.Match[str]) -> str:
        name = match.group(1)
        if name in _OF_CARD:
            if modem.card is None:
                raise Refused(modem.persona.no_card)
            return _OF_CARD[name](modem.card)
        return _of_modem(modem, name) or match.group()

    return fill


def _of_modem(modem: Modem, name: str) -> str:
    match name:
        case "imei":
            return modem.imei
        case "model":
            return modem.persona.model
        case "registration":
            return str(modem.registration)
        case "has_card":
            return str(int(modem.card is not None))
    return ""


def _keep(modem: Modem, command: Command) -> Outcome:
    match command.op:
        case Op.TEST:
            return OK
        case Op.READ:
            return Answer(lines=(f"{command.name}: {modem.settings[command.name]}",))
    modem.settings[command.name] = command.text or modem.persona.keeps[command.name]
    return OK


FACTS: Final = tuple(sorted(("imei", "model", "registration", "has_card", *_OF_CARD)))
