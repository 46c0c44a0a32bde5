"""Answers that flow: lines of JSON, CSV files, server-sent events."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Sequence
from typing import Final

import msgspec
from starlette.responses import StreamingResponse

from modemctl.service.events import Event, KeepAlive, Reset

__all__ = ["CSV", "EVENT_STREAM", "NDJSON", "csv_file", "event_stream", "ndjson"]

CSV: Final = "text/csv; charset=utf-8"
NDJSON: Final = "application/x-ndjson"
EVENT_STREAM: Final = "text/event-stream"

_BLOCK: Final = 64 * 1024  # octets that are sent at once
_BOM: Final = "\ufeff"  # else Excel takes UTF-8 for something else
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_encoder: Final = msgspec.json.Encoder()


async def ndjson(items: AsyncIterator[object]) -> StreamingResponse:
    """Items as lines of JSON. The first is taken here, so that a refusal is a refusal.

    Raises:
        RequestError: what the iterator raises before its first item.
    """
    first = await anext(items, None)

    async def lines() -> AsyncIterator[bytes]:
        block = bytearray() if first is None else bytearray(_encoder.encode(first) + b"\n")
        async for item in items:
            block += _encoder.encode(item) + b"\n"
            if len(block) >= _BLOCK:
                yield bytes(block)
                block.clear()
        yield bytes(block)

    return StreamingResponse(lines(), media_type=NDJSON)


async def csv_file(
    rows: AsyncIterator[Sequence[str]], *, heading: Sequence[str], name: str
) -> StreamingResponse:
    """Rows as a CSV file to be saved, which spreadsheet programs open rightly.

    The first row is taken here, so that a refusal is a refusal.

    Raises:
        RequestError: what the iterator raises before its first row.
    """
    first = await anext(rows, None)

    async def blocks() -> AsyncIterator[bytes]:
        text = io.StringIO()
        writer = csv.writer(text)
        text.write(_BOM)
        writer.writerow(heading)
        if first is not None:
            writer.writerow(map(_harmless, first))
        async for row in rows:
            writer.writerow(map(_harmless, row))
            if text.tell() >= _BLOCK:
                yield text.getvalue().encode()
                text.seek(0)
                text.truncate()
        yield text.getvalue().encode()

    return StreamingResponse(
        blocks(),
        media_type=CSV,
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _harmless(cell: str) -> str:
    """A cell that no spreadsheet program takes for a formula."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


async def event_stream(
    items: AsyncIterator[Event | Reset | KeepAlive],
) -> StreamingResponse:
    """Events in the form of server-sent events; ends when `items` end.

    Raises:
        RequestError: what the iterator raises before its first item.
    """
    first = await anext(items)

    async def blocks() -> AsyncIterator[bytes]:
        yield _block(first)
        async for item in items:
            yield _block(item)

    return StreamingResponse(
        blocks(), media_type=EVENT_STREAM, headers={"Cache-Control": "no-store"}
    )


def _block(item: Event | Reset | KeepAlive) -> bytes:
    """One event. A keep-alive carries only its id, which makes no event but moves the cursor."""
    identity = f"id: {item.cursor}\n"
    if isinstance(item, KeepAlive):
        return f": still here\n{identity}\n".encode()
    if isinstance(item, Reset):
        body = _encoder.encode({"kind": "reset", "cursor": item.cursor})
        return f"{identity}event: reset\n".encode() + b"data: " + body + b"\n\n"
    return f"{identity}event: {item.kind}\n".encode() + b"data: " + _encoder.encode(item) + b"\n\n"
