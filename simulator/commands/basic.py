"""Basic commands, identity, power. Source: ITU-T V.250 §6; TS 27.007 §5, §8.2."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from simulator.commands import data
from simulator.modem import Modem
from simulator.wire.line import OK, Answer, Outcome, cme
from simulator.wire.syntax import Command, Op


def _echo(modem: Modem, command: Command) -> Outcome:
    modem.line.echo = command.text == "1"
    return OK


def _verbose(modem: Modem, command: Command) -> Outcome:
    modem.line.verbose = command.text == "1"
    return OK


def _quiet(modem: Modem, command: Command) -> Outcome:
    modem.line.quiet = command.text == "1"
    return OK


def _accept(_modem: Modem, _command: Command) -> Outcome:
    return OK


def _register(_modem: Modem, command: Command) -> Outcome:
    return Answer(lines=("000",)) if command.op is Op.READ else OK


def _defaults(modem: Modem, _command: Command) -> Outcome:
    modem.defaults()
    modem.mailbox.default_memories()
    modem.mailbox.set_cnmi((0, 0, 0, 0, 0))
    modem.mailbox.phase2plus = False
    return OK


def _identification(modem: Modem, _command: Command) -> Outcome:
    lines = (data.filled(modem, line) for line in modem.persona.identification)
    return Answer(lines=("\r\n".join(lines),))


def _text(modem: Modem, command: Command) -> Outcome:
    if command.op is Op.TEST:
        return OK
    persona = modem.persona
    value = {
        "+CGMI": persona.manufacturer,
        "+GMI": persona.manufacturer,
        "+CGMM": persona.model,
        "+GMM": persona.model,
        "+CGMR": persona.revision,
        "+GMR": persona.revision,
    }[command.name]
    return Answer(lines=(value,))


def _imei(modem: Modem, command: Command) -> Outcome:
    if command.op is Op.TEST:
        return OK
    if command.text == "1":
        return Answer(lines=(f'+CGSN: "{modem.imei}"',))
    return Answer(lines=(modem.imei,))


def _capabilities(_modem: Modem, _command: Command) -> Outcome:
    return Answer(lines=("+GCAP: +CGSM,+DS,+ES",))


def _functionality(modem: Modem, command: Command) -> Outcome:
    match command.op:
        case Op.TEST:
            return Answer(lines=("+CFUN: (0,1,4),(0,1)",))
        case Op.READ:
            level = "1" if modem.radio else modem.settings.get("+CFUN", "4")
            return Answer(lines=(f"+CFUN: {level}",))
    level, *reset = command.args or ["1"]
    if level not in {"0", "1", "4"}:
        raise cme(50)
    if reset and reset[0] == "1":
        # The OK goes out first; the line falls silent with the next turn of the clock.
        modem.world.clock.call_later(0.02, modem.reboot)
        return OK
    modem.settings["+CFUN"] = level
    if modem.radio != (level == "1"):
        modem.set_radio(is_on=level == "1")
    return OK


def _reboot(modem: Modem, _command: Command) -> Outcome:
    modem.world.clock.call_later(0.02, modem.reboot)
    return OK


def _clock(modem: Modem, command: Command) -> Outcome:
    if command.op is Op.READ:
        now = modem.world.clock.now()
        return Answer(lines=(f'+CCLK: "{now:%y/%m/%d,%H:%M:%S}+00"',))
    return OK


def _battery(_modem: Modem, command: Command) -> Outcome:
    if command.op is Op.TEST:
        return Answer(lines=("+CBC: (0-2),(0-100),(3000-5000)",))
    return Answer(lines=("+CBC: 0,95,4100",))


def _activity(modem: Modem, _command: Command) -> Outcome:
    return Answer(lines=(f"+CPAS: {0 if modem.phone.call is None else 4}",))


def _bearer(_modem: Modem, command: Command) -> Outcome:
    if command.op is Op.TEST:
        return Answer(lines=("+WS46: (12,22,25,28)",))
    return Answer(lines=("12",)) if command.op is Op.READ else OK


def _all_commands(modem: Modem, command: Command) -> Outcome:
    if command.op is Op.TEST:
        return OK
    return Answer(lines=("\r\n".join(modem.command_names),))


# Only some models list what they know.
LISTED: Final = {"+CLAC": _all_commands}
reboot: Final = _reboot

TABLE: Final[dict[str, Callable[[Modem, Command], Outcome]]] = {
    "E": _echo,
    "V": _verbose,
    "Q": _quiet,
    **dict.fromkeys(("X", "L", "M", "B", "P", "T", "&C", "&D", "&K", "&W", "&S", "\\Q"), _accept),
    **{f"S{number}": _register for number in range(13)},
    "Z": _defaults,
    "&F": _defaults,
    "I": _identification,
    **dict.fromkeys(("+CGMI", "+GMI", "+CGMM", "+GMM", "+CGMR", "+GMR"), _text),
    "+CGSN": _imei,
    "+GSN": _imei,
    "+GCAP": _capabilities,
    "+CFUN": _functionality,
    "+CCLK": _clock,
    "+CBC": _battery,
    "+CPAS": _activity,
    "+WS46": _bearer,
}
