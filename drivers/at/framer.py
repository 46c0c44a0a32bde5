"""Bytes to lines and prompts; pure. Any split of the bytes gives the same tokens."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

MAX_LINE = 1024
"""Octets kept of one line; the longest lawful one (a PDU in hex) has 2·(12 + 164) = 352."""

BARE_PROMPT_SILENCE = 0.05
"""Seconds of silence after which a lone `>` is a prompt: some firmware omits the blank."""

_EOL = re.compile(rb"[\r\n]")
_NOISE = b"\0"  # sent by some modems at boot
_BLANKS = b" \t\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line without its ends and outer blanks. `is_cut`: it was longer than `MAX_LINE`."""

    text: str
    is_cut: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """The modem asks for a payload. Source: TS 27.005 §4.3 (`<CR><LF>><SP>`)."""


Token: TypeAlias = Line | Prompt


class Framer:
    """Cuts a byte stream; `expects_prompt` says whether `>` at a line's start may be a prompt.

    Tokens are pulled one by one, because what one means (the answer to a command, say) decides
    whether the next octets can be a prompt.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._is_cut = False
        self._silent_since = 0.0
        self.expects_prompt = False

    def push(self, data: bytes, now: float) -> None:
        """Take octets, cut anywhere."""
        self._buffer += data.translate(None, _NOISE)
        self._silent_since = now

    def next_token(self) -> Token | None:
        """Return the next complete token; None where more octets are needed."""
        if not self._buffer:
            return None
        if not self._is_cut:
            self._drop_leading_blanks()
            if self.expects_prompt and self._buffer.startswith(b"> "):
                del self._buffer[:2]
                return Prompt()
        end = self._line_end()
        if end is not None:
            return self._take_line(end)
        if len(self._buffer) > MAX_LINE:
            self._is_cut = True
            del self._buffer[MAX_LINE:]
        return None

    @property
    def prompt_due(self) -> float | None:
        """When a lone `>` will have been silent for long enough; None where there is none."""
        if self.expects_prompt and self._buffer == b">":
            return self._silent_since + BARE_PROMPT_SILENCE
        return None

    def tick(self, now: float) -> Prompt | None:
        """Return the prompt that silence has made of a lone `>`."""
        due = self.prompt_due
        if due is None or now < due:
            return None
        self._buffer.clear()
        return Prompt()

    def _drop_leading_blanks(self) -> None:
        buffer = self._buffer
        if buffer and buffer[0] in _BLANKS:
            del buffer[: len(buffer) - len(buffer.lstrip(_BLANKS))]

    def _line_end(self) -> int | None:
        found = _EOL.search(self._buffer)
        return None if found is None else found.start()

    def _take_line(self, end: int) -> Token:
        # latin-1 loses no octet, whatever garbage came.
        text = self._buffer[: min(end, MAX_LINE)].decode("latin-1").strip(" \t")
        is_cut = self._is_cut or end > MAX_LINE
        del self._buffer[: end + 1]
        self._is_cut = False
        if text == ">" and self.expects_prompt and not is_cut:
            return Prompt()
        return Line(text=text, is_cut=is_cut)
