"""Bays and their modems."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import Field

from api.auth import Who
from api.parameters import Body, Cursor, Limit, needs
from api.problems import problems
from api.services import Of
from modemctl.service.modems import ModemView, WishKind, WishView
from modemctl.service.pages import Page
from modemctl.service.principal import Scope


async def _bay_named(who: Who, of: Of, bay: str) -> str:
    return await of.nodes.bay_named(who, bay)


BayName = Annotated[str, Depends(_bay_named)]
"""A bay as its path names it: `bay`, or `node/bay` where several nodes have one of that name."""
Wait = Annotated[float, Query(ge=0.0, le=40.0, description="Seconds to wait for it.")]

router = APIRouter(prefix="/v1", tags=["modems"])


class BayReason(Body):
    """Why; goes to the audit log."""

    reason: str = Field(min_length=1, max_length=500)


class CardOfBay(BayReason):
    """The card that belongs into a bay; none named = the one that is in it now."""

    iccid: str | None = Field(default=None, max_length=64)


class AtCommand(Body):
    """One command that reads, such as `AT+CSQ`; `wait` is for its answer, in seconds."""

    command: str = Field(min_length=2, max_length=64)
    wait: float = Field(default=40.0, ge=0.0, le=40.0)


@router.get("/modems", responses=problems(), openapi_extra=needs(Scope.MODEMS_READ))
async def list_modems(
    who: Who, of: Of, *, cursor: Cursor = None, limit: Limit = 100
) -> Page[ModemView]:
    """Bays by name."""
    return await of.modems.list_modems(who, cursor=cursor, limit=limit)


@router.post(
    "/modems/{bay:path}/pause", responses=problems(404), openapi_extra=needs(Scope.MODEMS_OPERATE)
)
async def pause_modem(who: Who, of: Of, bay: BayName, body: BayReason) -> ModemView:
    """Let a bay send nothing until it is resumed; it goes on receiving."""
    return await of.modems.pause(who, bay, body.reason)


@router.post(
    "/modems/{bay:path}/resume", responses=problems(404), openapi_extra=needs(Scope.MODEMS_OPERATE)
)
async def resume_modem(who: Who, of: Of, bay: BayName, body: BayReason) -> ModemView:
    """Let a paused bay send again."""
    return await of.modems.resume(who, bay, body.reason)


@router.post(
    "/modems/{bay:path}/bind",
    responses=problems(404, 409),
    openapi_extra=needs(Scope.MODEMS_OPERATE),
)
async def bind_modem(who: Who, of: Of, bay: BayName, body: CardOfBay) -> ModemView:
    """Tie a card to a bay; frees one that was set aside as moved (SIM-07)."""
    return await of.modems.bind(who, bay, body.iccid, body.reason)


@router.post(
    "/modems/{bay:path}/unbind", responses=problems(404), openapi_extra=needs(Scope.MODEMS_OPERATE)
)
async def unbind_modem(who: Who, of: Of, bay: BayName, body: BayReason) -> ModemView:
    """Tie no card to a bay any more (SIM-07)."""
    return await of.modems.unbind(who, bay, body.reason)


@router.post(
    "/modems/{bay:path}/forget",
    responses=problems(404, 409),
    openapi_extra=needs(Scope.MODEMS_OPERATE),
)
async def forget_modem(who: Who, of: Of, bay: BayName, body: BayReason) -> ModemView:
    """Take an absent bay off the list; the answer is its last view."""
    return await of.modems.forget(who, bay, body.reason)


@router.post(
    "/modems/{bay:path}/reset",
    responses=problems(404, 409),
    openapi_extra=needs(Scope.MODEMS_OPERATE),
)
async def reset_modem(who: Who, of: Of, bay: BayName, body: BayReason) -> WishView:
    """Restart a modem; where that fails, climb the recovery ladder."""
    return await of.modems.ask(who, bay, WishKind.RESET, body.reason)


@router.post(
    "/modems/{bay:path}/retry",
    responses=problems(404, 409),
    openapi_extra=needs(Scope.MODEMS_OPERATE),
)
async def retry_modem(who: Who, of: Of, bay: BayName, body: BayReason) -> WishView:
    """Try a failed bay again now."""
    return await of.modems.ask(who, bay, WishKind.RETRY, body.reason)


@router.post(
    "/modems/{bay:path}/release",
    responses=problems(404, 409),
    openapi_extra=needs(Scope.MODEMS_OPERATE),
)
async def release_modem(who: Who, of: Of, bay: BayName, body: BayReason) -> WishView:
    """Look at a quarantined or waiting card again."""
    return await of.modems.ask(who, bay, WishKind.RELEASE, body.reason)


@router.post(
    "/modems/{bay:path}/at",
    responses=problems(404, 409),
    openapi_extra=needs(Scope.MODEMS_OPERATE),
)
async def send_command(who: Who, of: Of, bay: BayName, body: AtCommand) -> WishView:
    """Send one AT command; without an answer in time `done_at` is null, and it comes later."""
    return await of.modems.command(who, bay, body.command, patience=body.wait)


@router.get(
    "/modems/{bay:path}/at/{wish_id}",
    responses=problems(404, 409),
    openapi_extra=needs(Scope.MODEMS_OPERATE),
)
async def read_answer(who: Who, of: Of, bay: BayName, wish_id: str, wait: Wait = 40.0) -> WishView:
    """The answer to an AT command of one's own, which may take minutes."""
    return await of.modems.answer(who, bay, wish_id, patience=wait)


@router.get("/modems/{bay:path}", responses=problems(404), openapi_extra=needs(Scope.MODEMS_READ))
async def show_modem(who: Who, of: Of, bay: BayName) -> ModemView:
    """One bay."""
    return await of.modems.show(who, bay)
