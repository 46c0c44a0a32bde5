"""Violation cases: opened on audit entries, investigated, appealed, reviewed (SEC-13)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Self

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from api.auth import Who
from api.parameters import Body, needs
from api.problems import problems
from api.services import Of
from modemctl.service.principal import Scope
from modemctl.service.violations import Case, CaseState, CaseView, Quarter

router = APIRouter(prefix="/v1", tags=["cases"])

_READ = (Scope.CASES_READ, Scope.CASES_WRITE)
_Grade = Annotated[int, Field(ge=1, le=3, description="1 minor, 2 serious, 3 grave.")]
_Amount = Annotated[
    int | None, Field(ge=0, le=10**12, description="In fen; recorded, never collected.")
]


class EntryName(Body):
    """An entry of the audit log."""

    node: str = Field(min_length=1, max_length=64)
    seq: int = Field(ge=1, le=2**63 - 1)


class NewCase(Body):
    """A case to open; one of the entries names the person."""

    policy: str = Field(max_length=16, description="The rule, such as `SMS-06`.")
    person: str = Field(min_length=1, max_length=128, description="Account (id or name).")
    grade: _Grade
    summary: str = Field(min_length=1, max_length=2000)
    evidence: list[EntryName] = Field(min_length=1, max_length=50)
    amount_fen: _Amount = None


class Finding(Body):
    """What the investigation found."""

    is_violation: bool
    finding: str = Field(min_length=1, max_length=2000)
    grade: _Grade
    amount_fen: _Amount = None


class Appeal(Body):
    """Why the person does not agree."""

    text: str = Field(min_length=1, max_length=2000)


class Review(Body):
    """What became of the appeal."""

    is_upheld: bool
    text: str = Field(min_length=1, max_length=2000)


class CaseSummary(BaseModel):
    """A case's row."""

    case_id: str
    policy: str
    grade: int
    amount_fen: int | None
    state: CaseState
    person: str
    department: str | None
    summary: str
    opened_by: str
    opened_at: datetime
    investigate_by: datetime
    decided_by: str | None
    decided_at: datetime | None
    finding: str | None
    appeal_by: datetime | None
    appealed_at: datetime | None
    appeal: str | None
    review_by: datetime | None
    reviewed_by: str | None
    reviewed_at: datetime | None
    review: str | None

    @classmethod
    def row(cls, one: Case) -> CaseSummary:
        """As it is told."""
        return CaseSummary(
            case_id=one.case_id,
            policy=one.policy,
            grade=one.grade,
            amount_fen=one.amount_fen,
            state=one.state,
            person=one.person_name,
            department=one.department,
            summary=one.summary,
            opened_by=one.opened_name,
            opened_at=one.opened_at,
            investigate_by=one.investigate_by,
            decided_by=one.decided_name,
            decided_at=one.decided_at,
            finding=one.finding,
            appeal_by=one.appeal_by,
            appealed_at=one.appealed_at,
            appeal=one.appeal,
            review_by=one.review_by,
            reviewed_by=one.reviewed_name,
            reviewed_at=one.reviewed_at,
            review=one.review,
        )


class CaseDetail(CaseSummary):
    """A case with its evidence; `is_proved`: the entries stand in the log as they stood."""

    meaning: str
    due_at: datetime | None
    is_overdue: bool
    is_proved: bool
    evidence: list[EntryName]

    @classmethod
    def of(cls, view: CaseView) -> Self:
        """As it is told."""
        return cls(
            **CaseSummary.row(view.case).model_dump(),
            meaning=view.meaning,
            due_at=view.due_at,
            is_overdue=view.is_overdue,
            is_proved=view.is_proved,
            evidence=[EntryName(node=one.node_id, seq=one.seq) for one in view.evidence],
        )


class QuarterOfRule(BaseModel):
    """Cases of one rule and grade."""

    policy: str
    grade: int
    n: int
    n_by_state: Mapping[CaseState, int]
    amount_fen: int


class QuarterOfCases(BaseModel):
    """The cases that were opened in a quarter."""

    year: int
    quarter: int
    n: int
    n_late: int
    lines: list[QuarterOfRule]

    @classmethod
    def of(cls, found: Quarter) -> Self:
        """As it is told."""
        return cls(
            year=found.year,
            quarter=found.quarter,
            n=found.n,
            n_late=found.n_late,
            lines=[
                QuarterOfRule(
                    policy=one.policy,
                    grade=one.grade,
                    n=one.n,
                    n_by_state=one.n_by_state,
                    amount_fen=one.amount_fen,
                )
                for one in found.lines
            ],
        )


@router.post(
    "/cases",
    status_code=201,
    responses=problems(404),
    openapi_extra=needs(Scope.CASES_WRITE),
)
async def open_case(who: Who, of: Of, body: NewCase) -> CaseDetail:
    """Open a case on entries of the audit log; it is investigated within three working days."""
    view = await of.cases.open(
        who,
        policy=body.policy,
        person=body.person,
        grade=body.grade,
        summary=body.summary,
        evidence=[(one.node, one.seq) for one in body.evidence],
        amount_fen=body.amount_fen,
    )
    return CaseDetail.of(view)


@router.get("/cases", responses=problems(), openapi_extra=needs("any"))
async def list_cases(
    who: Who,
    of: Of,
    *,
    all_: Annotated[bool, Query(alias="all", description="Also those that are over.")] = False,
) -> Sequence[CaseSummary]:
    """Cases, newest first; without `cases:read` one's own alone."""
    return [CaseSummary.row(one) for one in await of.cases.list_cases(who, is_open=not all_)]


@router.get("/cases/quarters/{year}/{quarter}", responses=problems(), openapi_extra=needs(*_READ))
async def show_quarter(
    who: Who,
    of: Of,
    year: Annotated[int, Path(ge=2000, le=9998)],
    quarter: Annotated[int, Path(ge=1, le=4)],
) -> QuarterOfCases:
    """The cases that were opened in a quarter, by rule and grade."""
    return QuarterOfCases.of(await of.cases.quarter(who, year, quarter))


@router.get("/cases/{case_id}", responses=problems(404), openapi_extra=needs(*_READ, own=True))
async def show_case(who: Who, of: Of, case_id: str) -> CaseDetail:
    """A case with its evidence; the person sees his own."""
    return CaseDetail.of(await of.cases.show(who, case_id))


@router.post(
    "/cases/{case_id}/decide",
    responses=problems(404, 409),
    openapi_extra=needs(Scope.CASES_WRITE),
)
async def decide_case(who: Who, of: Of, case_id: str, body: Finding) -> CaseDetail:
    """End the investigation; not the person himself. He may appeal within two working days."""
    view = await of.cases.decide(
        who,
        case_id,
        is_violation=body.is_violation,
        finding=body.finding,
        grade=body.grade,
        amount_fen=body.amount_fen,
    )
    return CaseDetail.of(view)


@router.post(
    "/cases/{case_id}/appeal",
    responses=problems(404, 409),
    openapi_extra=needs(*_READ, own=True),
)
async def appeal_case(who: Who, of: Of, case_id: str, body: Appeal) -> CaseDetail:
    """The person himself appeals; it is reviewed within five working days."""
    return CaseDetail.of(await of.cases.appeal(who, case_id, body.text))


@router.post(
    "/cases/{case_id}/review",
    responses=problems(404, 409),
    openapi_extra=needs(Scope.CASES_WRITE),
)
async def review_case(who: Who, of: Of, case_id: str, body: Review) -> CaseDetail:
    """Somebody else than who decided reviews the appeal."""
    view = await of.cases.review(who, case_id, is_upheld=body.is_upheld, text=body.text)
    return CaseDetail.of(view)


@router.post(
    "/cases/{case_id}/close",
    responses=problems(404, 409),
    openapi_extra=needs(Scope.CASES_WRITE),
)
async def close_case(who: Who, of: Of, case_id: str) -> CaseDetail:
    """Close what was found, once the time to appeal is over."""
    return CaseDetail.of(await of.cases.close(who, case_id))
