"""The grammar of a V.250 command line: from its characters to commands.

Source: ITU-T V.250 §5.2 (command line), §5.3 (basic), §5.4 (extended syntax).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final

_EXTENDED = re.compile(r"[+^*#$%!_][A-Z][A-Z0-9]*", re.IGNORECASE)
_BASIC = re.compile(r"(?:S\d+|[&\\]?[A-Z])", re.IGNORECASE)
_QUOTED = re.compile(r'"[^"]*"?|[^";]')
_BLANKS = re.compile(r'("[^"]*"?)|\s+')
_PARAMETER = re.compile(r"=\?|\?|=?\d*")
_CONTROL = re.compile(r"[\x00-\x1f]")


class Op(StrEnum):
    """What is asked of a command."""

    RUN = ""
    SET = "="
    READ = "?"
    TEST = "=?"


class SyntaxFault(ValueError):
    """This is no command."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command of a line. `name` in upper case with its prefix; `text` as typed."""

    name: str
    op: Op
    text: str = ""

    @property
    def key(self) -> str:
        """Name and operation, as persona files write it."""
        return f"{self.name}{self.op}"

    @property
    def args(self) -> list[str]:
        """The parameters, unquoted; left-out ones are empty."""
        return split_args(self.text)


NOTHING: Final = Command(name="", op=Op.RUN)
"""The command of an empty line."""


def body(line: str) -> str | None:
    """What follows `AT`, or None where the line holds no command.

    Escape, Ctrl-Z and line feeds end whatever stood before them: clients type them at random, and
    a PDU typed at the command line (kannel) is junk up to the next `AT`.
    """
    tail = _CONTROL.split(line)[-1]
    upper = tail.upper()
    start = upper.find("AT")
    # V.250 §5.2.1: both letters in the same case; "At" is not a command line.
    return tail[start + 2 :] if start >= 0 and tail[start : start + 2] in {"AT", "at"} else None


@lru_cache(maxsize=4096)
def parse(text: str) -> tuple[Command, ...]:
    """The commands of a line's body, in order; an empty body has none.

    Raises:
        SyntaxFault: a character starts no command.
    """
    rest = _BLANKS.sub(lambda match: match.group(1) or "", text)
    found: list[Command] = []
    while rest:
        if rest[0] == ";":
            rest = rest[1:]
        elif rest[0] in "+^*#$%!_":
            command, rest = _extended(rest)
            found.append(command)
        else:
            command, rest = _basic(rest)
            found.append(command)
    return tuple(found)


def split_args(text: str) -> list[str]:
    """Cut parameters at commas outside quotes and take the quotes off."""
    if not text:
        return []
    if '"' not in text:
        return text.split(",")
    parts = re.findall(r'((?:"[^"]*"?|[^",])*)(?:,|$)', text)
    # The expression also matches the empty end of the text.
    if not text.endswith(","):
        parts.pop()
    return [part.replace('"', "") for part in parts]


def _extended(rest: str) -> tuple[Command, str]:
    match = _EXTENDED.match(rest)
    if match is None:
        raise SyntaxFault(rest[:1])
    name = match.group().upper()
    rest = rest[match.end() :]
    end = 0
    while end < len(rest) and (piece := _QUOTED.match(rest, end)):
        end = piece.end()
    given, rest = rest[:end], rest[end:]
    for op in (Op.TEST, Op.READ, Op.SET):
        if given.startswith(op):
            return Command(name=name, op=op, text=given[len(op) :]), rest
    if given:
        # "+CMEE1": a name may not run into digits that the table knows nothing of.
        raise SyntaxFault(given[:1])
    return Command(name=name, op=Op.RUN), rest


def _basic(rest: str) -> tuple[Command, str]:
    match = _BASIC.match(rest)
    if match is None:
        raise SyntaxFault(rest[:1])
    name = match.group().upper()
    rest = rest[match.end() :]
    if name == "D":
        number, _, rest = rest.partition(";")
        return Command(name="D", op=Op.RUN, text=number), rest
    parameter = _PARAMETER.match(rest)
    given = parameter.group() if parameter else ""
    rest = rest[len(given) :]
    if given in {"?", "=?"}:
        return Command(name=name, op=Op(given)), rest
    op = Op.SET if given.startswith("=") else Op.RUN
    return Command(name=name, op=op, text=given.lstrip("=")), rest
