"""Calls that the modems saw."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from api.auth import Who
from api.parameters import Cursor, Limit, Moment, needs
from api.problems import problems
from api.services import Of
from modemctl.service.calls import CallView
from modemctl.service.pages import Page
from modemctl.service.principal import Scope

router = APIRouter(prefix="/v1", tags=["calls"])


@router.get("/calls", responses=problems(), openapi_extra=needs(Scope.CALLS_READ))
async def list_calls(
    who: Who,
    of: Of,
    *,
    department: Annotated[str | None, Query()] = None,
    iccid: Annotated[str | None, Query()] = None,
    number: Annotated[str | None, Query(max_length=40, description="The other party's.")] = None,
    is_incoming: Annotated[bool | None, Query()] = None,
    is_answered: Annotated[bool | None, Query()] = None,
    since: Annotated[Moment | None, Query()] = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Page[CallView]:
    """Calls, newest first; parties are masked without `pii:read`."""
    return await of.calls.list_calls(
        who,
        department=department,
        iccid=iccid,
        number=number,
        is_incoming=is_incoming,
        is_answered=is_answered,
        since=since,
        cursor=cursor,
        limit=limit,
    )
