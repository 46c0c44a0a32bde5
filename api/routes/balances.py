"""Balances of cards (SIM-15)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query

from api.auth import Who
from api.parameters import Limit, needs
from api.problems import problems
from api.services import Of
from modemctl.service.balances import BalanceAsked, BalanceView
from modemctl.service.principal import Scope

router = APIRouter(prefix="/v1", tags=["sims"])


@router.get("/balances", responses=problems(), openapi_extra=needs(Scope.SIMS_READ))
async def list_balances(
    who: Who,
    of: Of,
    *,
    only_low: Annotated[bool, Query(description="Only cards with little or nothing left.")] = False,
) -> Sequence[BalanceView]:
    """The last attempt to read the balance of each card, by ICCID."""
    return await of.balances.latest(who, only_low=only_low)


@router.get("/sims/{iccid}/balances", responses=problems(404), openapi_extra=needs(Scope.SIMS_READ))
async def list_sim_balances(
    who: Who, of: Of, iccid: str, limit: Limit = 100
) -> Sequence[BalanceView]:
    """The last attempts to read a card's balance, newest first."""
    return await of.balances.of_card(who, iccid, limit=limit)


@router.post(
    "/sims/{iccid}/balances",
    responses=problems(404, 409),
    openapi_extra=needs(Scope.MODEMS_OPERATE),
)
async def ask_sim_balance(who: Who, of: Of, iccid: str) -> BalanceAsked:
    """Ask a card's carrier for its balance now; answers when it did, within 90 seconds."""
    return await of.balances.ask(who, iccid)
