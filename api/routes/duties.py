"""What is done regularly: duties, and the tests of bays (SIM-18)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from api.auth import Who
from api.parameters import Body, needs
from api.problems import problems
from api.services import Of
from modemctl.service.principal import Scope
from modemctl.service.register_checks import RegisterFault
from modemctl.service.self_tests import DutyView, SelfTestView
from modemctl.service.sim_views import SimView

router = APIRouter(prefix="/v1", tags=["duties"])


class Why(Body):
    """Why; goes to the audit log."""

    reason: str = Field(min_length=1, max_length=500)


class CorrectNumber(Why):
    """A card's number, and why it is corrected."""

    number: str = Field(min_length=1, max_length=40)


class RenewedLease(Why):
    """The last day of the new term, and why."""

    until: date


class ConfirmedDepartment(Body):
    """Whose cards are right."""

    department: str = Field(min_length=1, max_length=128)


class TestedBays(Body):
    """Which bays to test; none: all."""

    bays: list[str] = Field(default_factory=list, max_length=1_000)
    sms: bool = Field(
        default=False,
        description="Let cards write to themselves, where their department has a standing "
        "approval for it (SMS-09); names no bays.",
    )


@router.post("/self-tests", responses=problems(404), openapi_extra=needs(Scope.MODEMS_OPERATE))
async def run_self_tests(who: Who, of: Of, body: TestedBays) -> Sequence[SelfTestView]:
    """Test bays now: port, card, registration, signal, balance; answers when all did.

    It takes two minutes at most.
    """
    return await of.self_tests.run(who, body.bays, sends_sms=body.sms)


@router.get("/self-tests", responses=problems(), openapi_extra=needs(Scope.MODEMS_READ))
async def list_self_tests(
    who: Who,
    of: Of,
    *,
    only_faulty: Annotated[bool, Query(description="Only bays with a fault.")] = False,
) -> Sequence[SelfTestView]:
    """What the last test of each bay found, by bay."""
    return await of.self_tests.latest(who, only_faulty=only_faulty)


@router.get("/register-faults", responses=problems(), openapi_extra=needs(Scope.SIMS_READ))
async def list_register_faults(who: Who, of: Of) -> Sequence[RegisterFault]:
    """Where the register is not true: numbers on cards, ends of leases, departments' word."""
    return await of.register_checks.list_faults(who)


@router.post(
    "/sims/{iccid}/number", responses=problems(404, 409), openapi_extra=needs(Scope.SIMS_WRITE)
)
async def correct_sim_number(who: Who, of: Of, iccid: str, body: CorrectNumber) -> SimView:
    """Give a card the number that it really has (SIM-17)."""
    return await of.register_checks.correct_number(
        who, iccid, number=body.number, reason=body.reason
    )


@router.post(
    "/sims/{iccid}/number/accept",
    responses=problems(404, 409),
    openapi_extra=needs(Scope.SIMS_WRITE),
)
async def accept_sim_number(who: Who, of: Of, iccid: str, body: Why) -> SimView:
    """Say that the register is right, and what stands on the card is not."""
    return await of.register_checks.accept_number(who, iccid, reason=body.reason)


@router.post(
    "/sims/{iccid}/lease", responses=problems(404, 409), openapi_extra=needs(Scope.SIMS_WRITE)
)
async def renew_sim_lease(who: Who, of: Of, iccid: str, body: RenewedLease) -> SimView:
    """Give a leased card a new last day (SIM-17)."""
    return await of.register_checks.renew_lease(who, iccid, until=body.until, reason=body.reason)


@router.post(
    "/register-confirmations",
    status_code=204,
    responses=problems(404),
    openapi_extra=needs(Scope.SIMS_READ),
)
async def confirm_register(who: Who, of: Of, body: ConfirmedDepartment) -> None:
    """Say that a department's cards were gone through and are right; due every 92 days."""
    await of.register_checks.confirm(who, body.department)


@router.get("/duties", responses=problems(), openapi_extra=needs(Scope.MODEMS_READ))
async def list_duties(who: Who, of: Of) -> Sequence[DutyView]:
    """Regular duties, reports to file too: when each was done last, whether it waits or is late."""
    sources = (of.self_tests, of.backups, of.papers.watch, of.emergencies)
    return [one for source in sources for one in await source.list_duties(who)]
