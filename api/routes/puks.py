"""Blocked cards: one person brings the PUK, another one gives it again."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter
from pydantic import Field

from api.auth import Who
from api.parameters import Body, needs
from api.problems import problems
from api.services import Of
from modemctl.service.principal import Scope
from modemctl.service.puks import PukView

router = APIRouter(prefix="/v1", tags=["sims"])


class Puk(Body):
    """The card's PUK, 8 digits; it is stored sealed and never shown."""

    puk: str = Field(min_length=8, max_length=8, repr=False)


class PukAsked(Puk):
    """The card's PUK, and why it is needed."""

    reason: str = Field(min_length=1, max_length=500)


@router.post(
    "/sims/{iccid}/puk",
    status_code=201,
    responses=problems(404, 409),
    openapi_extra=needs(Scope.SIMS_WRITE),
)
async def ask_puk(who: Who, of: Of, iccid: str, body: PukAsked) -> PukView:
    """Bring the PUK of a blocked card. Nothing is tried until another person gives it again."""
    return await of.puks.ask(who, iccid, puk=body.puk, reason=body.reason)


@router.get("/puk-requests", responses=problems(), openapi_extra=needs(Scope.SIMS_READ))
async def list_puk_requests(who: Who, of: Of) -> Sequence[PukView]:
    """The latest 200 requests to unblock cards, newest first."""
    return await of.puks.list_requests(who)


@router.post(
    "/puk-requests/{request_id}/confirm",
    responses=problems(404, 409),
    openapi_extra=needs(Scope.SIMS_WRITE),
)
async def confirm_puk(who: Who, of: Of, request_id: str, body: Puk) -> PukView:
    """Give the PUK again, as another person; then the card's bay tries it once."""
    return await of.puks.confirm(who, request_id, puk=body.puk)


@router.post(
    "/puk-requests/{request_id}/withdraw",
    responses=problems(404, 409),
    openapi_extra=needs(Scope.SIMS_WRITE),
)
async def withdraw_puk(who: Who, of: Of, request_id: str) -> PukView:
    """Take a request back that was not tried yet."""
    return await of.puks.withdraw(who, request_id)
