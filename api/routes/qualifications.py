"""Training, confidentiality agreement and drills (SEC-14)."""

from __future__ import annotations

from datetime import date

from fastapi import APIRouter
from pydantic import Field

from api.auth import Who
from api.parameters import Body, needs
from api.problems import problems
from api.services import Of
from modemctl.service.principal import Scope
from modemctl.service.qualifications import Qualification

router = APIRouter(prefix="/v1", tags=["accounts"])


class Training(Body):
    """What a person has learnt and signed: 8 hours and 80 points at least."""

    hours: int = Field(ge=0, le=10_000)
    score: int = Field(ge=0, le=100)
    trained_on: date
    agreement_on: date = Field(description="When the confidentiality agreement was signed.")
    reference: str = Field(max_length=200, description="The certificate or form.")


class Drill(Body):
    """How a drill ended."""

    is_passed: bool


@router.get(
    "/accounts/{account_id}/training",
    responses=problems(404),
    openapi_extra=needs(Scope.ACCOUNTS_READ, own=True),
)
async def get_training(who: Who, of: Of, account_id: str) -> Qualification:
    """What is on record of a person's training, agreement and drills."""
    return await of.qualifications.get(who, account_id)


@router.put(
    "/accounts/{account_id}/training",
    responses=problems(404, 409),
    openapi_extra=needs(Scope.ACCOUNTS_WRITE),
)
async def record_training(who: Who, of: Of, account_id: str, body: Training) -> Qualification:
    """Put a person's training on record; an account that waited for it becomes active."""
    return await of.qualifications.record(
        who,
        account_id,
        hours=body.hours,
        score=body.score,
        trained_on=body.trained_on,
        agreement_on=body.agreement_on,
        reference=body.reference,
    )


@router.post(
    "/accounts/{account_id}/drills",
    responses=problems(404, 409),
    openapi_extra=needs(Scope.ACCOUNTS_WRITE),
)
async def note_drill(who: Who, of: Of, account_id: str, body: Drill) -> Qualification:
    """Note a drill; the second that fails in a row freezes the account until the next training."""
    return await of.qualifications.drill(who, account_id, is_passed=body.is_passed)
