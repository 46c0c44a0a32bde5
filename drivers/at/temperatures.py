"""How warm a modem says it is: each vendor's command, and how its answer is read.

Sources: Quectel LTE Standard AT Commands §"AT+QTEMP", SIMCom SIM7500/SIM7600 AT Command Manual
"AT+CPMUTEMP", Huawei ME909s/MU709s AT Command Interface "AT^CHIPTEMP", Telit LE910 AT Commands
"AT#TEMPMON".
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
    """`#TEMPMEAS: <level>,<°C>`: the first number is an alarm level."""
    found = _NUMBER.findall(lines[0].partition(":")[2])
    value = int(found[1]) if len(found) > 1 else None
    return value if value is not None and _COLDEST <= value <= _WARMEST else None


def _by(text: str, prefix: str, read: Callable[[Sequence[str]], int | None]) -> TemperatureQuery:
    return TemperatureQuery(command=asking(text, prefix, timeout=10.0), read=read)


QUECTEL_TEMPERATURE = _by("AT+QTEMP", "+QTEMP:", warmest)
SIMCOM_TEMPERATURE = _by("AT+CPMUTEMP", "+CPMUTEMP:", warmest)
HUAWEI_TEMPERATURE = _by("AT^CHIPTEMP?", "^CHIPTEMP:", lambda lines: warmest(lines, per_degree=10))
"""Tenths of a degree; 65535 stands for a sensor that is not there."""
TELIT_TEMPERATURE = _by("AT#TEMPMON=1", "#TEMPMEAS:", _second)
