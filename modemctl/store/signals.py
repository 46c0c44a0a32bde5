"""Wake-ups after commit: nothing polls that can be told; a slow poll covers a lost one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from modemctl.model import Topic


class Subscription:
    """One waiter's memory of what rang since it last looked."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """Note that something happened."""
        self._rung.set()

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

    def wake(self, topics: Iterable[Topic]) -> None:
        """Ring every subscriber of these topics, once each."""
        for subscription in {one for topic in topics for one in self._subscribers[topic]}:
            subscription.ring()

    @contextmanager
    def subscribe(self, *topics: Topic) -> Iterator[Subscription]:
        """A subscription that ends with the block."""
        subscription = Subscription()
        for topic in topics:
            self._subscribers[topic].add(subscription)
        try:
            yield subscription
        finally:
            for topic in topics:
                self._subscribers[topic].discard(subscription)
