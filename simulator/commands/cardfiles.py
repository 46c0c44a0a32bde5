"""Straight access to the card: files and APDUs. Source: TS 27.007 §8.17, §8.18; TS 51.011 §9."""

from __future__ import annotations

import re
from typing import Final

from simulator.cards import files
from simulator.cards.card import Card, CardState, PinRefused, Secret
from simulator.cards.files import EF_ICCID
from simulator.faults import FaultKind
from simulator.modem import Modem
from simulator.wire.line import OK, Answer, Outcome, Refused, cme
from simulator.wire.syntax import Command, Op

_STATUS: Final = 242
_VERIFY: Final = re.compile(r"00(20|2C)00(01|81)(?:00|08([0-9A-F]{16})|10[0-9A-F]{32})")
_SECRETS: Final = {
    ("20", "01"): Secret.PIN1,
    ("2C", "01"): Secret.PUK1,
    ("20", "81"): Secret.PIN2,
    ("2C", "81"): Secret.PUK2,
}


def iccid_octets(modem: Modem, card: Card) -> str:
    """The ICCID's 20 digits with filler, as the modem reads them now."""
    digits = card.iccid.upper().ljust(20, "F")
    if modem.faults.take(FaultKind.HALF_ICCID):
        return digits[:10].ljust(20, "F")
    return digits


def _restricted_access(modem: Modem, command: Command) -> Outcome:
    if command.op is Op.TEST:
        return OK
    card = _card(modem)
    args = command.args
    if not args or not all(arg.isdigit() for arg in args[:5] if arg):
        raise cme(50)
    access, fid, record, _, length = ([int(arg) if arg else 0 for arg in args] + [0] * 5)[:5]
    is_usim = card.subscription.is_usim
    if access == _STATUS:
        return _shown(card.mf_status()[: length or None])
    try:
        found = card.file(fid)
    except PinRefused:
        # A 2G card tells a blocked CHV from one that was not shown.
        old = "152,4" if card.state is CardState.PIN else "152,64"
        return _word("105,130" if is_usim else old)
    if found is None:
        return _word("106,130" if is_usim else "148,4")
    match access:
        case 176 if not found.record:
            is_iccid = fid == EF_ICCID
            data = files.swap_nibbles(iccid_octets(modem, card)) if is_iccid else found.data
        case 178 if found.record:
            data = found.data[(max(1, record) - 1) * found.record :][: found.record]
        case 192:
            data = files.status(fid, found)
        case 176 | 178:
            # The command does not fit the file's structure.
            return _word("105,129" if is_usim else "148,8")
        case _:
            raise cme(4)
    return _shown(data[: length or None]) if data else _word("106,131" if is_usim else "148,2")


def _shown(data: bytes) -> Answer:
    return Answer(lines=(f'+CRSM: 144,0,"{data.hex().upper()}"',))


def _word(word: str) -> Answer:
    return Answer(lines=(f'+CRSM: {word},""',))


def _apdu(modem: Modem, command: Command) -> Outcome:
    if command.op is Op.TEST:
        return OK
    card = _card(modem)
    args = command.args
    if len(args) == 1 and args[0] in {"0", "1"}:
        # Some models want the card to themselves before they pass an APDU on.
        modem.settings["+CSIM"] = args[0]
        return OK
    if modem.persona.apdu_needs_lock and modem.settings.get("+CSIM") != "1":
        raise cme(3)
    if len(args) != 2 or args[0] != str(len(args[1])):
        raise cme(50)
    return Answer(lines=(f'+CSIM: 4,"{_status_word(card, args[1].upper())}"',))


def _status_word(card: Card, apdu: str) -> str:
    if not card.subscription.is_usim:
        # A 2G card knows the class A0 only, where an empty VERIFY would be a wrong length.
        return "6E00" if not apdu.startswith("A0") else "6700"
    match = _VERIFY.fullmatch(apdu)
    if match is None:
        return "6D00" if apdu.startswith("00") else "6E00"
    secret = _SECRETS[match[1], match[2]]
    if match[3] is not None:
        return _verified(card, secret, match[3])
    if secret is Secret.PIN1 and card.state is CardState.READY:
        return "9000"
    tries = card.tries(secret)
    return f"63C{tries:X}" if tries else "6983"


def _verified(card: Card, secret: Secret, octets: str) -> str:
    digits = bytes.fromhex(octets).rstrip(b"\xff").decode("ascii", "replace")
    try:
        if secret is Secret.PIN2:
            card.verify_pin2(digits)
        elif card.state is CardState.READY:
            card.set_lock(enabled=card.is_locked, pin=digits)
        else:
            card.enter_pin(digits)
    except PinRefused:
        tries = card.tries(secret)
        return f"63C{tries:X}" if tries else "6983"
    return "9000"


def _card(modem: Modem) -> Card:
    if modem.card is None:
        raise Refused(modem.persona.no_card)
    return modem.card


TABLE: Final = {
    "+CRSM": _restricted_access,
    "+CSIM": _apdu,
}
