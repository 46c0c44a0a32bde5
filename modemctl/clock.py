"""Time, injected: `now()` for records, `monotonic()` for intervals."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Where a part of the controller takes time from."""

    def now(self) -> datetime:
        """The aware UTC wall clock, for records."""
        ...

    def monotonic(self) -> float:
        """Seconds that never run back, for intervals and deadlines."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now(self) -> datetime:
        """The aware UTC wall clock, for records."""
        return datetime.fromtimestamp(time.time_ns() / 1_000_000_000, tz=UTC)

    def monotonic(self) -> float:
        """Seconds that never run back, for intervals and deadlines."""
        return time.monotonic()
