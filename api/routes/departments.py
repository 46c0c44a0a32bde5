"""Departments: registered, led, closed (SIM-01, SIM-05)."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter
from pydantic import Field

from api.auth import Who
from api.parameters import Body, Reason, needs
from api.problems import problems
from api.services import Of
from modemctl.service.departments import DepartmentView
from modemctl.service.principal import Scope

router = APIRouter(prefix="/v1", tags=["accounts"])

_WRITE = needs(Scope.ACCOUNTS_WRITE)


class NewDepartment(Body):
    """A department's name, as cards, accounts and batches tell it."""

    name: str = Field(min_length=1, max_length=128)
    title: str = Field(default="", max_length=128, description="What people read beside it.")
    parent: str | None = Field(default=None, max_length=128, description="Whose part it is.")


class NewHead(Body):
    """Who leads a department."""

    head: str | None = Field(max_length=64, description="An account, by its name; null: nobody.")


@router.get("/departments", responses=problems(), openapi_extra=needs("any"))
async def list_departments(who: Who, of: Of) -> Sequence[DepartmentView]:
    """The departments that one sees, by name, closed ones too."""
    return await of.departments.list(who)


@router.post("/departments", status_code=201, responses=problems(409), openapi_extra=_WRITE)
async def add_department(who: Who, of: Of, body: NewDepartment) -> DepartmentView:
    """Register a department, or open one again that was closed."""
    return await of.departments.add(who, name=body.name, title=body.title, parent=body.parent)


@router.put("/departments/{name:path}/head", responses=problems(404, 409), openapi_extra=_WRITE)
async def set_department_head(who: Who, of: Of, name: str, body: NewHead) -> DepartmentView:
    """Name a department's head, who becomes the holder of its pool's cards."""
    return await of.departments.set_head(who, name, body.head)


@router.post("/departments/{name:path}/close", responses=problems(404, 409), openapi_extra=_WRITE)
async def close_department(who: Who, of: Of, name: str, body: Reason) -> DepartmentView:
    """Close a department that nothing is of any more."""
    return await of.departments.close(who, name, reason=body.reason)
