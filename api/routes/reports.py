"""Reports: asked for, fetched, filed (SMS-05, SIM-11, SIM-15, SIM-16, SEC-05)."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Path, Query, Response
from pydantic import Field

from api.auth import Who
from api.parameters import Body, Cursor, Limit, needs
from api.problems import problems
from api.services import Of
from modemctl.service.pages import Page
from modemctl.service.papers import (
    Lang,
    PaperAsk,
    PaperFormat,
    PaperKind,
    PaperProof,
    PaperView,
)
from modemctl.service.principal import Scope
from modemctl.service.stocktakes import StockLine, Verdict

router = APIRouter(prefix="/v1", tags=["reports"])

ReportId = Annotated[str, Path(max_length=40)]


class ReportRequest(Body):
    """What is wanted."""

    kind: PaperKind
    subject: str | None = Field(
        default=None,
        max_length=64,
        description="A quarter (2026Q3), month (2026-11), week (2026-W47), year (2026) or batch's"
        " id, by kind.",
    )
    format: PaperFormat = PaperFormat.PDF
    lang: Lang = Lang.ZH
    unmasked: bool = Field(default=False, description="With personal data: needs `pii:read`.")


class Receipt(Body):
    """That it was handed in."""

    reference: str = Field(min_length=1, max_length=200, description="Where it is filed (卷号).")


class Digests(Body):
    """What a file says of itself."""

    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="Of the file's octets.")
    digest: str | None = Field(
        default=None, pattern="^[0-9a-f]{64}$", description="Of its content, taken anew."
    )


@router.post(
    "/reports", status_code=202, responses=problems(409), openapi_extra=needs(Scope.REPORTS_MAKE)
)
async def make_report(who: Who, of: Of, body: ReportRequest) -> PaperView:
    """Ask for a report; it is made behind the answer. Ask for it until `state` is `done`."""
    ask = PaperAsk(
        kind=body.kind,
        subject=body.subject,
        paper_format=body.format,
        lang=body.lang,
        is_unmasked=body.unmasked,
    )
    return await of.papers.make(who, ask)


@router.get("/reports", responses=problems(), openapi_extra=needs(Scope.REPORTS_MAKE))
async def list_reports(
    who: Who,
    of: Of,
    *,
    kind: Annotated[PaperKind | None, Query(description="Only these.")] = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Page[PaperView]:
    """Reports that were made, newest first."""
    return await of.papers.list_papers(who, kind=kind, cursor=cursor, limit=limit)


@router.get("/stocktake", responses=problems(), openapi_extra=needs(Scope.SIMS_READ))
async def take_stock(
    who: Who,
    of: Of,
    *,
    verdict: Annotated[Verdict | None, Query(description="Only cards that are so.")] = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Page[StockLine]:
    """The register against what the bank sees now (SIM-11); the signed one is a report."""
    return await of.papers.stock.take(who, verdict=verdict, cursor=cursor, limit=limit)


@router.post("/reports/verify", responses=problems(), openapi_extra=needs(Scope.REPORTS_MAKE))
async def verify_report(who: Who, of: Of, body: Digests) -> PaperProof:
    """Which report a file is, by its octets or its content; `report` null: none of ours."""
    return await of.papers.prove(who, sha256=body.sha256, digest=body.digest)


@router.get(
    "/reports/{report_id}", responses=problems(404), openapi_extra=needs(Scope.REPORTS_MAKE)
)
async def show_report(who: Who, of: Of, report_id: ReportId) -> PaperView:
    """One report, and how much of it is done."""
    return await of.papers.show(who, report_id)


@router.get(
    "/reports/{report_id}/file",
    response_class=Response,
    responses={200: {"description": "The file.", "content": {"application/octet-stream": {}}},
               **problems(404, 409)},
    openapi_extra=needs(Scope.REPORTS_MAKE),
)  # fmt: skip
async def fetch_report(who: Who, of: Of, report_id: ReportId) -> Response:
    """A report's file; who took it is on record."""
    file = await of.papers.file(who, report_id)
    headers = {
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(file.name)}",
        "Cache-Control": "no-store",
    }
    return Response(file.octets, media_type=file.media_type, headers=headers)


@router.post(
    "/reports/{report_id}/cancel",
    responses=problems(404, 409),
    openapi_extra=needs(Scope.REPORTS_MAKE),
)
async def cancel_report(who: Who, of: Of, report_id: ReportId) -> PaperView:
    """Stop making a report."""
    return await of.papers.cancel(who, report_id)


@router.post(
    "/reports/{report_id}/receipt",
    responses=problems(404, 409),
    openapi_extra=needs(Scope.REPORTS_MAKE),
)
async def receive_report(who: Who, of: Of, report_id: ReportId, body: Receipt) -> PaperView:
    """Note that a report was handed in and filed (SMS-05), or acknowledge an audit's (SEC-05)."""
    return await of.papers.acknowledge(who, report_id, body.reference)
