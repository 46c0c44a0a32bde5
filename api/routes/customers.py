"""Whom a department's notices may go to, where it keeps a register of its customers."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from api.auth import Who
from api.parameters import Body, needs
from api.problems import problems
from api.services import Of
from api.uploads import (
    ENCODING,
    FORMAT,
    LIST_BODY,
    format_of_type,
    spooled_body,
    unless_gone,
)
from modemctl.service.customers import CustomerCheck, CustomerImport, CustomerRegisters
from modemctl.service.principal import Scope

router = APIRouter(prefix="/v1/customers", tags=["customers"])


class CustomerNumber(Body):
    """A number, and whose customer it is or is asked to be."""

    department: str = Field(max_length=128)
    number: str = Field(max_length=40)


class NewCustomer(CustomerNumber):
    """A number that becomes a customer, and where it comes from."""

    source: str = Field(max_length=200)


class FormerCustomer(CustomerNumber):
    """A number that is a customer no more, and why."""

    reason: str = Field(min_length=1, max_length=500)


@router.post(
    "/import",
    responses=problems(409, 413),
    openapi_extra={**needs(Scope.CUSTOMERS_WRITE), **LIST_BODY},
)
async def import_customers(
    who: Who,
    of: Of,
    request: Request,
    *,
    department: Annotated[str, Query(max_length=128, description="Whose customers.")] = "",
    source: Annotated[str, Query(max_length=200, description="Where the list comes from.")] = "",
    form: FORMAT = None,
    encoding: ENCODING = None,
    dry_run: Annotated[bool, Query(description="Check only; change nothing.")] = False,
) -> CustomerImport:
    """Add a list of any size to a department's register; it counts when all of it is in.

    Lines without a mobile's number are left out and named.
    """
    who.require(Scope.CUSTOMERS_WRITE)  # before a large body is read
    form = form or format_of_type(request.headers.get("content-type", ""))
    async with spooled_body(request) as spooled:
        work = of.customers.import_list(
            who,
            spooled,
            form,
            department=department,
            source=source,
            encoding=encoding,
            is_trial=dry_run,
        )
        return await unless_gone(request, work)


@router.post(
    "", status_code=201, responses=problems(409), openapi_extra=needs(Scope.CUSTOMERS_WRITE)
)
async def add_customer(who: Who, of: Of, body: NewCustomer) -> CustomerCheck:
    """Add one number; one that is in the register stays as it was."""
    return await of.customers.add(who, body.number, department=body.department, source=body.source)


@router.post(
    "/remove",
    status_code=204,
    response_class=Response,
    responses=problems(404),
    openapi_extra=needs(Scope.CUSTOMERS_WRITE),
)
async def remove_customer(who: Who, of: Of, body: FormerCustomer) -> None:
    """Take a number out of a department's register; batches that were handed in go on."""
    await of.customers.remove(who, body.number, department=body.department, reason=body.reason)


@router.get("", responses=problems(), openapi_extra=needs(Scope.CUSTOMERS_READ))
async def count_customers(
    who: Who,
    of: Of,
    *,
    department: Annotated[str | None, Query(max_length=128, description="Only this one.")] = None,
) -> CustomerRegisters:
    """How many customers each department in sight has, with its latest lists."""
    return await of.customers.count(who, department)


@router.post("/check", responses=problems(), openapi_extra=needs(Scope.CUSTOMERS_READ))
async def check_customer(who: Who, of: Of, body: CustomerNumber) -> CustomerCheck:
    """Whether a number is a department's customer, and by which list."""
    return await of.customers.check(who, body.number, department=body.department)
