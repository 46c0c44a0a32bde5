"""What is known of a command before it is sent: its answer's shape, its finals, its secrets."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

PIN_TIMEOUT = 20.0
"""Seconds; `+CPIN=` and `+CLCK="SC"` touch the card (measured by others: 5 to 20)."""


class Bare(StrEnum):
    """The shape of an answer that carries no prefix. Lines of another shape are not answers."""

    NONE = "none"
    IMEI = "imei"
    """14 to 16 digits, perhaps labelled or quoted."""
    SERIAL = "serial"
    """A maker's serial number in the IMEI's place: a word with six digits."""
    DIGITS = "digits"
    """6 to 16 digits alone (IMSI)."""
    ICCID = "iccid"
    """18 to 22 characters of an ICCID."""
    TEXT = "text"
    """Free text (manufacturer, model, revision): anything that starts with no URC's mark."""
    ANY = "any"
    """Whatever no URC table claims (the maintenance console)."""


class Finals(StrEnum):
    """Which lines end a command. Source: V.250 §5.7."""

    PLAIN = "plain"
    """`OK` and the errors."""
    CALL = "call"
    """Also `NO CARRIER`, `BUSY`, …: only where a call is dialled or answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Final:
    """How a command ended. `text` is the line; `cme` and `cms` where it told a number."""

    text: str
    is_ok: bool
    cme: int | None = None
    cms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command line.

    `text` goes over the wire; `shown` is what logs and errors may hold. `prefixes` start the
    answer's lines; `accepts` decides where a URC has the same prefix. `has_payload`: a line of
    hex follows each answer line (`+CMGL`, `+CMGR`). `ends_bare`: some firmware sends no `OK`
    after the answer (`+CPIN?` of Wavecom). `is_private`: the answer stays out of logs.
    `timeout` is seconds from the moment of sending.
    """

    text: str
    shown: str
    prefixes: tuple[str, ...] = ()
    accepts: Callable[[str], bool] | None = None
    bare: Bare = Bare.NONE
    finals: Finals = Finals.PLAIN
    has_payload: bool = False
    ends_bare: bool = False
    is_private: bool = False
    timeout: float = 5.0

    def __repr__(self) -> str:
        """Show no secret: a command may carry a PIN."""
        return f"Command({self.shown!r})"


def plain(text: str, *, timeout: float = 5.0) -> Command:
    """A command whose answer is only a final result."""
    return Command(text=text, shown=text, timeout=timeout)


def asking(
    text: str,
    *prefixes: str,
    timeout: float = 5.0,
    is_private: bool = False,
    has_payload: bool = False,
) -> Command:
    """A command that is answered by lines with these prefixes (by its own name if none given)."""
    return Command(
        text=text,
        shown=text,
        prefixes=prefixes or (prefix_of(text),),
        timeout=timeout,
        is_private=is_private,
        has_payload=has_payload,
    )


def secret(text: str, shown: str, *, timeout: float = PIN_TIMEOUT) -> Command:
    """A command with a secret in its arguments; only `shown` reaches logs and errors."""
    return Command(text=text, shown=shown, timeout=timeout, is_private=True)


def by_hand(text: str, *, timeout: float) -> Command:
    """A command that a person typed: nothing is known of it, so nothing of it is shown.

    Raises ValueError for what no person may send: messages and prompts, PINs past their guard,
    calls, another IMEI, several commands in one line.
    """
    is_basic = _BASIC.fullmatch(text) is not None
    bare = text.replace(" ", "")  # modems skip blanks: V.250 §5.2.1
    if not is_basic and (_EXTENDED.fullmatch(text) is None or _FORBIDDEN.search(bare)):
        raise ValueError("not a command that may be sent by hand")
    name = _NAME.match(text)
    return Command(
        text=text,
        shown=f"{name.group(0).upper() if name else 'AT'}…",
        prefixes=(prefix_of(text),),
        bare=Bare.ANY,
        is_private=True,
        timeout=timeout,
    )


_BASIC = re.compile(r"(?ai)AT(?:I\d*|[EVQ][01]?|Z\d?|H\d?|X\d|&[CDFKVW]\d?|S\d+(?:\?|=\d+))*")
_EXTENDED = re.compile(r"(?ai)AT[+^*#$%!_][ -:<-~]+")  # no `;`, and 7 bits: some drop the eighth
_FORBIDDEN = re.compile(
    r"(?i)CMG[SWC]|CMSS|CNMA|CSIM|CGLA|EGMR|SIMEI|\^DIAL|CPIN=|CPIN2|CLCK=|CPWD"
    # What follows may be asked about with `=?`: the makers' own names for PINs and locks, …
    r"|(?:PIN|PUK|LCK|SPWD|NCK|CARDLOCK|SIMLOCK"
    # … calls and menus, the network's services, the card's phone book.
    r"|DIAL|CDV|CKPD|CTFR|CHLD|CCFC|STGR|CPBW)=(?!\?)"
    r"|CUSD=[^,]*,"
    r"|CRSM=(?!\?|(?:176|178|192|242)(?![0-9]))"  # files are read; PIN and APDU go by numbers
    r"|\+C(?:MT|DS|BM)I?[?=]"  # no commands: a delivery would pass for the answer
)


def prefix_of(text: str) -> str:
    """The prefix by which a command's answer is told: `AT+CSQ` → `+CSQ:`."""
    name = _NAME.match(text)
    return f"{name.group(0)[2:].upper()}:" if name else text


_NAME = re.compile(r"(?i)AT[+^*#$%!_][A-Z0-9]+")
_LONG_NUMBER = re.compile(r"\d{14,16}")
_DIGITS = re.compile(r"[0-9]{6,16}")
_IMEI = re.compile(r"(?i)(?:\+?C?GSN:|IMEI:|\+?IMEI:)?\s*\"?\d{14,16}\"?(?:\s*[,:].*)?")
_SERIAL = re.compile(r"\"?(?=(?:[^0-9]*[0-9]){6})[0-9A-Za-z-]{6,24}\"?")
_ICCID = re.compile(r"(?i)\"?(?:89|98)[0-9A-F]{16,20}\"?")
_MARKED = re.compile(r"[+^*#$%!_]")


def fits_bare(shape: Bare, line: str) -> bool:
    """Whether a line can be an answer of this shape."""
    if shape is Bare.TEXT:
        return _MARKED.match(line) is None and _LONG_NUMBER.fullmatch(line) is None
    return _SHAPES[shape].fullmatch(line) is not None


_SHAPES = {
    Bare.NONE: re.compile(r"(?!)"),
    Bare.IMEI: _IMEI,
    Bare.SERIAL: _SERIAL,
    Bare.DIGITS: _DIGITS,
    Bare.ICCID: _ICCID,
    Bare.ANY: re.compile(r"(?s).*"),
}
