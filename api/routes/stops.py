"""Stops: one call holds a batch, a card, a department, a node or the fleet (SEC-10)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.responses import StreamingResponse

from api.auth import Who
from api.parameters import Body, Reason, needs
from api.problems import problems
from api.services import Of
from api.streams import CSV, csv_file
from modemctl.service.principal import Principal, Scope
from modemctl.service.stops import StopKind, StopReach, StopView

router = APIRouter(prefix="/v1", tags=["stops"])


class NewStop(Body):
    """What to stop, and why."""

    kind: StopKind
    target: str = Field(
        default="",
        max_length=128,
        description="Department, ICCID, batch or node; empty for the fleet.",
    )
    reason: str = Field(min_length=1, max_length=500)


@router.post(
    "/stops",
    status_code=201,
    responses=problems(404),
    openapi_extra=needs(Scope.STOPS_PLACE),
)
async def place_stop(who: Who, of: Of, body: NewStop) -> StopView:
    """Stop sending: no payload begins later than a second after this answer.

    What is stopped already keeps its first stop, which is the answer. Receiving goes on.
    """
    return await of.stops.place(who, body.kind, body.target, body.reason)


@router.get(
    "/stops",
    responses=problems(),
    openapi_extra=needs(Scope.STOPS_PLACE, Scope.STOPS_LIFT, Scope.BATCHES_READ),
)
async def list_stops(
    who: Who,
    of: Of,
    *,
    all_: Annotated[bool, Query(alias="all", description="Also those that were lifted.")] = False,
) -> Sequence[StopView]:
    """Stops, newest first: those that stand, or the latest 500."""
    return await of.stops.list_stops(who, only_standing=not all_)


@router.get(
    "/stops/{stop_id}",
    responses=problems(404),
    openapi_extra=needs(Scope.STOPS_PLACE, Scope.STOPS_LIFT, Scope.BATCHES_READ),
)
async def show_stop(who: Who, of: Of, stop_id: str) -> StopReach:
    """A stop and its exact reach: sent, in flight with what became of it, unsent."""
    return await of.stops.show(who, stop_id)


@router.get(
    "/stops/{stop_id}/reach.csv",
    response_class=StreamingResponse,
    responses={200: {"description": "The reach as a file.", "content": {CSV: {}}},
               **problems(404)},
    openapi_extra=needs(Scope.STOPS_PLACE, Scope.STOPS_LIFT, Scope.BATCHES_READ),
)  # fmt: skip
async def download_reach(who: Who, of: Of, stop_id: str) -> StreamingResponse:
    """Every segment of the reach; numbers are masked without `pii:read`."""
    await of.behaviour.exported(who)
    heading = (
        "part", "batch", "line", "message", "segment", "of message", "to", "state now", "card",
        "bay", "reference", "sent at",
    )  # fmt: skip
    rows = _reach_rows(who, of, stop_id)
    return await csv_file(rows, heading=heading, name=f"reach-{stop_id[:36]}.csv")


async def _reach_rows(who: Principal, of: Of, stop_id: str) -> AsyncIterator[Sequence[str]]:
    async for one in of.stops.reach(who, stop_id):
        yield (
            one.part,
            one.batch_id,
            str(one.line_no),
            str(one.message_id),
            str(one.segment_id),
            str(one.seq),
            one.to or "",
            one.state,
            one.iccid or "",
            one.bay or "",
            "" if one.mr is None else str(one.mr),
            "" if one.sent_at is None else one.sent_at.isoformat(timespec="milliseconds"),
        )


@router.post(
    "/stops/{stop_id}/lift",
    responses=problems(404, 409),
    openapi_extra=needs(Scope.STOPS_LIFT),
)
async def lift_stop(who: Who, of: Of, stop_id: str, body: Reason) -> StopView:
    """Let a stop stand no more; of the fleet, a department, a node a second person does it.

    A batch that a stop held stays held until its operator resumes it.
    """
    return await of.stops.lift(who, stop_id, body.reason)
