"""Blocks of a report on their way to the process that writes it (`paper_child`)."""

from __future__ import annotations

import asyncio
import logging
import pickle
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

import msgspec

from modemctl.errors import InvalidRequest
from modemctl.policy.papers import Block, PaperFormat, Rows
from modemctl.service import paper_child
from modemctl.service.children import ANSWER_LIMIT, child
from modemctl.service.paper_printing import TOO_MUCH, Writing, Written

__all__ = ["Written", "write_paper"]

_log = logging.getLogger(__name__)

_FEED_LIMIT: Final = 60.0  # seconds that the child may be behind
_AHEAD: Final = 1 << 16
_MANY: Final = 2_000  # rows at which half of the way to "written" is shown
_WRITTEN: Final = 0.9  # the rest is what the child does at the end


async def write_paper(
    path: Path,
    paper_format: PaperFormat,
    blocks: AsyncIterator[Block],
    *,
    tell: Callable[[float], None],
    passphrase: str | None = None,
) -> Written:
    """Write a report to a file; `tell` hears how far it is, 0 to 1.

    Raises:
        InvalidRequest: it is too large for its format.
        RequestError, StoreError: what the blocks raise.
        Conflict: others are at work for too long.
    """
    writing = Writing(path=path, paper_format=paper_format, passphrase=passphrase)
    async with child(paper_child.__name__, is_fed=True, limit=_AHEAD) as process:
        n_rows = 0
        is_open = await _feed(process, writing)
        async for block in blocks:
            if not is_open:
                break  # it has refused: its answer says why
            is_open = await _feed(process, block)
            n_rows += len(block.rows) if isinstance(block, Rows) else 0
            tell(_WRITTEN * n_rows / (n_rows + _MANY))
        if is_open:
            await _feed(process, None)
        return await _answer(process)


async def _feed(process: Process, what: Writing | Block | None) -> bool:
    """Hand on; False where the child does not listen any more."""
    assert process.stdin is not None
    octets = await asyncio.to_thread(pickle.dumps, what)
    try:
        process.stdin.write(octets)
        async with asyncio.timeout(_FEED_LIMIT):
            await process.stdin.drain()
    except (BrokenPipeError, ConnectionResetError):
        return False
    except TimeoutError:
        raise InvalidRequest("the report takes too long to write") from None
    return True


async def _answer(process: Process) -> Written:
    assert process.stdout is not None
    try:
        async with asyncio.timeout(ANSWER_LIMIT):
            octets = await process.stdout.read()
            await process.wait()
    except TimeoutError:
        raise InvalidRequest("the report takes too long to write") from None
    if not octets:  # libraries end at a limit without a word
        _log.error("report.writer_died", extra={"status": process.returncode})
        raise InvalidRequest(TOO_MUCH, cure="ask for a shorter period")
    written = msgspec.msgpack.decode(octets, type=Written)
    if written.rule is not None:
        raise InvalidRequest(written.rule, cure=written.cure)
    return written
