"""Answers that some models give in another form than the standard's; their files say which.

`crsm_short`: `+CRSM=192,<fid>` is enough; `crsm_quoted`: the file's octets stand in quotes;
`crsm_ok`, `crsm_missing`: the status words of a file that is read, that is not there;
`creg_form`, `csq_separator`: how registration and signal are written; `empty_slot`,
`empty_delete`: what `+CMGR` says of an empty slot, and whether `+CMGD` takes one; `absent`: what
`+CPIN?` says without a card; `card_needs_radio`: `+CFUN=0` takes the card's power away.
Source: at-dialects §3.2, §3.4, §3.5.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Final, TypeAlias

from simulator.commands import data, radio, sim, sms
from simulator.modem import Modem
from simulator.persona import EmptySlot, RegistrationForm
from simulator.wire.line import Answer, Outcome, Refused, cms
from simulator.wire.syntax import Command, Op

_Handler: TypeAlias = Callable[["Modem", Command], Outcome]

_STANDARD_OK: Final = "+CRSM: 144,0"
_STANDARD_MISSING: Final = "+CRSM: 106,130"
_EMPTY: Final = "+CMS ERROR: 321"
_READ: Final = re.compile(r"(\+C\w*REG: )\d,(\d+.*)")
_IDLE: Final = re.compile(r"(\+C\w*REG: 2,0)$")
_GET_RESPONSE: Final = "192"


def restricted_access(modem: Modem, command: Command) -> Outcome:
    """`+CRSM` as this model words it.

    Raises:
        Refused: GET RESPONSE without all its parameters, where the model wants them.
    """
    persona = modem.persona
    args = command.args
    data.require_power(modem)
    if not persona.crsm_short and args[:1] == [_GET_RESPONSE] and len(args) < 5:
        raise Refused("+CME ERROR: 50")
    outcome = sim.TABLE["+CRSM"](modem, command)

    def worded(line: str) -> str:
        line = line.replace(_STANDARD_OK, f"+CRSM: {persona.crsm_ok}")
        line = line.replace(_STANDARD_MISSING, f"+CRSM: {persona.crsm_missing}")
        return line if persona.crsm_quoted else line.replace('"', "")

    return changed(outcome, worded)


def card_state(modem: Modem, command: Command) -> Outcome:
    """`+CPIN`, with what this model says where there is no card."""
    if command.op is Op.READ and modem.card is None and modem.persona.absent:
        return Answer(lines=(modem.persona.absent,))
    return sim.TABLE["+CPIN"](modem, command)


def registration(modem: Modem, command: Command) -> Outcome:
    """`+CREG?`, `+CGREG?`, `+CEREG?` as this model words them."""
    outcome = radio.TABLE[command.name](modem, command)
    if command.op is not Op.READ:
        return outcome
    match modem.persona.creg_form:
        case RegistrationForm.BLANKS:
            return changed(outcome, lambda line: line.replace(",", ", ").replace(", ", ",", 1))
        case RegistrationForm.JUNK if modem.settings[command.name] == "2":
            return changed(outcome, lambda line: _IDLE.sub(r"\1,00,0", line))
        case RegistrationForm.URC:
            return changed(outcome, lambda line: _READ.sub(r"\1\2", line))
    return outcome


def signal(modem: Modem, command: Command) -> Outcome:
    """`+CSQ` as this model words it."""
    outcome = radio.TABLE["+CSQ"](modem, command)
    if command.op is Op.TEST:
        return outcome
    return changed(outcome, lambda line: line.replace(",", modem.persona.csq_separator))


def read_message(modem: Modem, command: Command) -> Outcome:
    """`+CMGR`, with what this model says of an empty slot.

    Raises:
        Refused: as the standard's; 321 the slot is empty and the model says so.
    """
    try:
        return sms.TABLE["+CMGR"](modem, command)
    except Refused as refusal:
        if refusal.final != _EMPTY or not _is_slot(modem, command):
            raise
        match modem.persona.empty_slot:
            case EmptySlot.OK:
                return Answer()
            case EmptySlot.ZEROS:
                return Answer(lines=("+CMGR: 0,,0",))
        raise


def delete_message(modem: Modem, command: Command) -> Outcome:
    """`+CMGD`, refused for an empty slot where the model does so.

    Raises:
        Refused: as the standard's; 321 the slot is empty and the model minds.
    """
    memory = modem.mailbox.reading
    is_one = command.op is Op.SET and command.args[1:] in ([], ["0"]) and _is_slot(modem, command)
    if is_one and not modem.persona.empty_delete and memory is not None:
        sms.require_messaging(modem)
        if memory.get(int(command.args[0])) is None:
            raise cms(321)
    return sms.TABLE["+CMGD"](modem, command)


def changed(outcome: Outcome, reword: Callable[[str], str]) -> Outcome:
    """The outcome with its lines put in other words."""
    if not isinstance(outcome, Answer):
        return outcome
    return replace(outcome, lines=tuple(reword(line) for line in outcome.lines))


def _is_slot(modem: Modem, command: Command) -> bool:
    memory = modem.mailbox.reading
    args = command.args
    return memory is not None and bool(args) and args[0].isdigit() and memory.holds(int(args[0]))


TABLE: Final[dict[str, _Handler]] = {
    "+CRSM": restricted_access,
    "+CPIN": card_state,
    **dict.fromkeys(("+CREG", "+CGREG", "+CEREG"), registration),
    "+CSQ": signal,
    "+CMGR": read_message,
    "+CMGD": delete_message,
}
