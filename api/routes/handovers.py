"""Shift hand-over (CC-04)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Self

from fastapi import APIRouter
from pydantic import BaseModel, Field

from api.auth import Who
from api.parameters import Body, needs
from api.problems import problems
from api.services import Of
from modemctl.service.handovers import Handover
from modemctl.service.principal import Scope

router = APIRouter(prefix="/v1", tags=["handovers"])

_SHIFT = (Scope.BATCHES_OPERATE, Scope.MODEMS_OPERATE)


class HandoverNote(Body):
    """What the next shift should know beside the figures."""

    note: str = Field(default="", max_length=2000, description="Nothing personal.")


class HandoverFacts(BaseModel):
    """What is open; at most 200 of each kind are listed."""

    batches: list[dict[str, Any]]
    faults: list[dict[str, Any]]
    quarantines: list[dict[str, Any]]
    in_doubt: dict[str, int] = Field(description="Segments by batch.")
    missed_calls: int = Field(description="Since the hand-over before.")
    missed_by_bay: dict[str, int]
    stops: int
    incidents: int


class HandoverDetail(BaseModel):
    """A hand-over; `taken_by` is null until somebody takes the shift."""

    handover_id: str
    since: datetime | None
    made_by: str
    made_at: datetime
    note: str
    taken_by: str | None
    taken_at: datetime | None
    facts: HandoverFacts

    @classmethod
    def of(cls, one: Handover) -> Self:
        """As it is told."""
        return cls(
            handover_id=one.handover_id,
            since=one.since,
            made_by=one.made_name,
            made_at=one.made_at,
            note=one.note,
            taken_by=one.taken_name,
            taken_at=one.taken_at,
            facts=HandoverFacts.model_validate(one.facts),
        )


@router.get("/handovers/now", responses=problems(), openapi_extra=needs(Scope.MODEMS_READ))
async def look_handover(who: Who, of: Of) -> HandoverFacts:
    """What a hand-over would tell now; nothing is kept."""
    return HandoverFacts.model_validate(await of.handovers.look(who))


@router.post("/handovers", status_code=201, responses=problems(), openapi_extra=needs(*_SHIFT))
async def make_handover(who: Who, of: Of, body: HandoverNote) -> HandoverDetail:
    """Hand the shift over: what is open now, and the calls missed since the one before."""
    return HandoverDetail.of(await of.handovers.make(who, body.note))


@router.get("/handovers", responses=problems(), openapi_extra=needs(Scope.MODEMS_READ))
async def list_handovers(who: Who, of: Of) -> Sequence[HandoverDetail]:
    """The latest 100 hand-overs, newest first."""
    return [HandoverDetail.of(one) for one in await of.handovers.list_handovers(who)]


@router.post(
    "/handovers/{handover_id}/take",
    responses=problems(404, 409),
    openapi_extra=needs(*_SHIFT),
)
async def take_handover(who: Who, of: Of, handover_id: str) -> HandoverDetail:
    """Take the shift over by name, as somebody else than who handed it over."""
    return HandoverDetail.of(await of.handovers.take(who, handover_id))
