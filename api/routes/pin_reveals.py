"""A card's PIN, shown to two persons once (SIM-06)."""

from __future__ import annotations

from fastapi import APIRouter, Response
from pydantic import Field

from api.auth import Who
from api.parameters import Body, needs
from api.problems import problems
from api.services import Of
from modemctl.service.pin_reveals import PinView
from modemctl.service.principal import Scope

router = APIRouter(prefix="/v1", tags=["sims"])


class Permit(Body):
    """The permit of a second person (kind `pin_reveal`, subject the card's ICCID)."""

    request_id: str | None = Field(default=None, max_length=80)


@router.post(
    "/sims/{iccid}/pin", responses=problems(404, 409), openapi_extra=needs(Scope.SIMS_WRITE)
)
async def reveal_pin(who: Who, of: Of, iccid: str, body: Permit, response: Response) -> PinView:
    """The card's PIN, this once; no cache may keep the answer."""
    response.headers["Cache-Control"] = "no-store"
    return await of.pin_reveals.reveal(who, iccid, request_id=body.request_id)
