r"""The recording's file: a header, then one line of JSON for each thing that went by.

    {"format": "modemctl-recording", "version": 1, "started": "…", "model": "E1750", …}
    {"ms": 1204, "from": "host", "what": "command", "data": "AT+CPIN=\"8251\"\r", "masked": ["pin"]}
    {"ms": 1310, "from": "modem", "what": "result", "data": "\r\nOK\r\n"}

`data` has one character an octet (Latin-1). `ms` counts from the start and never runs back: of the
host's things the moment they were complete, of the modem's that of their first octet.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, TypeAlias

from pydantic import TypeAdapter, ValidationError

FORMAT: Final = "modemctl-recording"
VERSION: Final = 1


class TapeError(ValueError):
    """This file is no recording that can be read; the message says where."""


class Sender(StrEnum):
    """Who said it."""

    HOST = "host"
    MODEM = "modem"


class What(StrEnum):
    """What was said."""

    COMMAND = "command"
    PAYLOAD = "payload"
    """Typed behind a prompt; from the modem: the message behind `+CMT:`, `+CMGR:` …"""
    ECHO = "echo"
    PROMPT = "prompt"
    ANSWER = "answer"
    URC = "urc"
    RESULT = "result"


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What the file says of itself. `model` is what the user called it, not what was asked."""

    started: str
    transport: str = "tty"
    baud: int | None = None
    model: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One thing that went by; `masked` names the kinds of secrets that have stand-ins in it."""

    ms: int
    sender: Sender
    what: What
    data: str
    masked: tuple[str, ...] = ()

    @property
    def octets(self) -> bytes:
        """The octets, as they went over the wire (but for the stand-ins)."""
        return self.data.encode("latin-1")

    @property
    def line(self) -> str:
        """The text without line ends."""
        return self.data.strip("\r\n\x1a\x1b\x00")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tape:
    """A whole recording; not `is_complete` where its end is missing (power cut, kill -9)."""

    header: Header
    records: tuple[Record, ...]
    end: str = ""
    is_complete: bool = True


_Line: TypeAlias = dict[str, object]
_HEADER: Final = TypeAdapter(Header)
_RECORD: Final = TypeAdapter(Record)


class Writer:
    """Writes a new recording, each record at once; its file is for its owner alone."""

    def __init__(self, path: Path, header: Header) -> None:
        """Create the file.

        Raises:
            FileExistsError: there is one already; nothing is overwritten.
            OSError: it cannot be created.
        """
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._put({"format": FORMAT, "version": VERSION, **asdict(header)})

    def add(self, records: Iterable[Record]) -> None:
        """Append.

        Raises:
            OSError: the file cannot be written.
        """
        for record in records:
            line: _Line = {"ms": record.ms, "from": record.sender, "what": record.what}
            line["data"] = record.data
            if record.masked:
                line["masked"] = list(record.masked)
            self._put(line)

    def close(self, end: str) -> None:
        """Write how it ended and close the file."""
        try:
            self._put({"end": end})
        finally:
            os.close(self._file)

    def _put(self, line: _Line) -> None:
        octets = json.dumps(line).encode() + b"\n"
        # One write a line: whoever kills the recorder finds whole lines but for the last one.
        while octets:
            octets = octets[os.write(self._file, octets) :]


def load(path: Path) -> Tape:
    """Read a recording; a last line that is cut is left out.

    Raises:
        TapeError: no recording, one of another version, or a broken line.
        OSError: it cannot be read.
    """
    lines = path.read_bytes().split(b"\n")
    is_cut = lines.pop() != b""
    parsed = list(_parsed(lines, path))
    if not parsed or parsed[0].get("format") != FORMAT:
        raise TapeError(f"{path} is no recording of a modem")
    head = parsed.pop(0)
    if head.get("version") != VERSION:
        raise TapeError(f"{path}: version {head.get('version')!r} is not known, only {VERSION}")
    end = parsed.pop().get("end") if parsed and "end" in parsed[-1] else None
    try:
        facts = {name: head[name] for name in Header.__dataclass_fields__ if name in head}
        records = tuple(_record(line) for line in parsed)
        header = _HEADER.validate_python(facts)
    except (ValidationError, KeyError) as error:
        raise TapeError(f"{path}: a line is not as this program writes it") from error
    return Tape(
        header=header,
        records=records,
        end=str(end or ""),
        is_complete=end is not None and not is_cut,
    )


def _parsed(lines: list[bytes], path: Path) -> Iterator[_Line]:
    for number, line in enumerate(lines, start=1):
        try:
            found = json.loads(line)
        except ValueError as error:
            raise TapeError(f"{path}:{number}: no JSON") from error
        if not isinstance(found, dict):
            raise TapeError(f"{path}:{number}: no JSON object")
        yield found


def _record(line: _Line) -> Record:
    facts = {**line, "sender": line["from"]}
    del facts["from"]
    return _RECORD.validate_python(facts)
