"""Spreadsheets read in processes of their own (`modemctl.service.sheets`)."""

from __future__ import annotations

import asyncio
import json
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Final

from modemctl.errors import InvalidRequest
from modemctl.service import sheets
from modemctl.service.children import ANSWER_LIMIT, child

MAX_ROW: Final = 1 << 16
"""Octets of a row as JSON."""

_HEAD: Final = 4_096


async def read_rows(
    path: Path, *, max_octets: int | None = None
) -> AsyncGenerator[tuple[int, Sequence[str]], None]:
    """Number and cells of each row that holds anything; `max_octets` caps all rows together.

    Raises:
        InvalidRequest: no spreadsheet, or one that is too large in some way.
        Conflict: others are being read for too long.
    """
    n_octets = 0
    async with child(sheets.__name__, str(path), limit=MAX_ROW) as process:
        assert process.stdout is not None
        while line := await _line_in_time(process.stdout):
            n_octets += len(line)
            if max_octets is not None and n_octets > max_octets:
                raise InvalidRequest(
                    f"its rows have more than {max_octets} octets", cure="split it"
                )
            row_no, cells = json.loads(line)
            yield row_no, cells
        await _require_good_end(process)


async def _line_in_time(source: asyncio.StreamReader) -> bytes:
    try:
        async with asyncio.timeout(ANSWER_LIMIT):
            return await source.readline()
    except ValueError:
        raise InvalidRequest(f"a row of the spreadsheet has more than {MAX_ROW} octets") from None
    except TimeoutError:
        raise InvalidRequest(
            "the spreadsheet takes too long to read", cure="send the list as CSV"
        ) from None


async def _require_good_end(process: Process) -> None:
    assert process.stderr is not None
    async with asyncio.timeout(ANSWER_LIMIT):
        words = (await process.stderr.read(_HEAD)).decode(errors="replace").strip()
        status = await process.wait()
    if status == sheets.REFUSED:
        raise InvalidRequest(words[:200])
    if status < 0:  # its libraries end at a limit without a word
        raise InvalidRequest(sheets.TOO_MUCH, cure="send the list as CSV")
    if status != 0:
        raise InvalidRequest("the spreadsheet cannot be read", cure="send the list as CSV")
