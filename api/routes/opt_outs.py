"""Who is not written to any more."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import Field

from api.auth import Who
from api.parameters import Body, Cursor, Limit, needs
from api.problems import problems
from api.services import Of
from modemctl.service.optouts import OptOutView
from modemctl.service.pages import Page
from modemctl.service.principal import Scope

router = APIRouter(prefix="/v1", tags=["opt-outs"])


class OptOut(Body):
    """A number that wants no messages."""

    number: str = Field(max_length=40)


class OptIn(OptOut):
    """A number that wants them again, and how we know."""

    reason: str = Field(min_length=1, max_length=500)


@router.get("/opt-outs", responses=problems(), openapi_extra=needs(Scope.BATCHES_READ))
async def list_opt_outs(
    who: Who,
    of: Of,
    *,
    number: Annotated[str | None, Query(max_length=40, description="This one or none.")] = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Page[OptOutView]:
    """The opt-out list, in an order that tells nothing."""
    return await of.opt_outs.list_opt_outs(who, number=number, cursor=cursor, limit=limit)


@router.post(
    "/opt-outs",
    status_code=201,
    responses=problems(),
    openapi_extra=needs(Scope.OPT_OUTS_WRITE),
)
async def add_opt_out(who: Who, of: Of, body: OptOut) -> OptOutView:
    """Put a number on the list; one that is on it stays as it was."""
    return await of.opt_outs.add(who, body.number)


@router.post(
    "/opt-outs/remove",
    status_code=204,
    response_class=Response,
    responses=problems(404),
    openapi_extra=needs(Scope.OPT_OUTS_WRITE),
)
async def remove_opt_out(who: Who, of: Of, body: OptIn) -> None:
    """Take a number off the list, for instance at the customer's own wish."""
    await of.opt_outs.remove(who, body.number, body.reason)
