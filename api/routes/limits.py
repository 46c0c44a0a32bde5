"""Limits and how much of each is used."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from api.auth import Who
from api.parameters import Body, Cursor, Limit, needs
from api.problems import problems
from api.services import Of
from modemctl.service.limits import LimitView, ScopeKind
from modemctl.service.pages import Page
from modemctl.service.principal import Scope
from modemctl.service.sim_views import SimView

router = APIRouter(prefix="/v1", tags=["limits"])


class CardZone(Body):
    """The zone (IANA) of a card's days and months, null: the site's; and why it changes."""

    timezone: str | None = Field(max_length=64)
    reason: str = Field(min_length=1, max_length=500)


@router.get("/limits", responses=problems(), openapi_extra=needs(Scope.SIMS_READ))
async def list_limits(
    who: Who,
    of: Of,
    *,
    scope: Annotated[ScopeKind | None, Query(description="Only caps on these.")] = None,
    only_full: Annotated[bool, Query(description="Only caps without room.")] = False,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Page[LimitView]:
    """Caps on cards, holders, carriers, departments and running batches, and their use now."""
    return await of.limits.list_limits(
        who, scope=scope, only_full=only_full, cursor=cursor, limit=limit
    )


@router.post(
    "/sims/{iccid}/zone", responses=problems(404, 409), openapi_extra=needs(Scope.SIMS_WRITE)
)
async def move_sim_zone(who: Who, of: Of, iccid: str, body: CardZone) -> SimView:
    """Let a card's days and months be those of a zone; the one it leaves binds until they ended."""
    return await of.zones.move(who, iccid, timezone=body.timezone, reason=body.reason)
