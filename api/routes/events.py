"""Events: in pages, and as server-sent events."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import StreamingResponse

from api.auth import Who, authenticate_header
from api.parameters import Cursor, Limit, needs
from api.problems import problems
from api.services import Of
from api.streams import EVENT_STREAM, event_stream
from modemctl.model import EventKind
from modemctl.service.events import EventPage
from modemctl.service.principal import Scope

router = APIRouter(prefix="/v1", tags=["events"])

Kinds = Annotated[
    list[EventKind] | None, Query(alias="kind", description="Only these kinds; may be repeated.")
]


@router.get("/events", responses=problems(), openapi_extra=needs(Scope.EVENTS_READ))
async def list_events(
    who: Who, of: Of, kinds: Kinds = None, cursor: Cursor = None, limit: Limit = 100
) -> EventPage:
    """Events behind a cursor, oldest first; `next` goes on, also when there are none yet."""
    return await of.events.page(who, cursor=cursor, kinds=kinds, limit=limit)


@router.get(
    "/events/stream",
    response_class=StreamingResponse,
    responses={
        200: {"description": "Server-sent events.", "content": {EVENT_STREAM: {}}},
        **problems(),
    },
    openapi_extra=needs(Scope.EVENTS_READ),
)
async def follow_events(
    who: Who,
    of: Of,
    request: Request,
    *,
    kinds: Kinds = None,
    last_event_id: Annotated[
        str | None, Header(max_length=200, description="The last event's `id`; none: from now on.")
    ] = None,
) -> StreamingResponse:
    """Events as they happen (SSE). An event `reset` says: the state must be read anew.

    The stream ends within 15 seconds of its key or account.
    """
    again = partial(authenticate_header, request)
    return await event_stream(of.events.follow(who, cursor=last_event_id, kinds=kinds, again=again))
