"""Answers that flow: lines of JSON, server-sent events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

import msgspec
from starlette.responses import StreamingResponse

from modemctl.service.events import Event, KeepAlive, Reset

__all__ = ["EVENT_STREAM", "NDJSON", "event_stream", "ndjson"]

NDJSON: Final = "application/x-ndjson"
EVENT_STREAM: Final = "text/event-stream"

_BLOCK: Final = 64 * 1024  # octets that are sent at once
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
