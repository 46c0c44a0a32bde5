"""The machine as the checks see it: files under a root folder, and what no file tells.

Nothing here writes, opens a device or waits. What cannot be read is None or empty: the check
decides whether that is a finding.
"""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from modemctl.clock import Clock, SystemClock

_TIMEX_OCTETS: Final = 256  # struct timex has 208 on 64-bit Linux
_TIME_ERROR: Final = 5  # adjtimex(2): the clock is not synchronised
_TEXT_MAX: Final = 262_144  # octets of a file that is read whole; none of ours comes near


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Where to look, as whom, and when."""

    root: Path
    uid: int
    gids: frozenset[int]
    clock: Clock
    is_clock_synchronised: bool | None
    """None where the kernel does not tell."""

    @classmethod
    def of_this_machine(cls) -> Facts:
        """The machine and the user that this process runs on and as."""
        return cls(
            root=Path("/"),
            uid=os.geteuid(),
            gids=frozenset({os.getegid(), *os.getgroups()}),
            clock=SystemClock(),
            is_clock_synchronised=_is_clock_synchronised(),
        )

    @property
    def now(self) -> datetime:
        """The aware UTC wall clock."""
        return self.clock.now()

    def path(self, name: str | Path) -> Path:
        """An absolute name below the root."""
        return self.root / str(name).lstrip("/")

    def text(self, name: str | Path) -> str | None:
        """A text file's content without blanks around; None if it cannot be read."""
        path = self.path(name)
        try:
            if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for, without end
                return None
            with path.open("rb") as file:
                return file.read(_TEXT_MAX).decode(errors="replace").strip()
        except (OSError, ValueError):  # or a name that can be none
            return None

    def lines(self, name: str | Path) -> Sequence[str]:
        """A text file's lines; none if it cannot be read."""
        return (self.text(name) or "").splitlines()

    def number(self, name: str | Path, *, base: int = 10) -> int:
        """The number that a file of /sys holds; 0 if there is none."""
        try:
            return int(self.text(name) or "0", base)
        except ValueError:
            return 0

    def names(self, folder: str | Path) -> Sequence[str]:
        """What a folder holds, sorted; nothing if it cannot be read."""
        try:
            return sorted(entry.name for entry in self.path(folder).iterdir())
        except (OSError, ValueError):  # or a name that can be none
            return []

    def stat(self, name: str | Path) -> os.stat_result | None:
        """Rights and owner of what a name leads to; None if there is nothing, or it is hidden."""
        try:
            return self.path(name).stat()
        except (OSError, ValueError):  # or a name that can be none
            return None

    def may_run(self, name: str | Path) -> bool:
        """Whether who asks may start the program."""
        try:
            return os.access(self.path(name), os.X_OK)
        except ValueError:
            return False

    def target(self, name: str | Path) -> str | None:
        """Where a link points, as it is written; None if it is none or hidden."""
        try:
            return str(self.path(name).readlink())
        except (OSError, ValueError):  # or a name that can be none
            return None

    def udev(self, number_file: str | Path) -> Mapping[str, str]:
        """What udev's database notes of the device whose number a file of /sys holds."""
        number = self.text(number_file)
        lines = () if number is None else self.lines(f"/run/udev/data/c{number}")
        pairs = (line.removeprefix("E:").partition("=") for line in lines if line.startswith("E:"))
        return {name: value for name, _, value in pairs}


def _is_clock_synchronised() -> bool | None:
    """What the kernel was told by NTP, PTP or timesyncd. Source: adjtimex(2)."""
    libc = ctypes.CDLL(None, use_errno=True)
    timex = ctypes.create_string_buffer(_TIMEX_OCTETS)  # modes = 0: only asks
    try:
        state = int(libc.adjtimex(timex))
    except AttributeError:  # another libc
        return None
    return None if state < 0 else state != _TIME_ERROR
