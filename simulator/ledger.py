"""The ledger: what the pretend network saw, one JSON object a line, append-only.

A line is in the file before the answer that it stands for leaves the modem.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Final, TypeAlias

# Made once: `json.dumps` with separators makes one for every line.
_encode: Final = json.JSONEncoder(separators=(",", ":")).encode

_PIECE: Final = 1 << 20

Fact: TypeAlias = str | int | float | bool | Mapping[str, "Fact"] | None


class Ledger:
    """Appends facts; `kind` says what happened. `listeners` are called after each line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.listeners: set[Callable[[], None]] = set()
        # A folder that is served again keeps its story.
        self._count, self._is_torn = _counted(path) if path.exists() else (0, False)
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    @property
    def count(self) -> int:
        """Lines in the file."""
        return self._count

    def add(self, kind: str, **facts: Fact) -> None:
        """Write one line; it is visible to every reader when this returns.

        After `close` nothing is written: that the bank ends is no event of its world.
        """
        if self._fd < 0:
            return
        if self._is_torn:
            self._end_line()
        self._count += 1
        line = f"{_encode({'n': self._count, 'kind': kind, **facts})}\n".encode("ascii")
        written = os.write(self._fd, line)
        if written < len(line):
            self._finish(line[written:])
        if self.listeners:
            for listener in tuple(self.listeners):
                listener()

    def read(self, **wanted: Fact) -> list[dict[str, Fact]]:
        """The lines in which each of `wanted` has the given value."""
        return [line for line in read(self.path) if matches(line, wanted)]

    def close(self) -> None:
        """Close the file; harmless when it is closed."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _finish(self, rest: bytes) -> None:
        self._is_torn = True  # until all of it is there: the next try may fail
        while rest:
            rest = rest[os.write(self._fd, rest) :]
        self._is_torn = False

    def _end_line(self) -> None:
        """A line that broke off, in this run or one that was killed, gets its end."""
        if os.write(self._fd, b"\n"):
            self._is_torn = False


def _counted(path: Path) -> tuple[int, bool]:
    """The lines of a file, and whether the last one broke off."""
    count = 0
    last = b"\n"
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            count += piece.count(b"\n")
            last = piece[-1:]
    is_torn = last != b"\n"
    return count + is_torn, is_torn


def read(path: Path) -> Iterator[dict[str, Fact]]:
    """The ledger's lines, oldest first; a line that is still being written is left out."""
    for _, line in read_from(path, 0):
        yield line


def read_from(path: Path, offset: int) -> Iterator[tuple[int, dict[str, Fact]]]:
    """Lines from an octet of the file on, each with the octet that the next one begins at."""
    with path.open("rb") as lines:
        lines.seek(offset)
        for line in lines:
            offset += len(line)
            if line.endswith(b"\n") and (found := _parsed(line)) is not None:
                yield offset, found


def _parsed(line: bytes) -> dict[str, Fact] | None:
    """A line's facts; None for one that broke off, or of which only the end was read."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def page(
    path: Path, wanted: Mapping[str, object], *, offset: int, limit: int | None
) -> tuple[list[dict[str, Fact]], int]:
    """Matching lines among at most `limit` from an octet on, and where the next page begins."""
    found: list[dict[str, Fact]] = []
    for after, line in islice(read_from(path, offset), limit):
        offset = after
        if matches(line, wanted):
            found.append(line)
    return found, offset


def matches(line: Mapping[str, Fact], wanted: Mapping[str, object]) -> bool:
    """True where the line has each wanted value."""
    return all(line.get(name) == value for name, value in wanted.items())
