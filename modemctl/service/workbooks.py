"""Spreadsheets read in processes of their own, few at a time (`modemctl.service.sheets`)."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final
from weakref import WeakKeyDictionary

from modemctl.errors import Conflict, InvalidRequest
from modemctl.service import sheets

MAX_ROW: Final = 1 << 16
"""Octets of a row as JSON."""

_MOST_AT_ONCE: Final = 2
_TURN_LIMIT: Final = 60.0  # seconds to wait for others to end
_ANSWER_LIMIT: Final = 120.0  # seconds the child may be silent: a big workbook is read in one go
_HEAD: Final = 4_096

_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


async def read_rows(
    path: Path, *, max_octets: int | None = None
) -> AsyncGenerator[tuple[int, Sequence[str]], None]:
    """Number and cells of each row that holds anything; `max_octets` caps all rows together.

    Raises:
        InvalidRequest: no spreadsheet, or one that is too large in some way.
        Conflict: others are being read for too long.
    """
    n_octets = 0
    async with _turn(), _child(path) as child:
        assert child.stdout is not None
        while line := await _line_in_time(child.stdout):
            n_octets += len(line)
            if max_octets is not None and n_octets > max_octets:
                raise InvalidRequest(
                    f"its rows have more than {max_octets} octets", cure="split it"
                )
            row_no, cells = json.loads(line)
            yield row_no, cells
        await _require_good_end(child)


@asynccontextmanager
async def _turn() -> AsyncIterator[None]:
    turns = _turns.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(_MOST_AT_ONCE))
    try:
        async with asyncio.timeout(_TURN_LIMIT):
            await turns.acquire()
    except TimeoutError:
        raise Conflict("other spreadsheets are being read", cure="try again later") from None
    try:
        yield
    finally:
        turns.release()


@asynccontextmanager
async def _child(path: Path) -> AsyncIterator[Process]:
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        sheets.__name__,
        str(path),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
        limit=MAX_ROW,
    )
    try:
        yield child
    finally:
        if child.returncode is None:
            child.kill()
            await child.communicate()  # to the end of its pipes: else they stay open


async def _line_in_time(source: asyncio.StreamReader) -> bytes:
    try:
        async with asyncio.timeout(_ANSWER_LIMIT):
            return await source.readline()
    except ValueError:
        raise InvalidRequest(f"a row of the spreadsheet has more than {MAX_ROW} octets") from None
    except TimeoutError:
        raise InvalidRequest(
            "the spreadsheet takes too long to read", cure="send the list as CSV"
        ) from None


async def _require_good_end(child: Process) -> None:
    assert child.stderr is not None
    async with asyncio.timeout(_ANSWER_LIMIT):
        words = (await child.stderr.read(_HEAD)).decode(errors="replace").strip()
        status = await child.wait()
    if status == sheets.REFUSED:
        raise InvalidRequest(words[:200])
    if status < 0:  # its libraries end at a limit without a word
        raise InvalidRequest(sheets.TOO_MUCH, cure="send the list as CSV")
    if status != 0:
        raise InvalidRequest("the spreadsheet cannot be read", cure="send the list as CSV")
