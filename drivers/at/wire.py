"""The wire log: its own logger `drivers.wire`, off by default; secrets removed by type.

What may be shown is decided by what a line *is* (the command knows that its argument is a PIN,
the table knows that a URC carries a number), never by what it looks like.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping

from drivers.at.session import (
    Aligned,
    Completed,
    Event,
    Expired,
    GaveUp,
    Stray,
    Urc,
    UrcRule,
    urc_key,
)

_log = logging.getLogger("drivers.wire")
_log.setLevel(logging.WARNING)  # off until somebody sets it to DEBUG

MAX_SHOWN = 80
"""Characters of one foreign line in a log."""


class Wire:
    """Writes what passes over one port, as far as it may be seen."""

    def __init__(self, port: str) -> None:
        self._port = port

    @property
    def is_on(self) -> bool:
        """Whether anybody listens; ask first, so that an idle log costs nothing."""
        return _log.isEnabledFor(logging.DEBUG)

    def sent(self, shown: str) -> None:
        """Note what was sent, already in its showable form."""
        _log.debug("wire.sent port=%s line=%s", self._port, shown)

    def received(self, event: Event, urcs: Mapping[str, UrcRule]) -> None:
        """Note what came."""
        _log.debug("wire.received port=%s %s", self._port, showable(event, urcs))


def showable(event: Event, urcs: Mapping[str, UrcRule]) -> str:
    """An event without its secrets."""
    match event:
        case Urc():
            text = f"urc={shown_urc(event, urcs)}"
        case Completed():
            text = f"answer={_shown_lines(event)} final={cut(event.final.text)}"
        case Expired():
            text = f"expired={event.command.shown} phase={event.phase}"
        case Aligned() | GaveUp():
            text = f"{type(event).__name__.lower()} dropped=<{len(event.dropped)} lines>"
        case Stray():
            text = f"stray=<{len(event.text)} characters>"
        case _:  # the prompt, the echo: nothing in them
            text = type(event).__name__.lower()
    return text


def shown_urc(urc: Urc, urcs: Mapping[str, UrcRule]) -> str:
    """A URC as a log may show it: whole where its row allows, else its key alone."""
    key = urc_key(urc.head)
    rule = urcs.get(key)
    if rule is not None and not rule.is_private:
        shown = cut(urc.head)
    elif rule is not None or _MARKED_KEY.fullmatch(key):
        shown = f"{cut(key)}<private>"
    else:
        shown = f"<{len(urc.head)} characters>"
    return shown if urc.payload is None else f"{shown} {shown_tpdu(urc.payload)}"


_MARKED_KEY = re.compile(r"[+^*#$%!_][A-Z][A-Z0-9_]{0,15}:")
"""A key of no table that is no text: a message shown by a modem in text mode may hold a colon."""


def shown_tpdu(payload: str) -> str:
    """A PDU in hex, as its length."""
    return f"<tpdu {len(payload) // 2} octets>"


def cut(text: str) -> str:
    """Foreign text, short and on one line."""
    return ascii(text[:MAX_SHOWN])


def _shown_lines(event: Completed) -> str:
    if event.command.is_private or event.command.has_payload:
        return f"<{len(event.lines)} lines>"
    return "|".join(cut(line.text) for line in event.lines)
