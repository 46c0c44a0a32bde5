"""Logs: one line an event, key=value, with the bay and segment that it is about.

An event's name is the message, facts go into `extra`:
`logger.info("segment.sent", extra={"mr": 41})`.
"""

import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Final, TextIO

WIRE_LOGGER: Final = "drivers.wire"
"""The wire log's own logger; silent unless configuration asks for it."""

N_CHARS_VALUE: Final = 200
N_CHARS_TRACEBACK: Final = 8_000

_bay: ContextVar[str | None] = ContextVar("bay", default=None)
_segment: ContextVar[str | None] = ContextVar("segment", default=None)

_OWN_FIELDS: Final = frozenset(vars(logging.LogRecord("", 0, "", 0, "", None, None))) | {
    "message",
    "asctime",
    "color_message",
}  # the last is uvicorn's copy of the message

_SYSLOG_PRIORITY: Final = (
    (logging.CRITICAL, 2),
    (logging.ERROR, 3),
    (logging.WARNING, 4),
    (logging.INFO, 6),
)


@contextmanager
def log_context(*, bay: str | None = None, segment: str | None = None) -> Iterator[None]:
    """Names the bay or segment in every line logged inside; None leaves what was set."""
    bay_token = _bay.set(_bay.get() if bay is None else bay)
    segment_token = _segment.set(_segment.get() if segment is None else segment)
    try:
        yield
    finally:
        _segment.reset(segment_token)
        _bay.reset(bay_token)


def clean(text: str, n_chars: int = N_CHARS_VALUE) -> str:
    """Text from outside made fit for a line: cut, controls escaped, quoted where needed."""
    cut = text if len(text) <= n_chars else text[:n_chars] + "…"
    if cut and cut.isprintable() and not any(mark in cut for mark in ' ="\\'):
        return cut
    quoted = json.dumps(cut, ensure_ascii=False)
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in quoted
    )


class KeyValueFormatter(logging.Formatter):
    """`2026-01-31T08:00:00.000Z info modemctl.fleet segment.sent bay=07 mr=41`."""

    def __init__(self, *, is_journal: bool) -> None:
        super().__init__()
        self._is_journal = is_journal

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the record holds."""
        message = record.getMessage()
        event = message if message and message.isprintable() else clean(message)
        words = [*self._head(record), record.name, event[:N_CHARS_VALUE]]
        words += [f"{key}={clean(str(value))}" for key, value in _fields(record)]
        if record.exc_info:
            trace = self.formatException(record.exc_info)
            words.append(f"traceback={clean(trace, N_CHARS_TRACEBACK)}")
        return " ".join(words)

    def _head(self, record: logging.LogRecord) -> list[str]:
        level = record.levelname.lower()
        if self._is_journal:  # which keeps the time itself
            priority = (syslog for least, syslog in _SYSLOG_PRIORITY if record.levelno >= least)
            return [f"<{next(priority, 7)}>{level}"]
        moment = datetime.fromtimestamp(record.created, tz=UTC)
        return [moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"), level]


def _fields(record: logging.LogRecord) -> Iterator[tuple[str, object]]:
    for key, value in (("bay", _bay.get()), ("segment", _segment.get())):
        if value is not None and key not in vars(record):
            yield key, value
    for key, value in vars(record).items():
        if key not in _OWN_FIELDS:
            yield key, value


def setup_logging(
    level: str,
    *,
    wire_log: bool,
    stream: TextIO | None = None,
    environ: Mapping[str, str] | None = None,
) -> None:
    """Sends every logger's lines to `stream` (stderr) and nowhere else."""
    out = sys.stderr if stream is None else stream
    handler = logging.StreamHandler(out)
    handler.setFormatter(KeyValueFormatter(is_journal=_is_journal(out, environ)))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    wire = logging.getLogger(WIRE_LOGGER)
    wire.setLevel(logging.DEBUG if wire_log else logging.CRITICAL + 1)


def _is_journal(stream: TextIO, environ: Mapping[str, str] | None) -> bool:
    """Whether systemd's journal reads the stream. Source: systemd.exec(5), $JOURNAL_STREAM."""
    named = (os.environ if environ is None else environ).get("JOURNAL_STREAM", "")
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return named == f"{status.st_dev}:{status.st_ino}"
