"""The register of SIM cards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from api.auth import Who
from api.parameters import Body, Cursor, Limit, needs
from api.problems import Fault, answer_faults, problems
from api.services import Of
from api.uploads import ENCODING, FORMAT, LIST_BODY, format_of_type, spooled_body
from modemctl.service.identities import IdentityKind
from modemctl.service.locks import LockView
from modemctl.service.pages import Page
from modemctl.service.principal import Scope
from modemctl.service.sims import CardImport, CardState, LineError, PinImport, SimView

router = APIRouter(prefix="/v1", tags=["sims"])


class SimReason(Body):
    """Why; goes to the audit log."""

    reason: str = Field(min_length=1, max_length=500)


class Verification(Body):
    """Who checked whose number it is, and the holder's document (SIM-04).

    Without `identity_kind` the number is that of a resident's identity card.
    """

    verified_by: str = Field(min_length=1, max_length=128)
    identity_number: str | None = Field(default=None, max_length=64, repr=False)
    identity_kind: IdentityKind | None = None


@router.get("/sims", responses=problems(), openapi_extra=needs(Scope.SIMS_READ))
async def list_sims(
    who: Who,
    of: Of,
    *,
    department: Annotated[str | None, Query()] = None,
    state: Annotated[CardState | None, Query()] = None,
    holder: Annotated[str | None, Query()] = None,
    number: Annotated[str | None, Query(max_length=40)] = None,
    identity_number: Annotated[str | None, Query(max_length=64)] = None,
    identity_kind: Annotated[IdentityKind | None, Query()] = None,
    card_group: Annotated[str | None, Query()] = None,
    bay: Annotated[str | None, Query()] = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Page[SimView]:
    """Cards by ICCID; numbers and names are masked without `pii:read`."""
    return await of.sims.list_sims(
        who,
        department=department,
        state=state,
        holder=holder,
        number=number,
        identity_number=identity_number,
        identity_kind=identity_kind,
        card_group=card_group,
        bay=bay,
        cursor=cursor,
        limit=limit,
    )


@router.post(
    "/sims/import",
    responses=problems(413),
    response_model=CardImport,
    openapi_extra={**needs(Scope.SIMS_WRITE), **LIST_BODY},
)
async def import_sims(
    who: Who,
    of: Of,
    request: Request,
    *,
    form: FORMAT = None,
    encoding: ENCODING = None,
    dry_run: Annotated[bool, Query(description="Check only; change nothing.")] = False,
) -> CardImport | Response:
    """Register the cards of a list and put their PINs into the vault: all or none.

    Faults of lines are a 422 that lists each; then nothing was registered.
    """
    who.require(Scope.SIMS_WRITE)  # before a large body is read
    form = form or format_of_type(request.headers.get("content-type", ""))
    async with spooled_body(request) as spooled:
        done = await of.sims.import_cards(who, spooled, form, encoding=encoding, is_trial=dry_run)
    if not done.errors:
        return done
    return answer_faults(
        [_fault(one) for one in done.errors], cure="correct the list and send all of it again"
    )


def _fault(one: LineError) -> Fault:
    place = f"line {one.line_no}: {one.field}" if one.line_no else one.field
    return Fault(field=place, rule=one.rule, policy=one.policy, cure=one.cure)


@router.get("/sims/locks", responses=problems(), openapi_extra=needs(Scope.SIMS_READ))
async def list_locks(
    who: Who, of: Of, *, cursor: Cursor = None, limit: Limit = 100
) -> Page[LockView]:
    """Who asks for a PIN at power-up, who does not, who is stopped or blocked and why; by ICCID."""
    return await of.locks.report(who, cursor=cursor, limit=limit)


@router.get("/sims/{iccid}", responses=problems(404), openapi_extra=needs(Scope.SIMS_READ))
async def show_sim(who: Who, of: Of, iccid: str) -> SimView:
    """One card."""
    return await of.sims.show(who, iccid)


@router.post("/sims/{iccid}/verify", responses=problems(404), openapi_extra=needs(Scope.SIMS_WRITE))
async def verify_sim(who: Who, of: Of, iccid: str, body: Verification) -> SimView:
    """Note who checked whose number it is, and by which document."""
    return await of.sims.verify(who, iccid, **body.model_dump())


@router.post("/sims/{iccid}/pause", responses=problems(404), openapi_extra=needs(Scope.SIMS_WRITE))
async def pause_sim(who: Who, of: Of, iccid: str, body: SimReason) -> SimView:
    """Let a card send nothing until it is resumed; it goes on receiving."""
    return await of.sims.pause(who, iccid, body.reason)


@router.post("/sims/{iccid}/resume", responses=problems(404), openapi_extra=needs(Scope.SIMS_WRITE))
async def resume_sim(who: Who, of: Of, iccid: str, body: SimReason) -> SimView:
    """Let a paused card send again."""
    return await of.sims.resume(who, iccid, body.reason)


@router.get("/pin-imports", responses=problems(), openapi_extra=needs(Scope.SIMS_READ))
async def list_pin_imports(who: Who, of: Of) -> Sequence[PinImport]:
    """The imports of PINs and how far each proved itself, newest first."""
    return await of.sims.list_imports(who)


@router.post(
    "/pin-imports/{import_id}/resume",
    status_code=204,
    response_class=Response,
    responses=problems(404, 409),
    openapi_extra=needs(Scope.SIMS_WRITE),
)
async def resume_pin_import(who: Who, of: Of, import_id: str, body: SimReason) -> None:
    """Let a stopped import of PINs begin again with a canary."""
    await of.sims.resume_import(who, import_id, body.reason)
