"""The life of a card: asked for, reviewed, approved, provisioned, issued; its end; its history."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from api.auth import Who
from api.parameters import Body, Moment, needs
from api.problems import problems
from api.services import Of
from modemctl.service.card_endings import CardState, Ending
from modemctl.service.card_requests import CardForm, Ownership
from modemctl.service.histories import HistoryLine, OpenRequest
from modemctl.service.identities import IdentityKind
from modemctl.service.offboarding import Departure
from modemctl.service.principal import Scope
from modemctl.service.sim_views import SimView

router = APIRouter(prefix="/v1", tags=["sims"])


class CardReason(Body):
    """Why; goes to the audit log and the card's history."""

    reason: str = Field(min_length=1, max_length=500)


class CardRequest(CardReason):
    """The form for a card: for whom, for what, whose it is.

    With `is_pool` the department's head becomes the holder. `replaces`: a lost or damaged card,
    from which is taken what the form leaves out. Without `identity_kind` the holder's document is a
    resident's identity card.
    """

    department: str | None = Field(default=None, max_length=128)
    purpose: str | None = Field(default=None, max_length=200)
    holder: str | None = Field(default=None, max_length=128)
    identity_number: str | None = Field(default=None, max_length=64, repr=False)
    identity_kind: IdentityKind | None = None
    user_name: str | None = Field(default=None, max_length=128)
    is_pool: bool = False
    number: str | None = Field(default=None, max_length=40, repr=False)
    ownership: Ownership = Ownership.OWNED
    lessor: str | None = Field(default=None, max_length=128)
    contract: str | None = Field(default=None, max_length=128)
    lease_from: date | None = None
    lease_until: date | None = None
    carrier: str | None = Field(default=None, max_length=64)
    card_group: str | None = Field(default=None, max_length=64)
    replaces: str | None = Field(default=None, max_length=40)


class Provision(CardReason):
    """The card's PIN, where the vault has none, or that of a former holder; it is never shown."""

    pin: str | None = Field(default=None, min_length=4, max_length=8, repr=False)


class SimMove(CardReason):
    """The state that stops a card or gives it up, and why.

    `until`: of a penalty; without it two persons end it. `carrier_reference`: what the carrier
    answered to the report of a loss (挂失), at `carrier_told_at` (none: now).
    """

    state: CardState
    until: Moment | None = None
    carrier_reference: str | None = Field(default=None, min_length=1, max_length=128)
    carrier_told_at: Moment | None = None


class Release(CardReason):
    """Why; and the confirmed request (`/v1/requests`) where two persons are needed."""

    request_id: str | None = Field(default=None, max_length=80)


class CarrierReport(Body):
    """What the carrier answered to the report of a loss (挂失), and when; none: now."""

    reference: str = Field(min_length=1, max_length=128)
    at: Moment | None = None


class Leaving(CardReason):
    """Who leaves, by the name that the register has."""

    holder: str = Field(min_length=1, max_length=128)


@router.post(
    "/sims/{iccid}/request",
    status_code=201,
    responses=problems(404, 409),
    openapi_extra=needs(Scope.SIMS_REQUEST),
)
async def request_sim(who: Who, of: Of, iccid: str, body: CardRequest) -> SimView:
    """Ask for a card, a new one or one from the drawer: the first of the five steps (SIM-02)."""
    form = CardForm(**body.model_dump(exclude={"reason"}))
    return await of.custody.request(who, iccid, form, body.reason)


@router.post(
    "/sims/{iccid}/review",
    responses=problems(404, 409),
    openapi_extra=needs(Scope.SIMS_REVIEW),
)
async def review_sim(who: Who, of: Of, iccid: str, body: CardReason) -> SimView:
    """Note that sales checked qualification, need and reason; not by who asked."""
    return await of.custody.review(who, iccid, body.reason)


@router.post(
    "/sims/{iccid}/approve",
    responses=problems(404, 409),
    openapi_extra=needs(Scope.SIMS_APPROVE),
)
async def approve_sim(who: Who, of: Of, iccid: str, body: CardReason) -> SimView:
    """The word of the head of the card's department; not of who asked or reviewed."""
    return await of.custody.approve(who, iccid, body.reason)


@router.post(
    "/sims/{iccid}/refuse",
    responses=problems(404, 409),
    openapi_extra=needs(Scope.SIMS_REVIEW, Scope.SIMS_APPROVE),
)
async def refuse_sim(who: Who, of: Of, iccid: str, body: CardReason) -> SimView:
    """Say no to a request, by who would review or approve it next; the card goes back."""
    return await of.custody.refuse(who, iccid, body.reason)


@router.post(
    "/sims/{iccid}/provision",
    responses=problems(404, 409),
    openapi_extra=needs(Scope.SIMS_PROVISION),
)
async def provision_sim(who: Who, of: Of, iccid: str, body: Provision) -> SimView:
    """IT's step: the PIN goes into the vault, and the lock is set before the card serves.

    A returned card goes into stock by it.
    """
    return await of.custody.provision(who, iccid, body.reason, pin=body.pin)


@router.post(
    "/sims/{iccid}/issue",
    responses=problems(404, 409),
    openapi_extra=needs(Scope.SIMS_ISSUE),
)
async def issue_sim(who: Who, of: Of, iccid: str, body: CardReason) -> SimView:
    """Hand a provisioned, verified card out: it may carry traffic."""
    return await of.custody.issue(who, iccid, body.reason)


@router.post(
    "/sims/{iccid}/state",
    responses=problems(404, 409),
    openapi_extra=needs(Scope.SIMS_WRITE),
)
async def end_sim(who: Who, of: Of, iccid: str, body: SimMove) -> SimView:
    """Suspend a card or give it up: its traffic stops within a second, in mid-batch too."""
    return await of.endings.end(who, iccid, Ending(**body.model_dump()))


@router.post(
    "/sims/{iccid}/release",
    responses=problems(404, 409),
    openapi_extra=needs(Scope.SIMS_ISSUE),
)
async def release_sim(who: Who, of: Of, iccid: str, body: Release) -> SimView:
    """End a suspension; a penalty's, before its time, only with a request that another confirmed.

    The request's kind is `suspension_release`, its subject the ICCID.
    """
    return await of.endings.release(who, iccid, body.reason, request_id=body.request_id)


@router.post(
    "/sims/{iccid}/carrier-report",
    responses=problems(404, 409),
    openapi_extra=needs(Scope.SIMS_WRITE),
)
async def report_sim(who: Who, of: Of, iccid: str, body: CarrierReport) -> SimView:
    """Note that the carrier was told that a card is missing (挂失; SIM-09)."""
    return await of.endings.tell_carrier(who, iccid, body.reference, body.at)


@router.get("/sims/{iccid}/history", responses=problems(404), openapi_extra=needs(Scope.SIMS_READ))
async def sim_history(who: Who, of: Of, iccid: str) -> Sequence[HistoryLine]:
    """The whole custody history of a card, oldest step first (SIM-03)."""
    return await of.histories.history(who, iccid)


@router.get("/sim-requests", responses=problems(), openapi_extra=needs(Scope.SIMS_READ))
async def list_sim_requests(
    who: Who,
    of: Of,
    *,
    overdue: Annotated[
        bool | None, Query(description="Only those open for more than 4 working days, or not.")
    ] = None,
) -> Sequence[OpenRequest]:
    """Requests that wait, the longest first, and for whom."""
    return await of.histories.open_requests(who, is_overdue=overdue)


@router.post("/sim-offboardings", responses=problems(404), openapi_extra=needs(Scope.SIMS_WRITE))
async def offboard(who: Who, of: Of, body: Leaving) -> Departure:
    """A holder leaves: all of his cards are returned and cancelled, but those still in a bay.

    Done again when they are out, it goes on where it was.
    """
    return await of.offboarding.offboard(who, body.holder, body.reason)


@router.get(
    "/sim-offboardings/{holder}", responses=problems(404), openapi_extra=needs(Scope.SIMS_READ)
)
async def show_offboarding(who: Who, of: Of, holder: str) -> Departure:
    """How far a holder's leaving is, and what is left."""
    return await of.offboarding.show(who, holder)
