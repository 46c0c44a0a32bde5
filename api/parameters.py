"""Parameters that several routes share, and what a route says about its scope."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from fastapi import Query, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from modemctl.errors import InvalidRequest
from modemctl.service.pages import MAX_LIMIT
from modemctl.service.principal import Scope

__all__ = ["Body", "Cursor", "Limit", "Reason", "RowId", "needs", "require_known"]

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Most items of the page.")]
Cursor = Annotated[
    str | None, Query(max_length=200, description="`next` of the page before; none: the first.")
]
RowId = Annotated[int, Field(ge=1, le=2**63 - 1)]
"""A number that counts rows of the database."""


class Body(BaseModel):
    """A JSON body: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


class Reason(Body):
    """Why; goes to the audit log."""

    reason: Annotated[str, StringConstraints(strip_whitespace=True, max_length=200)] = Field(
        description="Why, in a few words; nothing personal."
    )


def needs(*scopes: Scope | Literal["any", "open"], own: bool = False) -> dict[str, Any]:
    """What the documentation says of a route: one of these scopes, `any` account, `open` to all.

    `own`: not needed for what is one's own. A test asks every route as every role and compares.
    """
    return {"x-scope": " or ".join(scopes), "x-own": own}


def require_known(request: Request) -> None:
    """Refuse a query parameter that the route does not know: a misspelt filter filters nothing.

    Raises:
        InvalidRequest: there is one.
    """
    route = request.scope.get("route")
    if not request.query_params or not isinstance(route, APIRoute):
        return
    known = set(_names(route.dependant))
    for name in request.query_params:
        if name not in known:
            cure = "modemctl's API page (docs/api.md) lists what each address takes"
            raise InvalidRequest("is not known here", field=name[:80], cure=cure)


def _names(dependant: Dependant) -> Iterator[str]:
    yield from (one.alias for one in dependant.query_params)
    for inner in dependant.dependencies:
        yield from _names(inner)
