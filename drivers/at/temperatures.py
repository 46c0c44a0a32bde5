"""How warm a modem says it is: each vendor's command, and how its answer is read.

No standard has such a command. What is here was found in public documents or in programs that read
real modems; each query names where. Modems without a sensor refuse it, and are asked once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from drivers.at.command import Command, asking

_COLDEST: Final = -60
_WARMEST: Final = 150  # °C; what lies beyond is a sensor that is not there
_NUMBER: Final = re.compile(r"(?<![\w.])-?\d+(?![\w.])")


@dataclass(frozen=True, slots=True, kw_only=True)
class TemperatureQuery:
    """One way to ask; `read` gets the answer's lines, °C of the warmest sensor or None."""

    command: Command
    read: Callable[[Sequence[str]], int | None]


def warmest(lines: Sequence[str], *, per_degree: int = 1) -> int | None:
    """The highest plausible number of an answer, in °C; `per_degree` units make a degree."""
    told = (int(word) for line in lines for word in _NUMBER.findall(line.partition(":")[2]))
    degrees = [round(value / per_degree) for value in told]
    plausible = [value for value in degrees if _COLDEST <= value <= _WARMEST]
    return max(plausible, default=None)


def _second(lines: Sequence[str]) -> int | None:
    """The second number: the first one is an alarm's level."""
    found = _NUMBER.findall(lines[0].partition(":")[2])
    value = int(found[1]) if len(found) > 1 else None
    return value if value is not None and _COLDEST <= value <= _WARMEST else None


def _by(text: str, prefix: str, read: Callable[[Sequence[str]], int | None]) -> TemperatureQuery:
    return TemperatureQuery(command=asking(text, prefix, timeout=10.0), read=read)


QUECTEL_TEMPERATURE = _by("AT+QTEMP", "+QTEMP:", warmest)
"""`+QTEMP: 31,27,28` (amplifier, crystal, baseband) of EC2x, a line for each named sensor of EG06
and later: `+QTEMP: "soc-thermal","41"`; -273 and 255 stand for a sensor that is not there.

Source: tests of public parsers of Quectel answers (EC25, EG25-G, RM520N), both forms.
"""
SIMCOM_TEMPERATURE = _by("AT+CPMUTEMP", "+CPMUTEMP:", warmest)
"""`+CPMUTEMP: 29`, of LTE modules only.

Source: SIM7500/SIM7600 Series AT Command Manual; TinyGSM and others read SIM7600, A7672, A7680 so.
"""
HUAWEI_TEMPERATURE = _by("AT^CHIPTEMP?", "^CHIPTEMP:", lambda lines: warmest(lines, per_degree=10))
"""`^CHIPTEMP: 408,405,400,…` in tenths of a degree, of LTE modules and sticks; 65535 stands for a
sensor that is not there.

Source: public scripts that read it from an E3372h and from 5G modules, and take it for tenths.
"""
TELIT_TEMPERATURE = _by("AT#TEMPMON=1", "#TEMPMEAS:", _second)
"""`#TEMPMEAS: <level>,<°C>`; the level is an alarm's, -2 to 2.

Source: Telit AT Commands Reference Guides 80304ST10041a (UC864) §3.5.7.1.18, 80377ST10083a (HE863).
"""
