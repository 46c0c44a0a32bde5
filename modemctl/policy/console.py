"""What may be sent to a modem by hand: commands that read, and tell nothing personal.

There is no path to a modem around the approvals (SMS-01), the PIN guard (SIM-06) or the ban on
changed IMEIs (SIM-08): so a list of what is allowed, not of what is forbidden. Reading the card's
messages and numbers is the inbox's and the register's business (TEL-11).
"""

from __future__ import annotations

import re
from typing import Final

_QUERY: Final = re.compile(r"AT[+^$*%#_]([A-Z][A-Z0-9]{1,15})(\?|=\?)")
_PLAIN: Final = re.compile(r"AT(I[0-9]?|&V|[+^$*%#_]([A-Z][A-Z0-9]{1,15}))?")
_EXECUTES: Final = frozenset(
    {"CESQ", "CGMI", "CGMM", "CGMR", "CPAS", "CSQ", "GMI", "GMM", "GMR", "HCSQ", "QCSQ", "QNWINFO",
     "SYSINFO", "SYSINFOEX", "CEER"}
)  # fmt: skip
_PERSONAL: Final = frozenset({"CCFC", "CIMI", "CLCC", "CMGL", "CMGR", "CNUM", "CPBR", "CUSD"})
_SLOW: Final = frozenset({"COPS=?"})  # scans for minutes: longer than the link may be taken


def is_reading(command: str) -> bool:
    """Whether a command, in upper case without blanks around, only reads and is not personal."""
    query = _QUERY.fullmatch(command)
    if query is not None:
        return query[1] not in _PERSONAL and query[1] + query[2] not in _SLOW
    plain = _PLAIN.fullmatch(command)
    return plain is not None and (plain[2] is None or plain[2] in _EXECUTES)
