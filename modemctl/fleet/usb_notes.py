"""What this daemon switches off, noted on disk before it does so, until it is on again.

A daemon that is killed between off and on would leave a modem off for ever: nothing else knows.
All of it blocks: run it in a thread.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ON: Final = {"authorized": "1", "disable": "0"}
"""The kernel's files that are switched, and what switches them on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Switched:
    """What is switched: a file of the kernel, or (None) a hub's port, by `uhubctl`."""

    file: Path | None
    hub: str
    hub_port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What was noted; `path` is where, if anywhere."""

    what: Switched
    path: Path | None


class OffNotes:
    """The node's, a file each in a folder; without a folder nothing is kept."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    def put(self, what: Switched) -> Note:
        """Note what is about to be switched off; on return it is on the disk.

        Raises:
            OSError: it cannot be kept.
        """
        if self._folder is None:
            return Note(what=what, path=None)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / f"{uuid.uuid4()}.json"
        file = None if what.file is None else str(what.file)
        with path.open("x", encoding="utf-8") as out:
            json.dump({"file": file, "hub": what.hub, "hub_port": what.hub_port}, out)
            out.flush()
            os.fsync(out.fileno())
        _sync(self._folder)
        return Note(what=what, path=path)

    def left(self) -> Sequence[Note]:
        """What an earlier life left off; notes that nobody can read are dropped.

        Raises:
            OSError: the folder cannot be read.
        """
        if self._folder is None or not self._folder.is_dir():
            return []
        found: list[Note] = []
        for path in sorted(self._folder.iterdir()):
            what = _parse(path.read_bytes())
            if what is None:  # the machine went down before it was whole, and before off
                path.unlink()
            else:
                found.append(Note(what=what, path=path))
        return found

    def drop(self, note: Note) -> None:
        """It is on again, or no longer there."""
        if note.path is not None:
            note.path.unlink(missing_ok=True)


def _parse(octets: bytes) -> Switched | None:
    try:
        facts = json.loads(octets)
        file = None if facts["file"] is None else Path(facts["file"])
        found = Switched(file=file, hub=str(facts["hub"]), hub_port=int(facts["hub_port"]))
    except (ValueError, KeyError, TypeError):
        return None
    return found if found.file is None or found.file.name in ON else None


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
