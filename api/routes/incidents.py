"""Incidents: opened, isolated, acknowledged, corrected, closed (SEC-10)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Self

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from api.auth import Who
from api.batch_schemas import BatchDetail, NewBatch
from api.parameters import Body, Moment, needs
from api.problems import problems
from api.services import Of
from modemctl.service.incidents import IncidentState, IncidentView, Isolation
from modemctl.service.principal import Scope

router = APIRouter(prefix="/v1", tags=["incidents"])

_READ = (Scope.INCIDENTS_READ, Scope.INCIDENTS_WRITE, Scope.INCIDENTS_ACKNOWLEDGE)


class Isolate(Body):
    """What to cut off: a node, a bay's modem, an API key, an approver's key."""

    kind: Isolation
    target: str = Field(min_length=1, max_length=128)


class NewIncident(Body):
    """An incident to record."""

    level: int = Field(
        ge=1,
        le=3,
        description="1 leak or intrusion, 2 internal slip such as a wrong send, 3 minor.",
    )
    title: str = Field(min_length=1, max_length=200, description="Nothing personal.")
    detected_at: Moment | None = Field(default=None, description="Null: now.")
    isolate: Isolate | None = None
    keeps_running: bool = Field(
        default=False, description="Level 2 stops the fleet with the record, unless this is true."
    )


class Text(Body):
    """A line of the timeline; nothing personal."""

    text: str = Field(min_length=1, max_length=2000)


class StopOfIncident(Body):
    """The stop whose reach a correction goes to."""

    stop_id: str = Field(min_length=1, max_length=36)


class Ending(Body):
    """What the cause was, and what is learned from it."""

    cause: str = Field(min_length=1, max_length=2000)
    lessons: str = Field(min_length=1, max_length=2000)


class TimelineEntry(BaseModel):
    """One line of a timeline."""

    at: datetime
    by: str
    what: str
    text: str


class IncidentDetail(BaseModel):
    """An incident; `seconds_left` until somebody of its route must have acknowledged it."""

    incident_id: str
    level: int
    meaning: str
    title: str
    department: str | None
    state: IncidentState
    opened_by: str
    opened_at: datetime
    detected_at: datetime
    route: str
    due_at: datetime | None
    is_overdue: bool
    seconds_left: int | None
    stop_id: str | None
    acknowledged_by: str | None
    acknowledged_at: datetime | None
    closed_by: str | None
    closed_at: datetime | None
    cause: str | None
    lessons: str | None
    timeline: list[TimelineEntry]

    @classmethod
    def of(cls, view: IncidentView) -> Self:
        """As it is told."""
        one = view.incident
        return cls(
            incident_id=one.incident_id,
            level=one.level,
            meaning=view.meaning,
            title=one.title,
            department=one.department,
            state=one.state,
            opened_by=one.opened_name,
            opened_at=one.opened_at,
            detected_at=one.detected_at,
            route=view.route,
            due_at=one.due_at,
            is_overdue=view.is_overdue,
            seconds_left=view.seconds_left,
            stop_id=one.stop_id,
            acknowledged_by=one.acknowledged_name,
            acknowledged_at=one.acknowledged_at,
            closed_by=one.closed_name,
            closed_at=one.closed_at,
            cause=one.cause,
            lessons=one.lessons,
            timeline=[
                TimelineEntry(at=note.at, by=note.by, what=note.what, text=note.text)
                for note in view.timeline
            ],
        )


@router.post(
    "/incidents",
    status_code=201,
    responses=problems(404, 409),
    openapi_extra=needs(Scope.INCIDENTS_WRITE),
)
async def open_incident(who: Who, of: Of, body: NewIncident) -> IncidentDetail:
    """Record an incident; its countdown runs. Level 2 stops the fleet first.

    `isolate` cuts off a node, modem or key by the same call.
    """
    isolate = None if body.isolate is None else (body.isolate.kind, body.isolate.target)
    view = await of.incidents.open(
        who,
        level=body.level,
        title=body.title,
        detected_at=body.detected_at,
        isolate=isolate,
        keeps_running=body.keeps_running,
    )
    return IncidentDetail.of(view)


@router.get("/incidents", responses=problems(), openapi_extra=needs(*_READ))
async def list_incidents(
    who: Who,
    of: Of,
    *,
    all_: Annotated[bool, Query(alias="all", description="Also the closed ones.")] = False,
) -> Sequence[IncidentDetail]:
    """Incidents without their timelines, newest first: those that are open, or the latest 500."""
    found = await of.incidents.list_incidents(who, is_open=not all_)
    return [IncidentDetail.of(one) for one in found]


@router.get("/incidents/{incident_id}", responses=problems(404), openapi_extra=needs(*_READ))
async def show_incident(who: Who, of: Of, incident_id: str) -> IncidentDetail:
    """An incident with its timeline and countdown."""
    return IncidentDetail.of(await of.incidents.show(who, incident_id))


@router.post(
    "/incidents/{incident_id}/isolate",
    responses=problems(404, 409),
    openapi_extra=needs(Scope.INCIDENTS_WRITE),
)
async def isolate(who: Who, of: Of, incident_id: str, body: Isolate) -> IncidentDetail:
    """Cut off a node, a bay's modem, an API key or an approver's key at once, and note it."""
    return IncidentDetail.of(await of.incidents.isolate(who, incident_id, body.kind, body.target))


@router.post(
    "/incidents/{incident_id}/notes",
    responses=problems(404, 409),
    openapi_extra=needs(Scope.INCIDENTS_WRITE),
)
async def note_incident(who: Who, of: Of, incident_id: str, body: Text) -> IncidentDetail:
    """Add a line to the timeline."""
    return IncidentDetail.of(await of.incidents.note(who, incident_id, body.text))


@router.post(
    "/incidents/{incident_id}/stop",
    responses=problems(404, 409),
    openapi_extra=needs(Scope.INCIDENTS_WRITE),
)
async def link_stop(who: Who, of: Of, incident_id: str, body: StopOfIncident) -> IncidentDetail:
    """Say which stop belongs to the incident."""
    return IncidentDetail.of(await of.incidents.link_stop(who, incident_id, body.stop_id))


@router.post(
    "/incidents/{incident_id}/acknowledge",
    responses=problems(404, 409),
    openapi_extra=needs(Scope.INCIDENTS_ACKNOWLEDGE),
)
async def acknowledge_incident(who: Who, of: Of, incident_id: str, body: Text) -> IncidentDetail:
    """Somebody of the route has heard of it, by name; that ends the countdown."""
    return IncidentDetail.of(await of.incidents.acknowledge(who, incident_id, body.text))


@router.post(
    "/incidents/{incident_id}/close",
    responses=problems(404, 409),
    openapi_extra=needs(Scope.INCIDENTS_WRITE),
)
async def close_incident(who: Who, of: Of, incident_id: str, body: Ending) -> IncidentDetail:
    """Close it, with its cause and what is learned."""
    view = await of.incidents.close(who, incident_id, cause=body.cause, lessons=body.lessons)
    return IncidentDetail.of(view)


@router.post(
    "/incidents/{incident_id}/correction",
    status_code=201,
    responses=problems(404, 409),
    openapi_extra=needs(Scope.BATCHES_SUBMIT),
)
async def correct_incident(who: Who, of: Of, incident_id: str, body: NewBatch) -> BatchDetail:
    """Prepare a batch for exactly the numbers that the incident's stop found reached.

    It waits for its own confirmation and approvals, as every batch.
    """
    return BatchDetail.of(who, await of.incidents.correct(who, incident_id, body.request()))
