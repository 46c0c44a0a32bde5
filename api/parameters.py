"""Parameters that several routes share, and what a route says about its scope."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal, get_args, get_origin

from fastapi import Query, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)
from pydantic_core import PydanticCustomError

from modemctl.errors import InvalidRequest
from modemctl.service.pages import MAX_LIMIT
from modemctl.service.principal import Scope

__all__ = ["Body", "Cursor", "Limit", "Moment", "Reason", "RowId", "needs", "require_known"]

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Most items of the page.")]
Cursor = Annotated[
    str | None, Query(max_length=200, description="`next` of the page before; none: the first.")
]
RowId = Annotated[int, Field(ge=1, le=2**63 - 1)]
"""A number that counts rows of the database."""


_DATED: Final = re.compile(r"\d{4}-\d\d-\d\d")


def _require_date(value: object) -> object:
    if (isinstance(value, str) and _DATED.match(value) is None) or isinstance(value, int | float):
        raise PydanticCustomError("datetime_parsing", "is no moment")
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_require_date)]
"""A date and a time of day with its offset; a bare number is none, whatever it may count."""


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

    Likewise one that stands twice though the route takes one: the other would be passed over.

    Raises:
        InvalidRequest: there is one.
    """
    route = request.scope.get("route")
    if not request.query_params or not isinstance(route, APIRoute):
        return
    takes_many = dict(_parameters(route.dependant))
    for name, n in Counter(name for name, _ in request.query_params.multi_items()).items():
        if name not in takes_many:
            cure = "modemctl's API page (docs/api.md) lists what each address takes"
            raise InvalidRequest("is not known here", field=name[:80], cure=cure)
        if n > 1 and not takes_many[name]:
            raise InvalidRequest("stands more than once", field=name, cure="ask for one at a time")


def _parameters(dependant: Dependant) -> Iterator[tuple[str, bool]]:
    """Each query parameter, and whether it may stand more than once."""
    for one in dependant.query_params:
        annotation = one.field_info.annotation
        yield (
            one.alias,
            any(get_origin(part) is list for part in (annotation, *get_args(annotation))),
        )
    for inner in dependant.dependencies:
        yield from _parameters(inner)
