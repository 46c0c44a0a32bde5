"""Follows both directions of a session and makes records of it: octets and times in, records out.

It buffers by line for the records only; what it is fed has long been passed on.
Source: ITU-T V.250 §5 (lines, echo, results); TS 27.005 §3.5.1, §4.3 (prompts).
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from simulator.recording import fields, masking
from simulator.recording.fields import Kind
from simulator.recording.masking import Asked, Masker
from simulator.recording.standins import Standins
from simulator.recording.tape import Record, Sender, What

_CR: Final = 0x0D
_LF: Final = 0x0A
_CTRL_Z: Final = 0x1A
_ESC: Final = 0x1B
_LONG_HEX: Final = re.compile(r"(?:[0-9A-Fa-f]{2}){10,}")
_MAX_LINE: Final = 4096
_MAX_WAITING: Final = 2  # one host goes on before it has read the last result; none is further
_MAX_TYPED: Final = 4  # what an echo may still be of
_RESULT: Final = re.compile(
    r"OK|ERROR|NO CARRIER|BUSY|NO ANSWER|NO ?DIAL ?TONE|COMMAND NOT SUPPORT|TOO MANY PARAMETERS|NA"
    r"|\+(?:CME|CMS|EXT) ERROR ?: ?(?:\d{1,4}|[A-Za-z ,()/-]{2,60})|MODEM ERROR: ?\d{1,4}"
    r"|CONNECT(?: \d{1,9})?|[0-9]"
)
_CODE: Final = re.compile(r"(?<=:)[0-9]{4}$|(?<=: )[0-9]{4}$")
"""A code that no standard and no known vendor has; it may be a PIN's digits."""
_OF_CALLS: Final = frozenset({"NO CARRIER", "BUSY", "NO ANSWER", "CONNECT"})
_HEADER: Final = re.compile(
    r'\+CMGL: ?\d{1,4},(?:"(?:REC UNREAD|REC READ|STO UNSENT|STO SENT)"|\d{1,2})(?:,.*)?'
)
_STORED: Final = re.compile(r'\+C(?:MT|DS)I: ?"[A-Z]{2}",\d{1,3}')


class _Body(Enum):
    """What the lines behind a message's header are."""

    NONE = auto()
    PDU = auto()
    TEXT = auto()
    """One line at least; more cannot be told from other lines."""
    LISTING = auto()
    """All up to the final result or the next header."""


@dataclass(slots=True, kw_only=True)
class _Waiting:
    """A command line that has no final result yet."""

    commands: list[Asked]
    prompts: bool = False
    is_text: bool = False
    is_listing: bool = False

    @property
    def names(self) -> set[str]:
        return {command.name for command in self.commands}

    @property
    def files(self) -> list[int | None]:
        """The file that each `+CRSM` of it asks for; None where that cannot be told."""
        return [_file_of(command.args) for command in self.commands if command.name == "+CRSM"]

    @property
    def has_pin(self) -> bool:
        return any(
            command.op == "=" and Kind.PIN in fields.asked(command.name).kinds
            for command in self.commands
        )

    @property
    def dials(self) -> bool:
        return bool(self.names & {"D", "A"})


class Reader:
    """One session. Feed it what each side said, in the order in which it was passed on."""

    def __init__(self, key: bytes) -> None:
        self._masker = Masker(Standins(key))
        self._host = bytearray()
        self._modem = bytearray()
        self._began: int | None = None
        self._last = 0
        self._waiting: deque[_Waiting] = deque(maxlen=_MAX_WAITING)
        self._prompting: _Waiting | None = None
        self._typed: deque[tuple[str, str]] = deque(maxlen=_MAX_TYPED)
        self._body = _Body.NONE
        self._may_be_text = False
        self._open_ussd = False
        self._has_lost_file = False
        self._is_overlong = {Sender.HOST: False, Sender.MODEM: False}
        self._made: list[Record] = []

    def feed(self, sender: Sender, data: bytes, ms: int) -> list[Record]:
        """Take what one side said; what is complete now. `ms` since the session's start."""
        if sender is Sender.HOST:
            self._settle(ms)
            for octet in data:
                self._typed_octet(octet, ms)
        else:
            for octet in data:
                self._said_octet(octet, ms)
        return self._taken()

    def close(self, ms: int) -> list[Record]:
        """The session is over: what was left half said."""
        self._settle(ms)
        if self._modem:
            self._said(ms)
        if self._host:
            self._typed_all(ms)
        return self._taken()

    def _taken(self) -> list[Record]:
        made, self._made = self._made, []
        return made

    # ------------------------------------------------------------ the host

    def _typed_octet(self, octet: int, ms: int) -> None:
        self._host.append(octet)
        is_blank = not self._host.strip(b"\r\n")
        is_repeat = self._host.upper() == b"A/" and self._prompting is None
        if octet in {_CR, _CTRL_Z, _ESC} or (octet == _LF and not is_blank) or is_repeat:
            self._typed_all(ms)
        elif len(self._host) >= _MAX_LINE:
            self._typed_all(ms, is_cut=True)

    def _typed_all(self, ms: int, *, is_cut: bool = False) -> None:
        data = self._host.decode("latin-1")
        self._host.clear()
        core = data.strip("\r\n\x1a\x1b")
        lead, tail = _around(data, core)
        was_overlong = self._is_overlong[Sender.HOST]
        self._is_overlong[Sender.HOST] = is_cut
        ends = tail[-1:] in {"\x1a", "\x1b"}
        prompting = self._prompting
        if prompting is not None and not prompting.is_text and core[:2] in {"AT", "at"}:
            # No hex digits: the host has given the message up. The modem may still wait for it.
            prompting = self._prompting = None
        if prompting is not None:
            made = self._masker.payload(core, is_text=prompting.is_text)
            self._add(Sender.HOST, What.PAYLOAD, lead + made + tail, ms, typed=core, made=made)
            if ends:
                self._prompting = None
        elif was_overlong or is_cut:
            self._add(Sender.HOST, What.COMMAND, lead + self._masker.unknown(core) + tail, ms)
        elif ends and core:
            # A message typed at the command line, by a host that saw a prompt where none was.
            made = self._masker.payload(core, is_text=False)
            self._add(Sender.HOST, What.PAYLOAD, lead + made + tail, ms, typed=core, made=made)
        else:
            self._command(lead, core, tail, ms)

    def _command(self, lead: str, core: str, tail: str, ms: int) -> None:
        made, commands = self._masker.command(core)
        self._add(Sender.HOST, What.COMMAND, lead + made + tail, ms, typed=core, made=made)
        if not commands and core.upper() not in {"AT", "A/"}:
            return
        waiting = _Waiting(commands=commands)
        for command in commands:
            if _prompts(command):
                waiting.prompts = True
                waiting.is_text = _is_text(command)
                self._prompting = waiting
        if len(self._waiting) == _MAX_WAITING and self._waiting[0].files:
            self._has_lost_file = True  # its answer may still come
        self._waiting.append(waiting)
        self._may_be_text = self._open_ussd = False

    # ------------------------------------------------------------ the modem

    def _said_octet(self, octet: int, ms: int) -> None:
        buffer = self._modem
        core = bytes(buffer.strip(b"\r\n"))
        if core and buffer[-1] == _CR and octet != _LF:
            self._said(ms)
            core = b""
        if not core and octet not in {_CR, _LF}:
            self._began = ms
        if core == b">" and octet != 0x20 and self._is_prompted:
            self._prompt(ms)
        buffer.append(octet)
        core = bytes(buffer.strip(b"\r\n"))
        if core == b"> " and self._is_prompted:
            self._prompt(ms)
        elif core and octet in {_LF, _CTRL_Z, _ESC}:
            self._said(ms)
        elif len(buffer) >= _MAX_LINE:
            self._said(ms, is_cut=True)

    @property
    def _is_prompted(self) -> bool:
        return any(waiting.prompts for waiting in self._waiting)

    def _settle(self, ms: int) -> None:
        """The other side goes on: what was held back to see its end is complete."""
        core = bytes(self._modem.strip(b"\r\n"))
        if core.strip() == b">":
            # A prompt of a command that we do not know: what follows is no command line.
            if self._prompting is None and not self._is_prompted and self._waiting:
                self._waiting[-1].prompts = self._waiting[-1].is_text = True
                self._prompting = self._waiting[-1]
            self._prompt(ms)
        elif core and self._modem[-1] == _CR:
            self._said(ms)

    def _prompt(self, ms: int) -> None:
        data = self._modem.decode("latin-1")
        self._modem.clear()
        self._add(Sender.MODEM, What.PROMPT, data, self._moment(ms))

    def _said(self, ms: int, *, is_cut: bool = False) -> None:
        data = self._modem.decode("latin-1")
        self._modem.clear()
        core = data.strip("\r\n\x1a\x1b")
        lead, tail = _around(data, core)
        was_overlong = self._is_overlong[Sender.MODEM]
        self._is_overlong[Sender.MODEM] = is_cut
        if was_overlong or is_cut:
            what, made = What.ANSWER, self._masker.unknown(core)
        elif data[-1:] in {"\x1a", "\x1b"}:
            what, made = self._echoed(core)
        else:
            what, made = self._line(core)
        self._add(Sender.MODEM, what, lead + made + tail, self._moment(ms))

    def _moment(self, ms: int) -> int:
        began, self._began = self._began, None
        return ms if began is None else began

    def _line(self, line: str) -> tuple[What, str]:
        """Say what a line of the modem is, and mask it."""
        if self._open_ussd:
            self._open_ussd = line.count('"') % 2 == 0
            return What.ANSWER, self._masker.ussd_end(line)
        if self._body is _Body.TEXT or (self._body is _Body.PDU and _LONG_HEX.fullmatch(line)):
            kind = Kind.TEXT if self._body is _Body.TEXT else Kind.PDU
            self._body = _Body.NONE
            return What.PAYLOAD, self._masker.value(kind, line)
        for typed, made in self._typed:
            if typed == line and not self._is_listed:
                return What.ECHO, made
        result = self._result(line)
        if result is not None:
            return result, _CODE.sub(lambda code: self._masker.unknown(code.group()), line)
        is_header = _HEADER.fullmatch(line) or _STORED.fullmatch(line)
        if self._body in {_Body.PDU, _Body.LISTING} and not is_header:
            # Behind a header stands a PDU, or somebody's text, whatever the header looked like.
            self._body = _Body.LISTING if self._is_listing else _Body.NONE
            self._may_be_text = True
            return What.PAYLOAD, self._masker.value(Kind.TEXT, line)
        return self._plain(line)

    @property
    def _is_listing(self) -> bool:
        """True where messages are being read: texts go on until the final result."""
        return any(waiting.names & {"+CMGR", "+CMGL"} for waiting in self._waiting)

    @property
    def _is_listed(self) -> bool:
        """True where the modem lists its commands; the list's first line comes after the echo."""
        return bool(self._waiting) and self._waiting[0].is_listing

    def _plain(self, line: str) -> tuple[What, str]:
        names: set[str] = set().union(*(waiting.names for waiting in self._waiting))
        asked = What.ANSWER if self._waiting else What.URC
        if line in fields.WORDS:
            return What.URC, line
        name = masking.name_of(line)
        if name is not None:
            if name in fields.UNASKED and name not in names:
                asked = What.URC
            return asked, self._named(name, line)
        if line.upper().startswith("AT"):
            # A list of commands (`+CLAC`), or an echo that noise has changed.
            if self._waiting and "+CLAC" in names:
                self._waiting[0].is_listing = True
            return asked, self._masker.command(line)[0]
        if self._prompting is not None and self._prompting.is_text:
            # A text that is echoed piece by piece.
            return What.ECHO, self._masker.value(Kind.TEXT, line)
        if self._may_be_text or any(waiting.has_pin for waiting in self._waiting):
            return asked, self._masker.unknown(line)
        return asked, self._masker.bare(line, names)

    def _named(self, name: str, line: str) -> str:
        # An answer does not say which file it is of: only a single question tells.
        files = [file for waiting in self._waiting for file in waiting.files]
        fid = files[0] if len(files) == 1 and not self._has_lost_file else None
        is_sure = not self._may_be_text or _HEADER.fullmatch(line) is not None
        made = self._masker.answer(line, fid=fid, is_sure=is_sure)
        if name == "+CUSD":
            self._open_ussd = line.count('"') % 2 == 1
        elif name in {"+CMT", "+CDS", "+CBM", "+CMGR", "+CMGL"}:
            is_text = _has_text_header(name, line)
            self._may_be_text = self._may_be_text or is_text
            if not is_text:
                self._body = _Body.PDU
            elif name in {"+CMGR", "+CMGL"}:
                self._body = _Body.LISTING
            else:
                self._body = _Body.NONE if name == "+CDS" else _Body.TEXT
        return made

    def _echoed(self, core: str) -> tuple[What, str]:
        for typed, made in self._typed:
            if typed == core:
                return What.ECHO, made
        return What.ECHO, self._masker.payload(core, is_text=False)

    def _result(self, line: str) -> What | None:
        """A final result, or a call's end in its words; None where the line is neither."""
        if not _RESULT.fullmatch(line):
            return None
        if not self._waiting:
            return None if line.isdigit() else What.RESULT
        first = self._waiting[0]
        if line in _OF_CALLS and not first.dials:
            return What.URC  # the command that waits is not over
        self._waiting.popleft()
        self._has_lost_file = self._has_lost_file and bool(self._waiting)
        self._body = _Body.NONE
        if self._prompting is first:
            self._prompting = None
        return What.RESULT

    # ------------------------------------------------------------ records

    def _add(
        self,
        sender: Sender,
        what: What,
        data: str,
        ms: int,
        *,
        typed: str = "",
        made: str = "",
    ) -> None:
        if typed:
            self._typed.append((typed, made))
        self._last = max(self._last, ms)
        kinds = self._masker.taken()
        self._made.append(Record(ms=self._last, sender=sender, what=what, data=data, masked=kinds))


def _around(data: str, core: str) -> tuple[str, str]:
    if not core:
        return data, ""
    start = data.index(core)
    return data[:start], data[start + len(core) :]


def _prompts(command: Asked) -> bool:
    if command.name == "+CNMA":
        length = command.args.partition(",")[2].strip()
        return command.op == "=" and length not in {"", "0"}
    return command.name in fields.PROMPTING and command.op in {"=", ""}


def _is_text(command: Asked) -> bool:
    first = command.args.partition(",")[0].strip()
    return command.name != "+CNMA" and not re.fullmatch("[0-9]{1,3}", first)


def _file_of(args: str) -> int | None:
    parts = args.split(",")
    found = parts[1].strip() if len(parts) > 1 else ""
    return int(found) if found.isascii() and found.isdigit() else None


def _has_text_header(name: str, line: str) -> bool:
    """True where the header is one of text mode. Source: TS 27.005 §3.4, §4.1, §4.2."""
    parts = masking.split(line.partition(":")[2])
    match name:
        case "+CMGR":
            return parts[0].strip().startswith('"')
        case "+CMGL":
            return len(parts) > 1 and parts[1].strip().startswith('"')
        case "+CMT" | "+CBM":
            return len(parts) > 2
    return len(parts) > 2
