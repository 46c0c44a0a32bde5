"""Processes of our own for what is heavy or risky to read, few at a time."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from weakref import WeakKeyDictionary

from modemctl.errors import Conflict

ANSWER_LIMIT: Final = 120.0
"""Seconds that a child may be silent: a big workbook is read in one go."""

_MOST_AT_ONCE: Final = 2
_TURN_LIMIT: Final = 60.0  # seconds to wait for others to end

_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


@asynccontextmanager
async def child(
    module: str, *arguments: str, given: bytes | None = None, is_fed: bool = False, limit: int
) -> AsyncIterator[Process]:
    """A process of this module, when it is its turn; it ends with the block.

    Args:
        module: run as `python -m`.
        arguments: of its command line; nothing secret.
        given: what it finds on stdin.
        is_fed: its stdin stays open for what the block writes there.
        limit: octets of its output that are taken ahead of who reads it.

    Raises:
        Conflict: others are at work for too long.
    """
    async with _turn():
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            *arguments,
            stdin=PIPE if is_fed or given is not None else DEVNULL,
            stdout=PIPE,
            stderr=PIPE,
            limit=limit,
        )
        try:
            if given is not None:
                assert process.stdin is not None
                process.stdin.write(given)
                process.stdin.close()
            yield process
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate()  # to the end of its pipes: else they stay open


@asynccontextmanager
async def _turn() -> AsyncIterator[None]:
    turns = _turns.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(_MOST_AT_ONCE))
    try:
        async with asyncio.timeout(_TURN_LIMIT):
            await turns.acquire()
    except TimeoutError:
        raise Conflict(
            "other lists are being read, or reports made", cure="try again later"
        ) from None
    try:
        yield
    finally:
        turns.release()
