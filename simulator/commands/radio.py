"""Network commands. Source: TS 27.007 §7.2, §7.3, §7.15, §8.5; at-dialects §3.4, §3.6."""

from __future__ import annotations

from typing import Final

from simulator.commands.settings import keep
from simulator.modem import Modem
from simulator.wire.line import OK, Answer, Outcome, cme
from simulator.wire.syntax import Command, Op

_LAC: Final = "8BE3"
_CELL: Final = "2BAF"
_DOMAINS: Final = ("+CREG", "+CGREG", "+CEREG")


def registration_lines(modem: Modem) -> list[str]:
    """What is said unasked when the registration changes."""
    names = _DOMAINS if modem.persona.has_eps else _DOMAINS[:2]
    return [
        f"{name}: {_place(modem, name)}" for name in names if modem.settings[name] in {"1", "2"}
    ]


def _registration(modem: Modem, command: Command) -> Outcome:
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
    heard = modem.world.network.signal(modem.name, modem.card) if modem.radio else None
    return Answer(lines=(f"+CSQ: {99 if heard is None else heard},99",))


def _extended_signal(modem: Modem, command: Command) -> Outcome:
    if not modem.persona.has_eps:
        raise cme(4)
    if command.op is Op.TEST:
        return Answer(
            lines=("+CESQ: (0-63,99),(0-7,99),(0-96,255),(0-49,255),(0-34,255),(0-97,255)",)
        )
    heard = modem.world.network.signal(modem.name, modem.card) if modem.radio else None
    # Reference signal: 43 dB above the scale of +CSQ, a step a decibel. Source: TS 27.007 §8.69.
    level = 255 if heard is None else min(97, 27 + 2 * heard)
    return Answer(lines=(f"+CESQ: 99,99,255,255,{255 if heard is None else 20},{level}",))


# Source: TS 27.007 §8.9; the names are the standard's.
_INDICATORS: Final = (
    ("battchg", 5),
    ("signal", 5),
    ("service", 1),
    ("message", 1),
    ("call", 1),
    ("roam", 1),
    ("smsfull", 1),
)


def _indicators(modem: Modem, command: Command) -> Outcome:
    if command.op is Op.TEST:
        listed = ",".join(f'("{name}",(0-{last}))' for name, last in _INDICATORS)
        return Answer(lines=(f"+CIND: {listed}",))
    if command.op is not Op.READ:
        return OK
    memory = modem.mailbox.memory(modem.mailbox.memories[-1])
    used, room = (memory.used, memory.capacity) if memory is not None else (0, 1)
    values = (
        5,
        4 if modem.radio else 0,
        int(modem.is_registered),
        int(used > 0),
        int(modem.phone.call is not None),
        int(modem.registration in {5, 7, 10}),
        int(used >= room),
    )
    return Answer(lines=(f"+CIND: {','.join(map(str, values))}",))


def _operator(modem: Modem, command: Command) -> Outcome:
    match command.op:
        case Op.TEST:
            # A scan takes seconds and is broken off by any octet.
            line = f"+COPS: {_scan(modem)},,(0,1,3,4),(0,1,2)"
            return Answer(lines=(line,), seconds=3.0, is_abortable=True)
        case Op.READ:
            return Answer(lines=(f"+COPS: {_serving(modem)}",))
    args = command.args
    if args[:1] == ["3"]:
        if len(args) < 2 or args[1] not in {"0", "1", "2"}:
            raise cme(50)
        modem.settings["+COPS"] = args[1]
    elif args[:1] == ["2"]:
        modem.set_radio(is_on=False)
        modem.radio = True
    elif args[:1] == ["0"]:
        _choose(modem, "")
    elif args[:1] == ["1"]:
        _choose(modem, _numeric(modem, args[2]) if len(args) > 2 else "")
    return OK


def _scan(modem: Modem) -> str:
    network = modem.world.network
    card = modem.card
    serving = network.operator(card) if card is not None else None
    found: list[str] = []
    for carrier in network.heard(modem.name):
        # 1 available, 2 current, 3 forbidden. Source: TS 27.007 §7.3.
        stat = 2 if carrier is serving else 3
        if stat == 3 and (card is None or network.may_use(card, carrier)):
            stat = 1
        long, short, numeric = carrier.names
        found.append(f'({stat},"{long}","{short}","{numeric}")')
    return ",".join(found)


def _serving(modem: Modem) -> str:
    carrier = modem.world.network.operator(modem.card) if modem.card is not None else None
    mode = "1" if modem.wanted_carrier else "0"
    if carrier is None or not modem.is_registered:
        return mode
    chosen = int(modem.settings.get("+COPS", "0"))
    technology = modem.persona.access_technology
    tail = f",{technology}" if technology is not None else ""
    name = carrier.names[chosen]
    if modem.persona.cops_in_charset and modem.settings["+CSCS"] == "UCS2":
        name = name.encode("utf-16-be").hex().upper()
    return f'{mode},{chosen},"{name}"{tail}'


def _numeric(modem: Modem, name: str) -> str:
    try:
        return modem.world.network.carrier(name).numeric
    except LookupError as error:
        raise cme(30) from error


def _choose(modem: Modem, numeric: str) -> None:
    modem.settings["+COPS="] = numeric
    modem.search_again()


def _attached(modem: Modem, command: Command) -> Outcome:
    if command.op is Op.TEST:
        return Answer(lines=("+CGATT: (0,1)",))
    return Answer(lines=(f"+CGATT: {int(modem.is_registered)}",)) if command.op is Op.READ else OK


TABLE: Final = {
    **dict.fromkeys(_DOMAINS, _registration),
    "+CSQ": _signal,
    "+CESQ": _extended_signal,
    "+CIND": _indicators,
    "+COPS": _operator,
    "+CGATT": _attached,
}
