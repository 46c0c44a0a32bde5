"""A recording as a list of exchanges: what the host said, and what the modem said thereafter."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from simulator.recording.masking import Masker
from simulator.recording.standins import Standins
from simulator.recording.tape import Record, Sender, Tape, What

_BLANKS: Final = re.compile(r'("[^"]*"?)|\s+')
_AHEAD_MS: Final = 100
"""Commands closer than this, without a word in between, were typed ahead of their answers."""
_SHAPES: Final = Masker(Standins(None))
_SKELETONS: Final = Masker(Standins(None), is_skeleton=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reaction:
    """Something the modem said, `seconds` after what went before it."""

    seconds: float
    what: What
    octets: bytes

    @property
    def line(self) -> str:
        """Its text without line ends."""
        return self.octets.decode("latin-1").strip("\r\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One command line, or one payload, with what followed it until the host spoke again."""

    said: str
    reactions: tuple[Reaction, ...] = ()
    has_echo: bool = False
    payload: Exchange | None = None

    @property
    def answer(self) -> tuple[str, ...]:
        """The information lines, unsolicited ones left out."""
        wanted = {What.ANSWER, What.PAYLOAD}
        end = self._end
        return tuple(item.line for item in self.reactions[:end] if item.what in wanted)

    @property
    def result(self) -> str:
        """The final result; empty where none came."""
        end = self._end
        return self.reactions[end].line if end < len(self.reactions) else ""

    @property
    def prompt(self) -> bytes:
        """The prompt's octets; empty where none came."""
        return next((item.octets for item in self.reactions if item.what is What.PROMPT), b"")

    @property
    def again(self) -> Exchange:
        """The same once more: without what came of itself."""
        kept = [item for item in self.reactions[: self._end + 1] if item.what is not What.URC]
        payload = self.payload.again if self.payload is not None else None
        return replace(self, reactions=tuple(kept), payload=payload)

    @property
    def _end(self) -> int:
        results = (n for n, item in enumerate(self.reactions) if item.what is What.RESULT)
        return next(results, len(self.reactions))


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """A recording: what the modem said before anything was asked, then the exchanges."""

    opening: tuple[Reaction, ...]
    exchanges: tuple[Exchange, ...]


def story(tape: Tape) -> Story:
    """Read a recording as exchanges."""
    teller = _Teller()
    for record in tape.records:
        teller.take(record)
    return teller.story()


def shape(command: str) -> str:
    """A command line's form: equal for lines that differ only in secrets of equal shape."""
    return _normal(_SHAPES.command(command)[0])


def skeleton(command: str) -> str:
    """A command line's form: equal for lines that differ only in secrets, or in lengths of PDUs."""
    return _normal(_SKELETONS.command(command)[0]).replace('"', "")


def _normal(command: str) -> str:
    text = _BLANKS.sub(lambda match: match.group(1) or "", command).upper()
    start = text.find("AT")
    return text[start:] if start >= 0 else text


class _Open:
    """An exchange that still grows."""

    def __init__(self, said: str) -> None:
        self.said = said
        self.reactions: list[Reaction] = []
        self.has_echo = False
        self.payload: _Open | None = None

    def done(self) -> Exchange:
        payload = self.payload.done() if self.payload is not None else None
        return Exchange(
            said=self.said,
            reactions=tuple(self.reactions),
            has_echo=self.has_echo,
            payload=payload,
        )


class _Teller:
    def __init__(self) -> None:
        self._opening = _Open("")
        self._commands: list[_Open] = []
        self._now = self._opening
        self._ahead: list[_Open] = []
        self._is_typing = False
        self._last = 0

    def take(self, record: Record) -> None:
        """The next record."""
        if record.sender is Sender.MODEM:
            self._hear(record)
        elif record.what is What.PAYLOAD:
            self._type(record)
        elif record.line:
            # A bare CR or ESC asks nothing; what follows belongs to what went before.
            self._ask(record)
        self._last = record.ms

    def story(self) -> Story:
        """All of it."""
        return Story(
            opening=tuple(self._opening.reactions),
            exchanges=tuple(command.done() for command in self._commands),
        )

    def _ask(self, record: Record) -> None:
        command = _Open(record.line)
        is_typed_ahead = (
            bool(self._commands)
            and self._now is self._commands[-1 - len(self._ahead)]
            and not (self._now.reactions or self._now.has_echo)
            and record.ms - self._last < _AHEAD_MS
        )
        self._commands.append(command)
        if is_typed_ahead:
            self._ahead.append(command)
        else:
            self._ahead.clear()
            self._now = command

    def _type(self, record: Record) -> None:
        if not self._commands:
            return
        command = self._commands[-1]
        if command.payload is None or not self._is_typing:
            command.payload = _Open("")
        command.payload.said += record.data
        self._now = command.payload
        self._is_typing = record.data[-1:] not in {"\x1a", "\x1b"}

    def _hear(self, record: Record) -> None:
        if record.what is What.ECHO:
            self._now.has_echo = True
            return
        if record.what is What.PROMPT and self._is_typing:
            return  # behind each line of a text
        self._now.reactions.append(
            Reaction(
                seconds=(record.ms - self._last) / 1000, what=record.what, octets=record.octets
            )
        )
        if record.what is What.RESULT and self._ahead:
            self._now = self._ahead.pop(0)
