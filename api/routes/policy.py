"""The policy section of the settings (SEC-04)."""

from __future__ import annotations

from fastapi import APIRouter

from api.auth import Who
from api.parameters import needs
from api.problems import problems
from api.services import Of
from modemctl.service.policies import PolicyView
from modemctl.service.principal import Scope

router = APIRouter(prefix="/v1", tags=["policy"])


@router.get("/policy", responses=problems(), openapi_extra=needs(Scope.REQUESTS_USE))
async def show_policy(who: Who, of: Of) -> PolicyView:
    """The settings that are policy, those that two persons confirmed, and what differs."""
    return await of.policies.show(who)
