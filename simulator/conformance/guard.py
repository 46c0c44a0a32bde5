"""What may be typed to a modem: everything else raises before an octet leaves.

The list says what is harmless, so that a new check cannot send, dial, lock or erase by oversight.
Ctrl-Z leaves only together with a payload that was allowed before, letter by letter, or at an idle
command line before any prompt was ever asked for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

ESC: Final = b"\x1b"
CTRL_Z: Final = b"\x1a"


class Permit(StrEnum):
    """What only a person's explicit flag allows."""

    SEND = "send"  # one SMS for each payload that was announced
    PIN = "pin"  # one try of one PIN
    WRITE = "write"  # a draft in a storage, and its deletion
    USSD = "ussd"
    REBOOT = "reboot"


class Forbidden(AssertionError):
    """A check wanted to type what nobody allowed. A defect of the check; nothing was typed."""


# Commands that carry something out without a parameter.
_RUNS: Final = frozenset(
    {
        "+CGMI", "+GMI", "+CGMM", "+GMM", "+CGMR", "+GMR", "+CGSN", "+GSN", "+GCAP", "+CLAC",
        "+CIMI", "+CNUM", "+CSQ", "+CESQ", "+CPAS", "+CBC", "+CLCC", "+CEER", "+CPINR", "+SPIC",
        "#PCT", "#CCID", "#QSS", "+CCID", "+QCCID", "+CICCID", "+ICCID", "^ICCID", "+ZICCID",
        "^SCID", "^SPIC", "+CPNNUM", "+CNMA", "+QGMR", "+QNWINFO", "+QCSQ", "^SYSINFO",
        "^SYSINFOEX", "^HWVER", "^VERSION", "^CPIN", "+QTRPIN", "+UPINCNT", "+XPINCNT", "+CPOL",
        "+NOSUCHCOMMAND",
    }
)  # fmt: skip
_DIGITS: Final = r"[0-9]{1,3}"
# What may be set, and to what.
_SETS: Final[Mapping[str, str]] = {
    "+CMEE": r"[0-9]",
    "+CMGF": r"[01]",
    "+CSDH": r"[01]",
    "+CSMS": r"[01]",
    "+CSCS": r'"[A-Z0-9_-]*"',
    "+CNMI": r"[0-9,]*",
    "+CPMS": r'"[A-Z]*"(,"[A-Z]*"){0,2}',
    "+CREG": r"[0-3]",
    "+CGREG": r"[0-3]",
    "+CEREG": r"[0-5]",
    "+COPS": r"3,[012]",
    "+CLIP": r"[01]",
    "+CRC": r"[01]",
    "+CVHU": r"[012]",
    "^CURC": r"[01]",
    "^USSDMODE": r"[01]",
    "+CGSN": r"1",
    "+CLCK": r'"[A-Z]{2}",2',
    # Files are read: 176 and 178, 192 and 242 tell; 214 and 220, which write, are not here.
    "+CRSM": r"(176|178|192|242|999)(,[0-9]*){0,4}",
    # VERIFY and UNBLOCK with nothing in them: the card tells its tries. TS 102 221 §11.1.9
    "+CSIM": r'10,"00(20|2C)00(01|81)00"',
    "^SPIC": r'"(SC|P2|PS|PN)"(,[01])?',
    "+QPINC": r'"(SC|P2)"',
    # Unread messages (0, 4) are not listed: listing would mark them as read. TS 27.005 §3.4.2
    "+CMGL": r"[123]",
    "+CMGR": _DIGITS,
    "+CMGS": _DIGITS,
    "+CMGW": _DIGITS,
    "+CMGD": _DIGITS,
    "+CNMA": r"[01]",
    "+CUSD": r"[012]",
}
_PROMPTS: Final = frozenset({"+CMGS", "+CMGW"})
_EXTENDED: Final = re.compile(r"([+^*#$%!_][A-Z][A-Z0-9]*)(?:(=\?|\?)|=(.*))?")
_BASIC: Final = re.compile(r"(?:[EVQ][01]?|I[0-9]?)*")
_PIECES: Final = re.compile(r'(?:"[^"]*"|[^";])+')
_JUNK: Final = re.compile(rb"[0-9B-SU-Z]*")


def is_settable(name: str, value: str) -> bool:
    """Whether `AT<name>=<value>` is among what is harmless."""
    pattern = _SETS.get(name)
    return pattern is not None and re.fullmatch(pattern, value) is not None


class Guard:
    """Looks at all that is typed; `typed` keeps it for the record."""

    def __init__(self, permits: frozenset[Permit] = frozenset()) -> None:
        self._permits = permits
        self._payloads: list[tuple[str, bytes]] = []
        self._lines: list[str] = []
        self._was_prompted = False
        self._prompt = ""
        self.erasable: set[int] = set()
        self.typed: list[bytes] = []

    def allows(self, permit: Permit) -> bool:
        """Whether the person gave this flag."""
        return permit in self._permits

    def announce_payload(self, prompt: str, payload: bytes) -> None:
        """Allow this text, once, at the prompt of `+CMGS` or `+CMGW`.

        Raises:
            Forbidden: the flag for it was not given.
        """
        self._require(Permit.SEND if prompt == "+CMGS" else Permit.WRITE)
        self._payloads.append((prompt, payload + CTRL_Z))

    def announce_line(self, permit: Permit, line: str) -> None:
        """Allow this command line, once.

        Raises:
            Forbidden: the flag for it was not given.
        """
        self._require(permit)
        self._lines.append(line)

    def check(self, data: bytes) -> None:
        """Let these octets pass, and remember them.

        Raises:
            Forbidden: they are not among what is harmless or allowed.
        """
        if CTRL_Z in data:
            self._check_ctrl_z(data)
        elif data.strip(b"\r\n\x1b"):
            self._check_line(data)
        self.typed.append(data)

    @property
    def prompt(self) -> str:
        """The command whose prompt may be up; empty where none was asked for."""
        return self._prompt

    def prompt_is_over(self) -> None:
        """The modem answered: it stands at its command line again."""
        self._prompt = ""

    def _check_ctrl_z(self, data: bytes) -> None:
        if (self._prompt, data) in self._payloads:
            self._payloads.remove((self._prompt, data))
            return
        if data != CTRL_Z + b"\r" or self._was_prompted:
            raise Forbidden("Ctrl-Z")

    def _check_line(self, data: bytes) -> None:
        if not data.isascii():
            raise Forbidden("octets that are no ASCII")
        line = data.decode("ascii").strip("\r\n\x1b")
        if line in self._lines:
            self._lines.remove(line)
            return
        # It repeats the line before: only one that is known to be harmless.
        if line == "A/" and self.typed[-1:] == [b"AT+CSQ\r"]:
            return
        before, at, body = line.upper().partition("AT")
        if not _JUNK.fullmatch(before.encode()):
            raise Forbidden("junk that could be a command")
        if at:
            self._check_body(body)

    def _check_body(self, body: str) -> None:
        for piece in _PIECES.findall(body):
            text = re.sub(r"\s+", "", piece)
            basic = _BASIC.match(text)
            rest = text[basic.end() :] if basic else text
            if rest:
                self._check_extended(rest)

    def _check_extended(self, text: str) -> None:
        match = _EXTENDED.fullmatch(text)
        if match is None:
            raise Forbidden("a command that is on no list")
        name, question, value = match.groups()
        if question is not None:
            return
        if value is None:
            if name not in _RUNS:
                raise Forbidden(f"{name} is not on the list")
            return
        if not is_settable(name, value):
            raise Forbidden(f"{name} with this value is not on the list")
        if name == "+CMGD" and int(value) not in self.erasable:
            raise Forbidden("deletes a slot that was not seen empty")
        if name in _PROMPTS:
            self._was_prompted = True
            self._prompt = name

    def _require(self, permit: Permit) -> None:
        if permit not in self._permits:
            raise Forbidden(f"not without the flag: {permit}")
