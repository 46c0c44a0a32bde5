"""Lists that come as the body of a request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final, TypeVar

from fastapi import Query, Request
from starlette.requests import ClientDisconnect

from api.services import api_of
from modemctl.errors import InvalidRequest, RequestError, StoreError
from modemctl.service.recipients import ListFormat, Spooled, spool

__all__ = [
    "ENCODING",
    "FORMAT",
    "LIST_BODY",
    "format_of_name",
    "format_of_type",
    "spooled_body",
    "unless_gone",
]

ResultT = TypeVar("ResultT")

FORMAT = Annotated[
    ListFormat | None,
    Query(alias="format", description="Form of the list; null: by its name or media type."),
]
ENCODING = Annotated[
    str | None, Query(max_length=40, description="Encoding of its text; null: found out.")
]

_SUFFIXES: Final = {"xls": ListFormat.XLSX, "ods": ListFormat.XLSX, "jsonl": ListFormat.NDJSON}
_XLSX: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
_TYPES: Final = {
    "text/plain": ListFormat.TXT,
    "text/csv": ListFormat.CSV,
    "application/x-ndjson": ListFormat.NDJSON,
    _XLSX: ListFormat.XLSX,
    "application/vnd.ms-excel": ListFormat.XLSX,
}
LIST_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            kind: {"schema": {"type": "string", "format": "binary"}}
            for kind in ("text/csv", "text/plain", _XLSX)
        },
    }
}
"""What the documentation says of a body that is a list of cards."""


@asynccontextmanager
async def spooled_body(request: Request) -> AsyncIterator[Spooled]:
    """The body in a file that goes with the block."""
    cap = api_of(request).settings.max_list_bytes
    async with spool(request.stream(), max_octets=cap) as spooled:
        yield spooled


async def unless_gone(request: Request, work: Coroutine[object, object, ResultT]) -> ResultT:
    """What the work gives, which is cancelled where the client goes away; its body is read before.

    Raises:
        ClientDisconnect: it went away.
        RequestError, StoreError: the work's.
    """
    failure: Exception = ClientDisconnect()
    try:
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(_until_gone(request), name="client")
            try:
                return await work
            except (RequestError, StoreError) as error:
                failure = error  # as it is: a group would wrap it
            finally:
                watch.cancel()
    except* ClientDisconnect:
        pass
    raise failure


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    raise ClientDisconnect


def format_of_name(name: str) -> ListFormat:
    """The form of a list by its file's name.

    Raises:
        InvalidRequest: no known form.
    """
    suffix = name.rpartition(".")[2].lower()
    if suffix in _SUFFIXES:
        return _SUFFIXES[suffix]
    try:
        return ListFormat(suffix)
    except ValueError:
        raise _unknown(suffix) from None


def format_of_type(content_type: str) -> ListFormat:
    """The form of a list by its media type.

    Raises:
        InvalidRequest: no known form.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in _TYPES:
        raise _unknown(kind)
    return _TYPES[kind]


def _unknown(what: str) -> InvalidRequest:
    return InvalidRequest(
        "the form of the list must be known",
        field="format",
        value=what[:40],
        cure=f"say ?format= and one of {', '.join(ListFormat)}",
    )
