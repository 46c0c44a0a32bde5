"""What a modem said to one command: its octets, cut into lines, whatever it does oddly.

Source: ITU-T V.250 §5.7 (result codes); TS 27.007 §9.2, TS 27.005 §3.2.5 (errors).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_FINAL: Final = re.compile(
    r"OK|ERROR|\+(?:CM[ES]|EXT) ERROR ?:.*|MODEM ERROR:.*|COMMAND NOT SUPPORT|TOO MANY PARAMETERS"
    r"|NO CARRIER|NO DIAL ?TONE|BUSY|NO ANSWER|ABORTED|OPERATION NOT (?:ALLOWED|SUPPORTED)|NA"
)
# These end a dialling command only; with any other they tell of a call. TS 27.007 §6, V.250 §6.3.
_OF_CALLS: Final = frozenset({"NO CARRIER", "BUSY", "NO ANSWER"})
_NUMERIC: Final = re.compile(r"[0-9]")
_CODE: Final = re.compile(r"\+CM([ES]) ERROR ?: ?(\d+)\s*")
_PROMPT: Final = re.compile(rb"(?:\A|\r?\n|\r)> ?(?=[\r\n]|\Z)")
_PROMPTING: Final = ("+CMGS:", "+CMGW:")
_MARK: Final = re.compile(r"[+^*#$%!_&][A-Z]")
# What modems say unasked, also in the middle of an answer. Source: at-dialects §1.4, §3.8.
_NOISE: Final = re.compile(
    r"(\^(?:RSSI|RSSILVL|HCSQ|MODE|BOOT|DSFLOWRPT|CSNR|NWTIME|SRVST|SIMST|STIN|SMMEMFULL|SYSSTART)"
    r"|\+(?:ZUSIMR|ZRSSI|ZPASR|ZDONR|ZPSTM|ZEND|ZSMMEMFULL|CIEV|CMTI|CMT|CDSI|CDS|CBM|CRING|CLIP"
    r"|CCWA|CUSD|CREG|CGREG|CEREG|WIND|QIND|QUSIM|UU[A-Z]+|PACSP\d|PBREADY|CTZV|CTZE|CGEV|COLP)"
    r"|\*(?:PSUTTZ|EPEV|ECAV)|#(?:QSS|NITZ|PSNT|ECAM))(?=[:\s]|$)"
    r"|RING$|RDY$|DST:|(?:UNDER|OVER)-VOLTAGE|(?:SMS|PB) DONE|(?:Call|SMS) Ready"
)


_ANNOUNCING: Final = re.compile(r"\+(?:CMT|CDS|CBM)(?=:|$)")


def announces_body(line: str) -> bool:
    """Whether the next line is a message's text or PDU. Source: TS 27.005 §3.4.1."""
    return _ANNOUNCING.match(line) is not None


def is_unasked(line: str) -> bool:
    """Whether it looks like a line that modems say without being asked."""
    return _NOISE.match(line) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One command's answer. `final` is empty where none came in time; `seconds` up to it."""

    command: str
    raw: bytes
    lines: tuple[str, ...] = ()
    noise: tuple[str, ...] = ()
    final: str = ""
    seconds: float = 0.0
    is_echoed: bool = False
    prompt: bytes = b""

    @property
    def is_ok(self) -> bool:
        """The modem did it."""
        return self.final in {"OK", "0"}

    @property
    def is_silent(self) -> bool:
        """Neither a result nor a prompt came in time."""
        return not self.final and not self.prompt

    @property
    def cme(self) -> int | None:
        """The number of a `+CME ERROR`."""
        return self._code("E")

    @property
    def cms(self) -> int | None:
        """The number of a `+CMS ERROR`."""
        return self._code("S")

    def value(self, name: str) -> str | None:
        """What follows `name:` in the first line that begins with it, blank or not."""
        return next(iter(self.values(name)), None)

    def values(self, name: str) -> list[str]:
        """The same of all such lines."""
        head = f"{name}:".upper()
        return [line[len(head) :].strip() for line in self.lines if line.upper().startswith(head)]

    @property
    def bare(self) -> list[str]:
        """Lines without a command's name in front."""
        return [line for line in self.lines if not _MARK.match(line)]

    @property
    def told(self) -> str:
        """In a few words, for a person."""
        if self.is_silent:
            return "nothing"
        return self.final or "a prompt"

    def _code(self, kind: str) -> int | None:
        match = _CODE.fullmatch(self.final)
        return int(match.group(2)) if match and match.group(1) == kind else None


class Buffer:
    """Collects one command's octets until its end is there."""

    def __init__(self, command: str, *, is_numeric: bool, ends_on_call: bool) -> None:
        self._command = command
        self._is_numeric = is_numeric
        self._ends_on_call = ends_on_call
        self.raw = b""
        self.final = ""
        self.lines: tuple[str, ...] = ()
        self.noise: tuple[str, ...] = ()
        name = re.match(r"AT([+^*#$%!_][A-Z0-9]+)", command.upper())
        self._own = f"{name.group(1)}:" if name else ""
        self.is_echoed = False
        self.prompt = b""

    def feed(self, data: bytes) -> bool:
        """Take octets; True once the final result is among them."""
        self.raw += data
        self._cut()
        return bool(self.final)

    @property
    def has_own_line(self) -> bool:
        """A line that answers the command has come, its result perhaps not."""
        return bool(self._own) and any(line.upper().startswith(self._own) for line in self.lines)

    def reply(self, seconds: float) -> Reply:
        """What there is by now."""
        return Reply(
            command=self._command,
            raw=self.raw,
            lines=self.lines,
            noise=self.noise,
            final=self.final,
            seconds=seconds,
            is_echoed=self.is_echoed,
            prompt=self.prompt,
        )

    def _cut(self) -> None:
        said = self.raw.replace(b"\0", b"")
        echo = self._command.encode() + b"\r"
        at = said.find(echo)
        self.is_echoed = at >= 0
        if self.is_echoed:
            said = said[:at] + said[at + len(echo) :]
        match = _PROMPT.search(said) if self._own in _PROMPTING else None
        self.prompt = match.group() if match else b""
        pieces = re.split(r"[\r\n]", said.decode("latin-1"))
        lines: list[str] = []
        noise: list[str] = []
        self.final = last = ""
        for piece in pieces[:-1]:
            text = piece.strip()
            is_body = bool(noise) and last == noise[-1] and announces_body(last)
            last = text or last
            if is_body and text:
                noise.append(text)
            elif not self.final and self._ends(text):
                self.final = text
            elif text and not (self.prompt and text == ">"):
                (noise if self._is_noise(text) else lines).append(text)
        self.lines, self.noise = tuple(lines), tuple(noise)

    def _is_noise(self, line: str) -> bool:
        is_own = bool(self._own) and line.upper().startswith(self._own)
        return not is_own and is_unasked(line)

    def _ends(self, line: str) -> bool:
        if self._is_numeric and _NUMERIC.fullmatch(line):
            return True
        if line in _OF_CALLS and not self._ends_on_call:
            return False
        return _FINAL.fullmatch(line) is not None
