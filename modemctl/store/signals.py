"""Wake-ups after commit: nothing polls that can be told; a slow poll covers a lost one."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from modemctl.model import Topic

_COURTESY: Final = 0.05  # seconds that an answer waits at most


class Subscription:
    """One waiter's memory of what rang since it last looked."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()
        self._served = asyncio.Event()
        self._served.set()

    def ring(self) -> None:
        """Note that something happened."""
        self._rung.set()
        self._served.clear()

    def note(self) -> None:
        """As a ring to those who wait until it is done; whoever has it knows already."""
        self._served.clear()

    def serve(self) -> None:
        """What rang is done: see `Signals.yield_to_first`."""
        self._served.set()

    async def rest(self) -> None:
        """Wait until what rang is done."""
        await self._served.wait()

    async def wait(self, limit: float) -> bool:
        """Wait for a ring, at most `limit` seconds; True if there was one."""
        try:
            async with asyncio.timeout(limit):
                await self._rung.wait()
        except TimeoutError:
            return False
        self._rung.clear()
        return True


class Signals:
    """Topics and who waits for them; belongs to one event loop."""

    def __init__(self) -> None:
        self._subscribers: dict[Topic, set[Subscription]] = {topic: set() for topic in Topic}
        self._first: set[Subscription] = set()

    def wake(self, topics: Iterable[Topic], *, told: Collection[Subscription | None] = ()) -> None:
        """Ring every subscriber of these topics, once each, but those that were `told`."""
        for subscription in {one for topic in topics for one in self._subscribers[topic]}:
            if subscription in told:
                subscription.note()
            else:
                subscription.ring()

    @contextmanager
    def subscribe(self, *topics: Topic, goes_first: bool = False) -> Iterator[Subscription]:
        """A subscription that ends with the block.

        `goes_first`: answers wait for it (`yield_to_first`); it says `serve` after each ring.
        """
        subscription = Subscription()
        if goes_first:
            self._first.add(subscription)
        for topic in topics:
            self._subscribers[topic].add(subscription)
        try:
            yield subscription
        finally:
            subscription.serve()
            self._first.discard(subscription)
            for topic in topics:
                self._subscribers[topic].discard(subscription)

    async def yield_to_first(self) -> None:
        """Let those who go first do what just rang, at most for a moment.

        What an answer costs to read would otherwise be in the way of the segment that it is about:
        Python's threads run one at a time.
        """
        try:
            async with asyncio.timeout(_COURTESY):
                for one in tuple(self._first):
                    await one.rest()
        except TimeoutError:
            return
