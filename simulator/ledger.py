"""The ledger: what the pretend network saw, one JSON object a line, append-only.

A line is in the file before the answer that it stands for leaves the modem.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

Fact: TypeAlias = str | int | float | bool | Mapping[str, "Fact"] | None


class Ledger:
    """Appends facts. `kind` is submit, refused, deliver, report or call."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # A folder that is served again keeps its story.
        self._count = path.read_bytes().count(b"\n") if path.exists() else 0
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)

    @property
    def count(self) -> int:
        """Lines in the file."""
        return self._count

    def add(self, kind: str, **facts: Fact) -> None:
        """Write one line; it is visible to every reader when this returns."""
        self._count += 1
        line = json.dumps({"n": self._count, "kind": kind, **facts}, separators=(",", ":"))
        os.write(self._fd, line.encode("ascii") + b"\n")

    def read(self, **wanted: Fact) -> list[dict[str, Fact]]:
        """The lines in which each of `wanted` has the given value."""
        return [line for line in read(self._path) if matches(line, wanted)]

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


def read(path: Path) -> Iterator[dict[str, Fact]]:
    """The ledger's lines, oldest first; a line that is still being written is left out."""
    with path.open(encoding="ascii") as lines:
        for line in lines:
            if line.endswith("\n"):
                yield json.loads(line)


def matches(line: Mapping[str, Fact], wanted: Mapping[str, Fact]) -> bool:
    """True where the line has each wanted value."""
    return all(line.get(name) == value for name, value in wanted.items())
