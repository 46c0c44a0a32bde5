"""Time for the pretend world: the loop's, or one that jumps from event to event."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Timer(Protocol):
    """Something that will happen."""

    def cancel(self) -> None:
        """Take it back; harmless when it is over."""
        ...


class Clock(Protocol):
    """Where everything in the simulator gets its time from."""

    def now(self) -> datetime:
        """The moment, aware, in UTC."""
        ...

    def call_later(self, delay: float, action: Callable[[], None]) -> Timer:
        """Run `action` after `delay` seconds."""
        ...


class LoopClock:
    """The running event loop's time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        # One reading of the wall clock; the rest is monotonic, so ledger times never run back.
        self._epoch = datetime.now(tz=UTC) - timedelta(seconds=loop.time())

    def now(self) -> datetime:
        """The moment, aware, in UTC."""
        return self._epoch + timedelta(seconds=self._loop.time())

    def call_later(self, delay: float, action: Callable[[], None]) -> Timer:
        """Run `action` after `delay` seconds."""
        return self._loop.call_later(delay, action)


class VirtualClock:
    """A time that stands still until it is told to run; same order on every run."""

    def __init__(self, start: datetime) -> None:
        self._now = start
        self._order = itertools.count()
        self._due: list[tuple[datetime, int, _Planned]] = []

    def now(self) -> datetime:
        """The moment, aware, in UTC."""
        return self._now

    def call_later(self, delay: float, action: Callable[[], None]) -> Timer:
        """Run `action` after `delay` seconds; equal times keep their order."""
        planned = _Planned(action)
        moment = self._now + timedelta(seconds=delay)
        heapq.heappush(self._due, (moment, next(self._order), planned))
        return planned

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass and everything due in them happen."""
        end = self._now + timedelta(seconds=seconds)
        while self._due and self._due[0][0] <= end:
            self._now, _, planned = heapq.heappop(self._due)
            planned.run()
        self._now = end


class _Planned:
    def __init__(self, action: Callable[[], None]) -> None:
        self._action: Callable[[], None] | None = action

    def cancel(self) -> None:
        self._action = None

    def run(self) -> None:
        action, self._action = self._action, None
        if action is not None:
            action()
