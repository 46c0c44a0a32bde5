"""Network commands. Source: TS 27.007 §7.2, §7.3, §7.15, §8.5; at-dialects §3.4, §3.6."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from simulator import alphabet
from simulator.line import OK, Answer, Outcome, cme
from simulator.syntax import Command, Op

if TYPE_CHECKING:
    from simulator.modem import Modem

_LAC: Final = "8BE3"
_CELL: Final = "2BAF"
_OPERATOR: Final = ("CHINA MOBILE", "CMCC", "46000")
_DOMAINS: Final = ("+CREG", "+CGREG", "+CEREG")


def registration_lines(modem: Modem) -> list[str]:
    """What is said unasked when the registration changes."""
    names = _DOMAINS if modem.persona.has_eps else _DOMAINS[:2]
    return [
        f"{name}: {_place(modem, name)}" for name in names if modem.settings[name] in {"1", "2"}
    ]


def _registration(modem: Modem, command: Command) -> Outcome:
    from simulator.commands.settings import keep

    if command.name == "+CEREG" and not modem.persona.has_eps:
        raise cme(4)
    if command.op is not Op.READ:
        return keep(modem, command)
    n = modem.settings[command.name]
    return Answer(lines=(f"{command.name}: {n},{_place(modem, command.name)}",))


def _place(modem: Modem, name: str) -> str:
    stat = modem.registration
    if modem.settings[name] != "2" or stat not in {1, 5, 6, 7, 9, 10}:
        return str(stat)
    lac, cell = _LAC, _CELL
    if modem.persona.creg_is_quoted:
        lac, cell = f'"{lac}"', f'"{cell}"'
    technology = modem.persona.access_technology
    tail = f",{technology}" if technology is not None else ""
    return f"{stat},{lac},{cell}{tail}"


def _signal(modem: Modem, command: Command) -> Outcome:
    if command.op is Op.TEST:
        return Answer(lines=("+CSQ: (0-31,99),(0-7,99)",))
    return Answer(lines=("+CSQ: 20,99" if modem.radio else "+CSQ: 99,99",))


def _operator(modem: Modem, command: Command) -> Outcome:
    long, short, numeric = _OPERATOR
    match command.op:
        case Op.TEST:
            # A scan takes seconds and is broken off by any octet.
            line = f'+COPS: (2,"{long}","{short}","{numeric}"),,(0,1,3,4),(0,1,2)'
            return Answer(lines=(line,), seconds=3.0, is_abortable=True)
        case Op.READ:
            if not modem.is_registered:
                return Answer(lines=("+COPS: 0",))
            chosen = int(modem.settings.get("+COPS", "0"))
            technology = modem.persona.access_technology
            tail = f",{technology}" if technology is not None else ""
            return Answer(lines=(f'+COPS: 0,{chosen},"{_OPERATOR[chosen]}"{tail}',))
    args = command.args
    if args[:1] == ["3"]:
        if len(args) < 2 or args[1] not in {"0", "1", "2"}:
            raise cme(50)
        modem.settings["+COPS"] = args[1]
    elif args[:1] == ["2"]:
        modem.set_radio(is_on=False)
        modem.radio = True
    elif args[:1] in (["0"], ["1"]):
        modem.search_again()
    return OK


def _attached(modem: Modem, command: Command) -> Outcome:
    if command.op is Op.TEST:
        return Answer(lines=("+CGATT: (0,1)",))
    return Answer(lines=(f"+CGATT: {int(modem.is_registered)}",)) if command.op is Op.READ else OK


def _ussd(modem: Modem, command: Command) -> Outcome:
    match command.op:
        case Op.TEST:
            return Answer(lines=("+CUSD: (0-2)",))
        case Op.READ:
            return Answer(lines=("+CUSD: 0",))
    args = command.args
    if len(args) < 2:
        return OK
    modem.require_card()
    code = _ussd_decoded(modem, args[1])
    text = "Balance 10.00 CNY" if code == "*100#" else "Unknown request"
    answer = f'+CUSD: 0,"{_ussd_encoded(modem, text)}",15'
    modem.world.clock.call_later(
        modem.world.network.times.latency or 0.05, lambda: modem.urc(answer)
    )
    return OK


def _ussd_decoded(modem: Modem, text: str) -> str:
    try:
        if modem.persona.vendor == "huawei":
            packed = bytes.fromhex(text)
            septets = alphabet.unpack(packed, len(packed) * 8 // 7)
            return alphabet.from_septets(septets).rstrip("@\r")
        if modem.settings["+CSCS"] == "UCS2":
            return bytes.fromhex(text).decode("utf-16-be")
    except ValueError as error:
        raise cme(50) from error
    return text


def _ussd_encoded(modem: Modem, text: str) -> str:
    if modem.persona.vendor == "huawei":
        septets = alphabet.to_septets(text)
        # No length travels with USSD: seven spare bits are filled with CR. TS 23.038 §6.1.2.3.1
        if len(septets) % 8 == 7:
            septets += b"\r"
        return alphabet.pack(septets).hex().upper()
    if modem.settings["+CSCS"] == "UCS2":
        return text.encode("utf-16-be").hex().upper()
    return text


TABLE: Final = {
    **dict.fromkeys(_DOMAINS, _registration),
    "+CSQ": _signal,
    "+COPS": _operator,
    "+CGATT": _attached,
    "+CUSD": _ussd,
}
