"""Which lines end a command, and what they tell; pure."""

from __future__ import annotations

import re

from drivers.at.codes import code_of_text
from drivers.at.command import Final, Finals

_CALL_ENDS = frozenset(
    {"NO CARRIER", "BUSY", "NO ANSWER", "NO DIALTONE", "NO DIAL TONE", "DELAYED"}
)
_ERRORS = frozenset(
    {"ERROR", "COMMAND NOT SUPPORT", "TOO MANY PARAMETERS", "ABORTED", "OPERATION NOT ALLOWED",
     "OPERATION NOT SUPPORTED"}
)  # fmt: skip
_CODED = re.compile(r"(?i)(?:(\+CM[ES] ERROR)(?:\s*:\s*|\s+)(.*)|(?:MODEM |\+EXT )?ERROR:\s*.*)")


def final_of(line: str, finals: Finals) -> Final | None:
    """Read a final result code; None where the line is none for this class of command."""
    upper = line.upper()
    if upper == "OK":
        return Final(text=line, is_ok=True)
    if upper in _ERRORS:
        return Final(text=line, is_ok=False)
    coded = _CODED.fullmatch(line)
    if coded is not None:
        name, value = (coded.group(1) or "").upper(), (coded.group(2) or "").strip(' ."')
        return Final(
            text=line,
            is_ok=False,
            cme=_number(value, is_cms=False) if name == "+CME ERROR" else None,
            cms=_number(value, is_cms=True) if name == "+CMS ERROR" else None,
        )
    if finals is Finals.CALL and (upper in _CALL_ENDS or upper.startswith("CONNECT")):
        return Final(text=line, is_ok=upper.startswith("CONNECT"))
    return None


def _number(value: str, *, is_cms: bool) -> int | None:
    if value.isdecimal():
        return int(value) if len(value) < 6 else None
    return code_of_text(value, is_cms=is_cms)
