"""Card commands: PIN, locks, files. Source: TS 27.007 §7.4, §7.5, §8.3, §8.17, §8.18, §8.65."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from simulator.card import EF_MSISDN, EF_SMSP, Card, CardState, PinRefused
from simulator.line import OK, Answer, Outcome, Refused, cme
from simulator.syntax import Command, Op

if TYPE_CHECKING:
    from simulator.modem import Modem

_OK: Final = "144,0"
_NOT_FOUND: Final = '+CRSM: 106,130,""'
_DENIED: Final = '+CRSM: 152,4,""'
_RECORDS: Final = frozenset({EF_MSISDN, EF_SMSP})
_LOCKS: Final = frozenset({"FD", "PS", "PN", "PU", "PP", "PC", "AO", "OI", "OX", "AI", "IR"})


def card_of(modem: Modem) -> Card:
    """The card, in whatever state.

    Raises:
        Refused: there is none.
    """
    if modem.card is None:
        raise Refused(modem.persona.no_card)
    return modem.card


def _pin(modem: Modem, command: Command) -> Outcome:
    if command.op is Op.TEST:
        return OK
    card = card_of(modem)
    if command.op is Op.READ:
        if card.state is CardState.DEAD:
            raise cme(13)
        if modem.is_card_busy and modem.persona.cpin_is_busy:
            raise cme(14)
        return Answer(lines=(f"+CPIN: {card.state.value}",))
    args = command.args
    if not 1 <= len(args) <= 2:
        raise cme(50)
    try:
        if len(args) == 2:
            card.enter_puk(args[0], args[1])
        elif card.state is CardState.PUK:
            raise cme(12)
        else:
            card.enter_pin(args[0])
    except PinRefused as refusal:
        raise cme(refusal.cme) from refusal
    modem.pin_shown()
    return OK


def _lock(modem: Modem, command: Command) -> Outcome:
    if command.op is Op.TEST:
        return Answer(lines=('+CLCK: ("SC","FD","PN","PU","PP","PC","AO","OI","AI","IR")',))
    args = command.args
    if len(args) < 2:
        raise cme(50)
    facility, mode = args[0], args[1]
    if facility in _LOCKS and mode == "2":
        return Answer(lines=("+CLCK: 0",))
    if facility != "SC" or mode not in {"0", "1", "2"}:
        raise cme(4)
    card = card_of(modem)
    if mode == "2":
        return Answer(lines=(f"+CLCK: {int(card.is_locked)}",))
    if len(args) < 3:
        raise cme(50)
    try:
        card.set_lock(enabled=mode == "1", pin=args[2])
    except PinRefused as refusal:
        _fell_out(modem, card)
        raise cme(refusal.cme) from refusal
    return OK


def _password(modem: Modem, command: Command) -> Outcome:
    if command.op is Op.TEST:
        return Answer(lines=('+CPWD: ("SC",8),("P2",8)',))
    args = command.args
    if len(args) != 3 or args[0] != "SC":
        raise cme(50)
    card = card_of(modem)
    try:
        card.change_pin(args[1], args[2])
    except PinRefused as refusal:
        _fell_out(modem, card)
        raise cme(refusal.cme) from refusal
    return OK


def _fell_out(modem: Modem, card: Card) -> None:
    # A third wrong PIN blocks the card in mid-session: the modem loses the network with it.
    if card.state is not CardState.READY:
        modem.search_again()


def _imsi(modem: Modem, command: Command) -> Outcome:
    if command.op is Op.TEST:
        return OK
    return Answer(lines=(modem.require_card().subscription.imsi,))


def _own_number(modem: Modem, _command: Command) -> Outcome:
    # The usual card holds no number of its own: only OK.
    modem.require_card()
    return OK


def _restricted_access(modem: Modem, command: Command) -> Outcome:
    if command.op is Op.TEST:
        return OK
    card = card_of(modem)
    args = command.args
    if not args or not all(arg.isdigit() for arg in args[:5] if arg):
        raise cme(50)
    numbers = [int(arg) if arg else 0 for arg in args[:5]] + [0] * 5
    access, fid, _, _, length = numbers[:5]
    try:
        data = card.read_file(fid)
    except PinRefused:
        return Answer(lines=(_DENIED,))
    if data is None:
        return Answer(lines=(_NOT_FOUND,))
    match access:
        case 176 | 178:
            shown = data[: length or None]
        case 192:
            shown = _file_status(fid, data)
        case _:
            raise cme(4)
    return Answer(lines=(f'+CRSM: {_OK},"{shown.hex().upper()}"',))


def _file_status(fid: int, data: bytes) -> bytes:
    # Source: TS 51.011 §9.2.1 (response parameters of an EF).
    is_record = fid in _RECORDS
    head = b"\x00\x00" + len(data).to_bytes(2, "big") + fid.to_bytes(2, "big")
    return head + bytes((4, 0, 0x11, 0, 0xFF, 1, 2, int(is_record), len(data) * is_record))


def _apdu(modem: Modem, command: Command) -> Outcome:
    if command.op is Op.TEST:
        return OK
    card = card_of(modem)
    args = command.args
    match = re.fullmatch(r"00(20|2C)0001(00)", args[1]) if len(args) == 2 else None
    if match is None:
        return Answer(lines=('+CSIM: 4,"6D00"',))
    tries = card.pin_tries if match.group(1) == "20" else card.puk_tries
    if match.group(1) == "20" and card.state is CardState.READY:
        return Answer(lines=('+CSIM: 4,"9000"',))
    word = f"63C{tries:X}" if tries else "6983"
    return Answer(lines=(f'+CSIM: 4,"{word}"',))


def _tries(modem: Modem, command: Command) -> Outcome:
    if command.op is Op.TEST:
        return OK
    card = card_of(modem)
    return Answer(
        lines=(
            f"+CPINR: SIM PIN,{card.pin_tries},3",
            f"+CPINR: SIM PUK,{card.puk_tries},10",
            "+CPINR: SIM PIN2,3,3",
            "+CPINR: SIM PUK2,10,10",
        )
    )


TABLE: Final = {
    "+CPIN": _pin,
    "+CLCK": _lock,
    "+CPWD": _password,
    "+CIMI": _imsi,
    "+CNUM": _own_number,
    "+CRSM": _restricted_access,
    "+CSIM": _apdu,
}
RELEASE_9: Final = {"+CPINR": _tries}
