"""Acts of two persons: one asks, another one confirms (SEC-04)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field, StringConstraints

from api.auth import Who
from api.parameters import Body, Cursor, Limit, Reason, needs
from api.problems import problems
from api.services import Of
from modemctl.service.dual import DualKind, DualState, DualView
from modemctl.service.pages import Page
from modemctl.service.principal import Scope

router = APIRouter(prefix="/v1", tags=["requests"])


class Asked(Body):
    """What shall be done to what, and why; nothing personal in it."""

    kind: DualKind
    subject: str = Field(min_length=1, max_length=200, description="What the act is done to.")
    details: dict[
        Annotated[str, StringConstraints(max_length=200)],
        Annotated[str, StringConstraints(max_length=1000)],
    ] = Field(default_factory=dict, max_length=40, description="All that is to be done.")
    reason: str = Field(min_length=1, max_length=500)


@router.post(
    "/requests",
    status_code=201,
    responses=problems(),
    openapi_extra=needs(Scope.REQUESTS_USE),
)
async def ask_request(who: Who, of: Of, body: Asked) -> DualView:
    """Ask for an act of two persons; its kind asks for a scope of its own, of each of the two."""
    return await of.dual.ask(
        who, kind=body.kind, subject=body.subject, details=body.details, reason=body.reason
    )


@router.get("/requests", responses=problems(), openapi_extra=needs(Scope.REQUESTS_USE))
async def list_requests(
    who: Who,
    of: Of,
    *,
    state: DualState | None = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Page[DualView]:
    """One's own requests and those that one may decide on, newest first."""
    return await of.dual.list(who, state=state, cursor=cursor, limit=limit)


@router.get(
    "/requests/{request_id}", responses=problems(404), openapi_extra=needs(Scope.REQUESTS_USE)
)
async def get_request(who: Who, of: Of, request_id: str) -> DualView:
    """One request."""
    return await of.dual.get(who, request_id)


@router.post(
    "/requests/{request_id}/confirm",
    responses=problems(404, 409),
    openapi_extra=needs(Scope.REQUESTS_USE),
)
async def confirm_request(who: Who, of: Of, request_id: str) -> DualView:
    """Say yes, as another person; then the asker may act once, or it is done at once."""
    return await of.dual.confirm(who, request_id)


@router.post(
    "/requests/{request_id}/refuse",
    responses=problems(404, 409),
    openapi_extra=needs(Scope.REQUESTS_USE),
)
async def refuse_request(who: Who, of: Of, request_id: str, body: Reason) -> DualView:
    """Say no, as another person; a permit that is not spent yet is void."""
    return await of.dual.refuse(who, request_id, reason=body.reason)


@router.post(
    "/requests/{request_id}/withdraw",
    responses=problems(404, 409),
    openapi_extra=needs(Scope.REQUESTS_USE),
)
async def withdraw_request(who: Who, of: Of, request_id: str) -> DualView:
    """Take one's own request back, or the permit that came of it."""
    return await of.dual.withdraw(who, request_id)
