"""Roles for a time: the department's head asks, an administrator confirms (SEC-01)."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter
from pydantic import Field

from api.auth import Who
from api.parameters import Body, Reason, RowId, needs
from api.problems import problems
from api.services import Of
from modemctl.service.dual import DualView
from modemctl.service.elevations import Elevation
from modemctl.service.principal import Scope

router = APIRouter(prefix="/v1", tags=["accounts"])


class NewElevation(Body):
    """Which roles an account shall have as well, for how long, and why."""

    account: str = Field(max_length=64, description="The account, by its name.")
    roles: list[str] = Field(min_length=1, max_length=20)
    hours: int = Field(ge=1, le=8_784)
    reason: str = Field(min_length=1, max_length=200)


@router.post(
    "/elevations",
    status_code=201,
    responses=problems(404, 409),
    openapi_extra=needs(Scope.BATCHES_APPROVE),
)
async def ask_elevation(who: Who, of: Of, body: NewElevation) -> DualView:
    """As the department's head, ask for roles for a time; an administrator confirms the request."""
    return await of.elevations.ask(
        who, account=body.account, roles=body.roles, hours=body.hours, reason=body.reason
    )


@router.get("/elevations", responses=problems(), openapi_extra=needs(Scope.ACCOUNTS_READ))
async def list_elevations(who: Who, of: Of) -> Sequence[Elevation]:
    """The latest 200 elevations, newest first, also ended ones."""
    return await of.elevations.list(who)


@router.post(
    "/elevations/{elevation_id}/end",
    responses=problems(404),
    openapi_extra=needs(Scope.ACCOUNTS_WRITE),
)
async def end_elevation(who: Who, of: Of, elevation_id: RowId, body: Reason) -> Elevation:
    """End an elevation now."""
    return await of.elevations.end(who, elevation_id, reason=body.reason)
