"""Time, injected: `now()` for records, `monotonic()` for intervals."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class Clock(Protocol):
    """Where a part of the controller takes time from."""

    def now(self) -> datetime:
        """The aware UTC wall clock, for records."""
        ...

    def monotonic(self) -> float:
        """Seconds that never run back, for intervals and deadlines."""
        ...

    @property
    def boot_id(self) -> str:
        """Tells one start of the machine from the next."""
        ...

    def boottime(self) -> float:
        """Seconds since that start, those asleep too: nobody sets them. For limits."""
        ...


class SystemClock:
    """The machine's clocks. Make it before the loop runs: it reads a file."""

    def __init__(self) -> None:
        """Note which start of the machine this is."""
        self.boot_id: Final = _BOOT_ID.read_text(encoding="ascii").strip()

    def now(self) -> datetime:
        """The aware UTC wall clock, for records."""
        return datetime.fromtimestamp(time.time_ns() / 1_000_000_000, tz=UTC)

    def monotonic(self) -> float:
        """Seconds that never run back, for intervals and deadlines."""
        return time.monotonic()

    def boottime(self) -> float:
        """Seconds since the machine's start, those asleep too: nobody sets them. For limits."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)
