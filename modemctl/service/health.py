"""Is the daemon alive, and can it do its work: named checks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from modemctl.errors import StoreError
from modemctl.store import Connection, Store, Tx, nodes

__all__ = ["Check", "Health", "Readiness"]

_LIMIT: Final = 2.0
"""Seconds that one check may take."""
_KEEP: Final = 1.0
"""Seconds for which an answer serves others: asking needs no key, so it must cost nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One named finding; `detail` says what is wrong and what to do."""

    name: str
    is_good: bool
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """All findings; ready where each is good."""

    is_ready: bool
    checks: Sequence[Check]


class Health:
    """Asks the store and whatever else registered."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._checks: dict[str, Callable[[], Awaitable[str]]] = {
            "store_read": self._can_read,
            "store_write": self._can_write,
        }
        self._answer: Readiness | None = None
        self._asked_at = 0.0

    def register(self, name: str, check: Callable[[], Awaitable[str]]) -> None:
        """Add a check: it returns an empty text, or what is wrong. It fails with the store only."""
        self._checks[name] = check

    async def readiness(self) -> Readiness:
        """All findings, at most one second old."""
        now = self._store.clock.monotonic()
        if self._answer is None or not 0 <= now - self._asked_at < _KEEP:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(_run(name, check), name=f"readiness {name}")
                    for name, check in self._checks.items()
                ]
            checks = [task.result() for task in tasks]
            self._answer = Readiness(is_ready=all(check.is_good for check in checks), checks=checks)
            self._asked_at = now
        return self._answer

    async def _can_read(self) -> str:
        return await _refusal(self._store.read(_nothing))

    async def _can_write(self) -> str:
        """While commits go through nothing is written for who asks; else a heartbeat tries."""
        act = _nothing if self._store.journal.is_healthy else nodes.beat
        return await _refusal(self._store.write(act))


async def _run(name: str, check: Callable[[], Awaitable[str]]) -> Check:
    try:
        async with asyncio.timeout(_LIMIT):
            fault = await check()
    except TimeoutError:
        fault = f"no answer within {_LIMIT:.0f} s"
    except StoreError as error:  # it asks the database
        fault = str(error)
    return Check(name=name, is_good=not fault, detail=fault)


async def _refusal(answer: Awaitable[None]) -> str:
    try:
        await answer
    except StoreError as error:
        return str(error)
    return ""


def _nothing(where: Connection | Tx) -> None:
    del where
