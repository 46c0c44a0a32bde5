"""Operators of departments: two managers sign, the general department files (SMS-06)."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import Field

from api.auth import Who
from api.parameters import Body, Moment, needs
from api.problems import problems
from api.services import Of
from modemctl.service.authorities import Authorisation
from modemctl.service.dual import DualView
from modemctl.service.principal import Scope

router = APIRouter(prefix="/v1", tags=["authorities"])


class Application(Body):
    """《操作员申请表》: who shall send for a department, from now or `valid_from` on."""

    account: str = Field(max_length=64, description="The operator's account, by its name.")
    department: str
    valid_from: Moment | None = None
    valid_until: Moment
    reference: str = Field(max_length=200, description="The signed form.")
    undertaking: str = Field(
        max_length=80, description="Version of the undertaking that the operator signed."
    )
    hand_over: bool = Field(
        default=False, description="The operator of then ends where this one begins."
    )


@router.post(
    "/operators",
    status_code=201,
    responses=problems(404, 409),
    openapi_extra=needs(Scope.BATCHES_APPROVE),
)
async def apply_for_operator(who: Who, of: Of, body: Application) -> DualView:
    """The department's manager authorises an operator; the manager in charge confirms it next."""
    return await of.operators.apply(
        who,
        account=body.account,
        department=body.department,
        valid_from=body.valid_from,
        valid_until=body.valid_until,
        reference=body.reference,
        undertaking=body.undertaking,
        is_hand_over=body.hand_over,
    )


@router.post(
    "/operators/{request_id}/file",
    status_code=201,
    responses=problems(404, 409),
    openapi_extra=needs(Scope.ACCOUNTS_WRITE),
)
async def file_operator(who: Who, of: Of, request_id: str) -> Authorisation:
    """The general department files what both managers signed; the operator may send from then."""
    return await of.operators.file(who, request_id)
