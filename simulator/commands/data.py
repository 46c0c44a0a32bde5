"""What a persona file says about single commands: fixed answers, errors, kept values.

An answer may name what is true now, in braces: `+QCCID: {iccid_padded}`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from simulator.cards.card import Card, CardState, Subscription
from simulator.commands import cardfiles
from simulator.modem import Modem
from simulator.wire.line import OK, Answer, Outcome, Refused, cme
from simulator.wire.syntax import Command, Op

_NAME: Final = re.compile(r"\{([a-z][a-z0-9_]*|=[+^*#A-Z0-9]+)\}")


def _swapped(digits: str) -> str:
    return "".join(b + a for a, b in zip(digits[::2], digits[1::2], strict=True))


def _asked(card: Card) -> str:
    tries = {CardState.PIN: card.pin_tries, CardState.PUK: card.puk_tries}
    return str(tries.get(card.state, ""))


def _readable(card: Card) -> Subscription:
    if card.state is not CardState.READY:
        raise cme(11)
    return card.subscription


# The card's number as the modem reads it: 20 digits with filler.
_OF_ICCID: Final[Mapping[str, Callable[[str], str]]] = {
    "iccid": lambda digits: digits.rstrip("F"),
    "iccid_padded": lambda digits: digits,
    "iccid_lower": lambda digits: digits.rstrip("F").ljust(20, "f"),
    "iccid_swapped": _swapped,
}

# What holds of the card, where there is one; the rest holds of the modem.
_OF_CARD: Final[Mapping[str, Callable[[Card], str]]] = {
    "pin_state": lambda card: card.state.value,
    "pin_tries": lambda card: str(card.pin_tries),
    "puk_tries": lambda card: str(card.puk_tries),
    "pin2_tries": lambda card: str(card.pin2_tries),
    "puk2_tries": lambda card: str(card.puk2_tries),
    "asked_tries": _asked,
    "number": lambda card: _readable(card).number,
    "provider": lambda card: _readable(card).provider,
    "imsi": lambda card: _readable(card).imsi,
    "plmn": lambda card: _readable(card).imsi[:5],
}


def fixed(modem: Modem, command: Command) -> Outcome | None:
    """What the persona's file says about this command; None where it says nothing.

    Raises:
        Refused: the file names an error, or the answer needs a card and there is none.
    """
    persona = modem.persona
    if not (persona.answers or persona.errors or persona.keeps or persona.resets):
        return None
    for key in (f"{command.key}{command.text}", command.key):
        final = persona.errors.get(key)
        if final is not None:
            raise Refused(final)
        lines = persona.answers.get(key)
        is_end = key in persona.resets or key in persona.offs
        if is_end:
            _end(modem, is_for_good=key in persona.offs)
        if is_end or lines is not None:
            return Answer(lines=tuple(filled(modem, line) for line in lines or ()))
    if command.name in persona.keeps:
        return _keep(modem, command)
    return None


def _end(modem: Modem, *, is_for_good: bool) -> None:
    if is_for_good:
        modem.power_down()
    else:
        # The OK goes out first; the line falls silent with the next turn of the clock.
        modem.world.clock.call_later(0.02, modem.reboot)


def filled(modem: Modem, line: str) -> str:
    """The line with what is true now in place of the names in braces.

    Raises:
        Refused: a name is of a card, and there is none, or it needs its PIN.
    """
    return _NAME.sub(_filler(modem), line) if "{" in line else line


def require_power(modem: Modem) -> None:
    """Where `+CFUN=0` takes the card's power away, the card is then as good as gone.

    Raises:
        Refused: it is off.
    """
    if modem.persona.card_needs_radio and modem.settings.get("+CFUN") == "0":
        raise Refused(modem.persona.no_card)


def _filler(modem: Modem) -> Callable[[re.Match[str]], str]:
    def fill(match: re.Match[str]) -> str:
        name = match.group(1)
        if name in _OF_ICCID or name in _OF_CARD:
            if modem.card is None:
                raise Refused(modem.persona.no_card)
            require_power(modem)
            if name in _OF_ICCID:
                return _OF_ICCID[name](cardfiles.iccid_octets(modem, modem.card))
            return _OF_CARD[name](modem.card)
        return _of_modem(modem, name) or match.group()

    return fill


def _of_modem(modem: Modem, name: str) -> str:
    if name.startswith("="):
        return modem.settings.get(name[1:], "")
    tell = _facts_of(modem).get(name)
    return tell() if tell is not None else ""


def _facts_of(modem: Modem) -> dict[str, Callable[[], str]]:
    """What holds of the modem; `{=+NAME}` is a setting's value."""
    clock = modem.world.clock
    return {
        "imei": lambda: modem.imei,
        "imei14": lambda: modem.imei[:14],
        "is_registered": lambda: str(int(modem.is_registered)),
        "imeisv": lambda: f"{modem.imei[:14]}01",
        "model": lambda: modem.persona.model,
        "registration": lambda: str(modem.registration),
        "has_card": lambda: str(int(modem.card is not None)),
        "now": lambda: f"{clock.now():%y/%m/%d,%H:%M:%S}",
        "now_in_numbers": lambda: f"{clock.now():%Y,%-m,%-d,%-H,%-M,%-S}",
        "huawei_service": lambda: "2" if modem.is_registered else "0",
        "huawei_card": lambda: _huawei_card(modem.card),
        "quectel_ready": lambda: str(_quectel_ready(modem)),
    }


def _huawei_card(card: Card | None) -> str:
    """`^SIMST`, `^SYSINFO` field 5. Source: at-dialects §3.3."""
    if card is None:
        return "255"
    return "1" if card.state is CardState.READY else "0"


def _quectel_ready(modem: Modem) -> int:
    """`+QINISTAT`: bits 1 card, 2 messages, 4 phone book. Source: at-dialects §3.3."""
    if modem.card is None or modem.card.state is not CardState.READY or modem.is_card_busy:
        return 0
    return 7 if modem.is_messaging_ready else 1


def _keep(modem: Modem, command: Command) -> Outcome:
    match command.op:
        case Op.TEST:
            return OK
        case Op.READ:
            return Answer(lines=(f"{command.name}: {modem.settings[command.name]}",))
    modem.settings[command.name] = command.text or modem.persona.keeps[command.name]
    # It may be the switch of a chatter.
    modem.start_noise()
    return OK


_OF_MODEM: Final = (
    "imei",
    "is_registered",
    "imei14",
    "imeisv",
    "model",
    "registration",
    "has_card",
    "now",
    "now_in_numbers",
    "huawei_service",
    "huawei_card",
    "quectel_ready",
)
FACTS: Final = tuple(sorted((*_OF_MODEM, *_OF_CARD, *_OF_ICCID)))
