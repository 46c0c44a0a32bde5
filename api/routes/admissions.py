"""The admission list of modems (CC-01)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import Field

from api.auth import Who
from api.parameters import Body, Cursor, Limit, needs
from api.problems import problems
from api.services import Of
from modemctl.service.admissions import AdmissionState, AdmissionView
from modemctl.service.pages import Page
from modemctl.service.principal import Scope

router = APIRouter(prefix="/v1", tags=["modems"])


class AdmissionRequest(Body):
    """Modems to admit, by the 15 digits of their IMEI, and why."""

    imeis: list[str] = Field(min_length=1, max_length=512)
    reason: str = Field(min_length=1, max_length=500)


class Expulsion(Body):
    """Why; goes to the audit log."""

    reason: str = Field(min_length=1, max_length=500)


@router.get("/admissions", responses=problems(), openapi_extra=needs(Scope.MODEMS_READ))
async def list_admissions(
    who: Who,
    of: Of,
    *,
    state: AdmissionState | None = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Page[AdmissionView]:
    """Modems by IMEI: seen, requested, admitted, expelled."""
    return await of.admissions.list_admissions(who, state=state, cursor=cursor, limit=limit)


@router.post("/admissions", responses=problems(), openapi_extra=needs(Scope.MODEMS_OPERATE))
async def admit_modems(who: Who, of: Of, body: AdmissionRequest) -> Page[AdmissionView]:
    """Ask for modems; those that another person asked for are admitted, and driven at once."""
    return await of.admissions.admit(who, body.imeis, body.reason)


@router.post(
    "/admissions/{imei}/expel", responses=problems(), openapi_extra=needs(Scope.MODEMS_OPERATE)
)
async def expel_modem(
    who: Who, of: Of, imei: Annotated[str, Path(max_length=40)], body: Expulsion
) -> AdmissionView:
    """Let no bay drive a modem any more, from now on."""
    return await of.admissions.expel(who, imei, body.reason)
