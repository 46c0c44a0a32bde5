"""Limits and how much of each is used."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from api.auth import Who
from api.parameters import Cursor, Limit, needs
from api.problems import problems
from api.services import Of
from modemctl.service.limits import LimitView, ScopeKind
from modemctl.service.pages import Page
from modemctl.service.principal import Scope

router = APIRouter(prefix="/v1", tags=["limits"])


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
