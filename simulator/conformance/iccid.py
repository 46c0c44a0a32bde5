"""The card's number in every form that modems tell it in.

Source: TS 102 221 §13.2; ITU-T E.118; at-dialects §3.2. Letters may occur from the 7th character.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from simulator.conformance.reply import Reply

Ask: TypeAlias = Callable[[str], Reply]
_COMMANDS: Final = (
    "^ICCID?", "+ZICCID?", "+ICCID", "+QCCID", "+CCID", "+CCID?", "+CICCID", "#CCID", "!ICCID?",
    "^SCID",
)  # fmt: skip
_FILE: Final = "+CRSM=176,12258,0,0,10"
_TEXT: Final = re.compile(r'(?:[+^#!*]?[A-Z]+: ?)?("?)([0-9A-Fa-f]{18,22})\1')


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One command that tells. `number` without filler, in the card's own order."""

    command: str
    number: str
    form: str


def read_all(ask: Ask) -> list[Way]:
    """What each command that the modem knows says, then what its file holds."""
    found: list[Way] = []
    for command in _COMMANDS:
        reply = ask(f"AT{command}")
        for line in reply.lines if reply.is_ok else ():
            match = _TEXT.fullmatch(line)
            if match:
                found.append(_way(command, match.group(2), line))
                break
    value = ask(f"AT{_FILE}").value("+CRSM") or ""
    held = re.fullmatch(r'14[4-6],\d+,"?([0-9A-Fa-f]{20})"?', value.replace(" ", ""))
    if held:
        number = swapped(held.group(1).upper()).rstrip("F")
        found.append(Way(command="+CRSM", number=number, form="file"))
    return found


def swapped(digits: str) -> str:
    """The nibbles of each octet the other way round."""
    return "".join(b + a for a, b in zip(digits[::2], digits[1::2], strict=False))


def problem(number: str) -> str:
    """What is wrong with a card's number; empty where nothing is."""
    if not 18 <= len(number) <= 20:
        return f"{len(number)} characters"
    if not number.startswith("89"):
        return "does not begin with 89"
    if not re.fullmatch(r"\d{6}[0-9A-F]+", number):
        return "a letter among the first six"
    return ""


def _way(command: str, told: str, line: str) -> Way:
    upper = told.upper()
    # Issuers' numbers begin with 89; 98 is the same with its nibbles swapped.
    is_swapped = upper.startswith("98")
    number = (swapped(upper) if is_swapped else upper).rstrip("F")
    notes = [
        "named" if ":" in line else "bare",
        "quoted" if '"' in line else "",
        "swapped" if is_swapped else "",
        "F" if told.endswith("F") else "f" if told.endswith("f") else "",
    ]
    return Way(command=command, number=number, form=" ".join(filter(None, notes)))
