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
    """The running event loop's time, `factor` times as fast; `start` is the moment it begins with.

    Without `start` it is the wall clock's at that moment.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        factor: float = 1.0,
        start: datetime | None = None,
    ) -> None:
        self._loop = loop
        self._factor = factor
        self._began = loop.time()
        # One reading of the wall clock; the rest is monotonic, so ledger times never run back.
        self._start = start or datetime.now(tz=UTC)

    def now(self) -> datetime:
        """The moment, aware, in UTC."""
        return self._start + timedelta(seconds=(self._loop.time() - self._began) * self._factor)

    def call_later(self, delay: float, action: Callable[[], None]) -> Timer:
        """Run `action` after `delay` seconds of this time."""
        if not delay > 0:  # NaN too: it would put the loop's own timers out of order
            # Before what clients write meanwhile, so that the order does not hang on their pace.
            return self._loop.call_soon(action)
        return self._loop.call_later(delay / self._factor, action)


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
        try:
            moment = self._now + timedelta(seconds=max(0.0, delay))
        except OverflowError:  # there is no such date
            return planned
        heapq.heappush(self._due, (moment, next(self._order), planned))
        return planned

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass and everything due in them happen."""
        end = self._now + timedelta(seconds=seconds)
        while self.step(end):
            pass
        self._now = end

    def step(self, end: datetime) -> bool:
        """Jump to the next event and let it happen; False where none is due until `end`."""
        if not self._due or self._due[0][0] > end:
            return False
        self._now, _, planned = heapq.heappop(self._due)
        planned.run()
        return True


class _Planned:
    def __init__(self, action: Callable[[], None]) -> None:
        self._action: Callable[[], None] | None = action

    def cancel(self) -> None:
        self._action = None

    def run(self) -> None:
        action, self._action = self._action, None
        if action is not None:
            action()
