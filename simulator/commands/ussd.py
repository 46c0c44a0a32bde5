"""USSD commands, and how each model codes the text. Source: TS 27.007 §7.15; at-dialects §3.6."""

from __future__ import annotations

from typing import Final

from simulator import alphabet
from simulator.modem import Modem
from simulator.network.ussd import Progress, Reply
from simulator.persona import UssdCoding
from simulator.wire.line import OK, Answer, Outcome, cme
from simulator.wire.syntax import Command, Op

_GSM: Final = 15
_UCS2: Final = 72


def _ussd(modem: Modem, command: Command) -> Outcome:
    match command.op:
        case Op.TEST:
            return Answer(lines=("+CUSD: (0-2)",))
        case Op.READ:
            return Answer(lines=(f"+CUSD: {modem.settings.get('+CUSD', '0')}",))
    args = command.args or ["0"]
    if args[0] not in {"", "0", "1", "2"}:
        raise cme(50)
    if args[0] == "2":
        if modem.card is not None:
            modem.world.network.cancel_ussd(modem.card)
        return OK
    if args[0]:
        modem.settings["+CUSD"] = args[0]
    if len(args) > 1:
        _request(modem, args[1], args[2] if len(args) > 2 else "")
    return OK


def _request(modem: Modem, text: str, dcs: str) -> None:
    card = modem.require_card()
    if dcs and not (dcs.isdigit() and int(dcs) <= 255):
        raise cme(50)
    if _fails_in_hex(modem):
        # SIM800: the command is accepted, the network has nothing to do with what follows.
        modem.world.clock.call_later(0.05, lambda: modem.urc("+CUSD: 2"))
        return
    code = _decoded(modem, text, is_ucs2=bool(dcs) and int(dcs) & 0x4C == _UCS2)
    if not modem.is_registered:
        raise cme(30)
    if not modem.world.network.ussd(card, modem, code):
        raise cme(258 if modem.persona.vendor == "cinterion" else 100)


def shown(modem: Modem, reply: Reply) -> str | None:
    """The unsolicited line of a reply; None while the client does not want any."""
    if modem.settings.get("+CUSD", "0") != "1":
        return None
    if reply.text is None:
        return f"+CUSD: {reply.progress.value}"
    if _fails_in_hex(modem):
        return f"+CUSD: {Progress.TERMINATED.value}"
    text, dcs = _encoded(modem, reply.text)
    comma = ", " if modem.persona.ussd_coding is UssdCoding.SPACED else ","
    return f'+CUSD: {reply.progress.value}{comma}"{text}"{comma}{dcs}'


def _decoded(modem: Modem, text: str, *, is_ucs2: bool) -> str:
    try:
        if is_ucs2 or (modem.settings["+CSCS"] == "UCS2" and not _is_packed(modem)):
            return bytes.fromhex(text).decode("utf-16-be")
        if _is_packed(modem):
            packed = bytes.fromhex(text)
            septets = alphabet.unpack(packed, len(packed) * 8 // 7)
            return alphabet.from_septets(septets).rstrip("@\r")
        if modem.settings["+CSCS"] == "HEX":
            return alphabet.from_septets(bytes(octet & 0x7F for octet in bytes.fromhex(text)))
    except ValueError as error:
        raise cme(50) from error
    return text


def _encoded(modem: Modem, text: str) -> tuple[str, int]:
    """The text on the wire, and the data coding scheme that goes with it."""
    is_gsm = alphabet.fits_gsm7(text)
    if not is_gsm or modem.persona.ussd_coding is UssdCoding.UCS2:
        return text.encode("utf-16-be").hex().upper(), _UCS2
    if _is_packed(modem):
        septets = alphabet.to_septets(text)
        # No length travels with USSD: seven spare bits are filled with CR. TS 23.038 §6.1.2.3.1
        if len(septets) % 8 == 7:
            septets += b"\r"
        return alphabet.pack(septets).hex().upper(), _GSM
    match modem.settings["+CSCS"]:
        case "UCS2":
            return text.encode("utf-16-be").hex().upper(), _GSM
        case "HEX":
            return alphabet.to_septets(text).hex().upper(), _GSM
        case "GSM":
            return alphabet.to_septets(text).decode("ascii"), _GSM
    return text.encode("ascii", "replace").decode("ascii"), _GSM


def _is_packed(modem: Modem) -> bool:
    is_packed = modem.persona.ussd_coding is UssdCoding.PACKED
    return is_packed and modem.settings.get("^USSDMODE", "1") != "0"


def _fails_in_hex(modem: Modem) -> bool:
    return modem.persona.ussd_coding is UssdCoding.SPACED and modem.settings["+CSCS"] == "HEX"


def _mode(modem: Modem, command: Command) -> Outcome:
    match command.op:
        case Op.TEST:
            return Answer(lines=("^USSDMODE: (0-1)",))
        case Op.READ:
            return Answer(lines=(f"^USSDMODE: {modem.settings.get('^USSDMODE', '1')}",))
    if command.text not in {"0", "1"}:
        raise cme(50)
    modem.settings["^USSDMODE"] = command.text
    return OK


TABLE: Final = {"+CUSD": _ussd}
HUAWEI: Final = {"^USSDMODE": _mode}
