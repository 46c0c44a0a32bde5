"""Messages and what is in doubt about them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from api.auth import Who
from api.parameters import Body, Cursor, Limit, RowId, needs
from api.problems import problems
from api.services import Of
from modemctl.service.doubt import MAX_SEGMENTS, DoubtView
from modemctl.service.messages import Explanation, MessageView
from modemctl.service.pages import Page
from modemctl.service.principal import Scope

router = APIRouter(prefix="/v1", tags=["messages"])


class Decision(Body):
    """What a person decides about segments in doubt, and why."""

    segment_ids: list[RowId] = Field(min_length=1, max_length=MAX_SEGMENTS)
    reason: str = Field(min_length=1, max_length=500)


class Decided(Body):
    """The segments that the decision reached."""

    segment_ids: Sequence[int]


@router.get("/messages", responses=problems(), openapi_extra=needs(Scope.BATCHES_READ))
async def search_messages(
    who: Who,
    of: Of,
    *,
    batch_id: Annotated[str | None, Query()] = None,
    number: Annotated[str | None, Query(max_length=40, description="The recipient's.")] = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Page[MessageView]:
    """Messages by id, of a batch or a recipient."""
    return await of.messages.search(
        who, batch_id=batch_id, number=number, cursor=cursor, limit=limit
    )


@router.get(
    "/messages/{message_id}/explain",
    responses=problems(404),
    openapi_extra=needs(Scope.BATCHES_READ),
)
async def explain_message(who: Who, of: Of, message_id: RowId) -> Explanation:
    """A message's whole story: approvals, cards, tries, answers, reports."""
    return await of.messages.explain(who, message_id)


@router.get("/doubt", tags=["doubt"], responses=problems(), openapi_extra=needs(Scope.BATCHES_READ))
async def list_doubts(
    who: Who,
    of: Of,
    *,
    batch_id: Annotated[str | None, Query()] = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Page[DoubtView]:
    """Segments of which nobody knows whether they left."""
    return await of.doubts.list_doubts(who, batch_id=batch_id, cursor=cursor, limit=limit)


@router.post(
    "/doubt/close",
    tags=["doubt"],
    responses=problems(409),
    openapi_extra=needs(Scope.DOUBT_DECIDE),
)
async def close_doubts(who: Who, of: Of, body: Decision) -> Decided:
    """Give these segments up: they are not sent again."""
    return Decided(segment_ids=await of.doubts.close(who, body.segment_ids, body.reason))


@router.post(
    "/doubt/resend",
    tags=["doubt"],
    responses=problems(409),
    openapi_extra=needs(Scope.DOUBT_DECIDE),
)
async def resend_doubts(who: Who, of: Of, body: Decision) -> Decided:
    """Send these segments again, knowing that the recipient may get them twice."""
    return Decided(segment_ids=await of.doubts.resend(who, body.segment_ids, body.reason))
