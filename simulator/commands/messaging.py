"""What every message command asks first: may it be done now, and in which number it is refused.

Source: TS 27.005 §3.2.5 (numbers); at-dialects §4.3 (the vendors' own).
"""

from __future__ import annotations

from typing import Final

from simulator.cards.card import Card, CardState
from simulator.faults import FaultKind
from simulator.modem import Modem
from simulator.wire.line import Refused, cms

CODES: Final = {
    "tpdu": 304,  # the TPDU is no SUBMIT
    "hex": 304,  # the PDU is no hex
    "length": 304,  # the PDU has not the length that was told
    "no_card": 310,
    "pin": 311,
    "dead": 313,
    "busy": 314,  # the card is being read
    "puk": 316,
    "full": 322,
    "no_network": 331,
}
"""The standard's numbers; a persona's `sms_codes` has its own for some."""

_STATES: Final = {CardState.PIN: "pin", CardState.PUK: "puk", CardState.DEAD: "dead"}


def refusal(modem: Modem, what: str) -> Refused:
    """`+CMS ERROR` with this model's number."""
    return cms(modem.persona.sms_codes.get(what, CODES[what]))


def no_network(modem: Modem) -> str:
    """The final result of a segment whose network went away while it was on the air."""
    return refusal(modem, "no_network").final


def require_messaging(modem: Modem) -> Card:
    """The card, or the refusal of SMS commands while it is not usable.

    Raises:
        Refused: no card, its PIN or PUK is asked for, it is dead, busy, or messages are not ready.
    """
    card = modem.card
    if card is None:
        raise refusal(modem, "no_card")
    state = _STATES.get(card.state)
    if state is not None:
        raise refusal(modem, state)
    if modem.is_card_busy or modem.faults.take(FaultKind.SIM_BUSY):
        raise refusal(modem, "busy")
    if not modem.is_messaging_ready:
        raise cms(modem.persona.messaging_code)
    return card


def is_ucs2(modem: Modem) -> bool:
    """True while `+CSCS` wants texts as UCS2 in hex."""
    return modem.settings["+CSCS"] == "UCS2"
