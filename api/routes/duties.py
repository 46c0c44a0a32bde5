"""What is done regularly: duties, and the tests of bays (SIM-18)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from api.auth import Who
from api.parameters import Body, needs
from api.problems import problems
from api.services import Of
from modemctl.service.principal import Scope
from modemctl.service.self_tests import DutyView, SelfTestView

router = APIRouter(prefix="/v1", tags=["duties"])


class TestedBays(Body):
    """Which bays to test; none: all."""

    bays: list[str] = Field(default_factory=list, max_length=1_000)


@router.post("/self-tests", responses=problems(404), openapi_extra=needs(Scope.MODEMS_OPERATE))
async def run_self_tests(who: Who, of: Of, body: TestedBays) -> Sequence[SelfTestView]:
    """Test bays now: port, card, registration, signal; answers when all did, within two minutes."""
    return await of.self_tests.run(who, body.bays)


@router.get("/self-tests", responses=problems(), openapi_extra=needs(Scope.MODEMS_READ))
async def list_self_tests(
    who: Who,
    of: Of,
    *,
    only_faulty: Annotated[bool, Query(description="Only bays with a fault.")] = False,
) -> Sequence[SelfTestView]:
    """What the last test of each bay found, by bay."""
    return await of.self_tests.latest(who, only_faulty=only_faulty)


@router.get("/duties", responses=problems(), openapi_extra=needs(Scope.MODEMS_READ))
async def list_duties(who: Who, of: Of) -> Sequence[DutyView]:
    """Regular duties: when each was done last, and whether it waits or is late."""
    return await of.self_tests.list_duties(who)
