"""Commands that only keep a value: what is set is read back, and reset by `ATZ`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from simulator.modem import Modem
from simulator.persona import Persona
from simulator.wire.line import OK, Answer, Outcome, cme
from simulator.wire.syntax import Command, Op


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A kept value. `allowed`: what the first parameter may be; empty = anything."""

    default: str
    test: str
    allowed: frozenset[str] = frozenset()


def _numbers(default: str, last: int) -> Setting:
    values = [str(n) for n in range(last + 1)]
    return Setting(default=default, test=f"({','.join(values)})", allowed=frozenset(values))


SETTINGS: Final = {
    "+CMEE": _numbers("0", 2),
    "+CMGF": _numbers("0", 1),
    "+CREG": _numbers("0", 2),
    "+CGREG": _numbers("0", 2),
    "+CEREG": _numbers("0", 2),
    "+CSDH": _numbers("0", 1),
    "+CLIP": _numbers("0", 1),
    "+CRC": _numbers("0", 1),
    "+CCWA": _numbers("0", 1),
    "+COLP": _numbers("0", 1),
    "+CLIR": _numbers("0", 2),
    "+CVHU": _numbers("0", 2),
    "+CMMS": _numbers("0", 2),
    "+CGSMS": _numbers("1", 3),
    "+CTZU": _numbers("0", 1),
    "+CTZR": _numbers("0", 2),
    "+CSCS": Setting(
        default="IRA",
        test='("IRA","GSM","UCS2","HEX")',
        allowed=frozenset({"IRA", "GSM", "UCS2", "HEX"}),
    ),
    "+CSMP": Setting(default="17,167,0,0", test="(0-255),(0-255),(0-255),(0-255)"),
    "+CSCB": Setting(default='0,"",""', test="(0,1)"),
    "+IFC": Setting(default="0,0", test="(0-2),(0-2)"),
    "+ICF": Setting(default="3,3", test="(1-3),(0-3)"),
    "+IPR": Setting(default="0", test="(),(0,9600,19200,38400,57600,115200)"),
    "+CGEREP": Setting(default="0,0", test="(0-2),(0,1)"),
    "+CMER": Setting(default="0,0,0,0,0", test="(0-3),(0),(0),(0,1),(0,1)"),
    "^CURC": _numbers("1", 1),
    "^DSCI": _numbers("0", 1),
    "+CLCC": _numbers("0", 1),
    "+MORING": _numbers("0", 1),
}

# Kept for every model, but only these vendors have the command.
_VENDORS_OWN: Final = frozenset({"^CURC", "^DSCI", "+CLCC", "+MORING"})
_QUOTED: Final = frozenset({"+CSCS"})


def defaults(persona: Persona) -> dict[str, str]:
    """All values as after power-up."""
    kept = {name: setting.default for name, setting in SETTINGS.items()}
    return kept | dict(persona.keeps) | dict(persona.settings)


def keep(modem: Modem, command: Command) -> Outcome:
    """Set, read or describe a kept value.

    Raises:
        Refused: 50 the value is not one of those allowed.
    """
    setting = SETTINGS[command.name]
    match command.op:
        case Op.TEST:
            return Answer(lines=(f"{command.name}: {setting.test}",))
        case Op.READ:
            value = modem.settings[command.name]
            shown = f'"{value}"' if command.name in _QUOTED else value
            return Answer(lines=(f"{command.name}: {shown}",))
    args = command.args or [setting.default]
    if setting.allowed and args[0] not in setting.allowed:
        raise cme(50)
    modem.settings[command.name] = args[0] if setting.allowed else command.text
    return OK


TABLE: Final = dict.fromkeys(SETTINGS.keys() - _VENDORS_OWN, keep)
