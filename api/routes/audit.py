"""The audit log."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query
from pydantic import Field
from starlette.responses import StreamingResponse

from api.auth import Who
from api.parameters import Body, Cursor, Limit, Moment, needs
from api.problems import problems
from api.services import Of
from api.streams import NDJSON
from modemctl.service.audit_samples import LEAST, AuditSample, SampleAsk
from modemctl.service.audits import AuditRecord, ChainReport, CheckProgress
from modemctl.service.pages import Page
from modemctl.service.principal import Scope

router = APIRouter(prefix="/v1", tags=["audit"])


class Sampling(Body):
    """Which entries a spot check looks at."""

    since: Moment | None = None
    until: Moment | None = None
    week: str | None = Field(
        default=None, max_length=10, description="A week that is over (2026-W47), in their place."
    )
    percent: int = Field(default=LEAST, description="Share of the entries, at least 30.")
    seed: str | None = Field(
        default=None,
        min_length=1,
        max_length=64,
        description="Of an earlier draw, which is repeated as it was; others are refused.",
    )


class Exporting(Body):
    """Which entries go into a file, and the request that two persons agreed on."""

    request_id: str = Field(max_length=36, description="Kind `export`, subject `audit`.")
    since: Moment | None = None
    until: Moment | None = None


@router.get("/audit", responses=problems(), openapi_extra=needs(Scope.AUDIT_READ))
async def list_audit(
    who: Who,
    of: Of,
    *,
    actor: Annotated[str | None, Query()] = None,
    action: Annotated[str | None, Query()] = None,
    subject: Annotated[str | None, Query()] = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Page[AuditRecord]:
    """Entries of this node's chain, newest first."""
    return await of.audits.list(
        who, actor=actor, action=action, subject=subject, cursor=cursor, limit=limit
    )


@router.post("/audit/verify", responses=problems(), openapi_extra=needs(Scope.AUDIT_READ))
async def verify_audit(who: Who, of: Of) -> Sequence[ChainReport]:
    """Check chain, signatures, noted head and segment journal; whole where `faults` is empty."""
    return await of.audits.verify(who)


@router.post(
    "/audit/verify/follow",
    response_class=StreamingResponse,
    responses={200: {"description": "A line of `progress` for each page; the last one has the"
                     " `reports`.", "content": {NDJSON: {}}},
               **problems()},
    openapi_extra=needs(Scope.AUDIT_READ),
)  # fmt: skip
async def follow_verification(who: Who, of: Of) -> StreamingResponse:
    """The same, told while it goes on: a large site takes minutes."""
    told = of.audits.follow(who)
    first = await anext(told)  # so that a refusal is one
    return StreamingResponse(_told(first, told), media_type=NDJSON)


async def _told(
    first: CheckProgress | Sequence[ChainReport],
    others: AsyncGenerator[CheckProgress | Sequence[ChainReport], None],
) -> AsyncIterator[bytes]:
    yield _line(first)
    async for one in others:
        yield _line(one)


def _line(told: CheckProgress | Sequence[ChainReport]) -> bytes:
    name = "progress" if isinstance(told, CheckProgress) else "reports"
    return msgspec.json.encode({name: told}) + b"\n"


@router.post("/audit/sample", responses=problems(), openapi_extra=needs(Scope.AUDIT_READ))
async def sample_audit(who: Who, of: Of, body: Sampling) -> AuditSample:
    """Entries drawn for a spot check by the chain itself; the same seed draws the same ones."""
    ask = SampleAsk(
        since=body.since, until=body.until, week=body.week, percent=body.percent, seed=body.seed
    )
    return await of.audit_samples.sample(who, ask)


@router.post(
    "/audit/export",
    response_class=StreamingResponse,
    responses={200: {"description": "The signed file (docs/audit.md).", "content": {NDJSON: {}}},
               **problems()},
    openapi_extra=needs(Scope.AUDIT_READ),
)  # fmt: skip
async def export_audit(who: Who, of: Of, body: Exporting) -> StreamingResponse:
    """A part of the chain as a signed file; two persons agree on each (SEC-09)."""
    lines = await of.audit_exports.export(
        who, since=body.since, until=body.until, request_id=body.request_id
    )
    headers = {"Content-Disposition": 'attachment; filename="audit.ndjson"'}
    return StreamingResponse(lines, media_type=NDJSON, headers=headers)
