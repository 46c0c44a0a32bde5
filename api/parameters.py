"""Parameters that several routes share, and what a route says about its scope."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from modemctl.service.pages import MAX_LIMIT
from modemctl.service.principal import Scope

__all__ = ["Body", "Cursor", "Limit", "Reason", "RowId", "needs"]

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
