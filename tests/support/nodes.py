"""Several nodes in one process, on one PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from modemctl.model import Topic
from modemctl.store import Store
from modemctl.vault import AuditKey, Vault
from tests.support.stores import MASTER_KEY, Databases, TestClock

PATIENCE = 60.0
"""Seconds for what comes at once where the machine is not busy."""


@asynccontextmanager
async def node(folder: Path, name: str, clock: TestClock | None = None) -> AsyncIterator[Store]:
    """A node of its own: engines, key files and threads are nobody else's."""
    seed = name.encode().ljust(32, b"\0")
    async with Store(
        Databases.url(folder),
        vault=Vault(MASTER_KEY),
        audit_key=AuditKey(seed),
        clock=clock or TestClock(),
        node_id=name,
    ) as store:
        yield store


@asynccontextmanager
async def hearing(*stores: Store) -> AsyncIterator[None]:
    """These listen to each other."""
    async with asyncio.TaskGroup() as group:
        tasks = []
        for store in stores:
            with store.signals.subscribe(Topic.WORK) as bell:
                tasks.append(group.create_task(store.hear(look_every=0.05)))
                assert await bell.wait(PATIENCE), "whoever begins to listen looks once"
        yield
        for task in tasks:
            task.cancel()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for it."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.01)
