"""Exports: encrypted, on a ledger that is re-checked (SEC-09)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import Field

from api.auth import Who
from api.parameters import Body, Cursor, Limit, needs
from api.problems import problems
from api.services import Of
from modemctl.service.exports import ExportAsk, ExportContent, ExportMade, ExportView
from modemctl.service.pages import Page
from modemctl.service.papers import Lang
from modemctl.service.principal import Scope

router = APIRouter(prefix="/v1", tags=["reports"])


class ExportRequest(Body):
    """What is wanted, for whom and why."""

    content: ExportContent
    columns: list[str] = Field(
        min_length=1, max_length=20, description="Only those that are needed."
    )
    recipient: str = Field(min_length=1, max_length=200, description="Who gets it.")
    purpose: str = Field(min_length=1, max_length=200, description="What for.")
    batch_id: str | None = Field(default=None, max_length=64, description="For `results`.")
    lang: Lang = Lang.ZH
    unmasked: bool = Field(default=False, description="With personal data: needs `pii:read`.")
    request_id: str | None = Field(
        default=None,
        max_length=64,
        description="Where it is bulk: the confirmed request of kind `export`.",
    )


class Review(Body):
    """That somebody looked at it again."""

    note: str = Field(min_length=1, max_length=200, description="What became of it.")
    days: int | None = Field(default=None, ge=1, le=3_650, description="Until the next look.")


@router.post(
    "/exports",
    status_code=202,
    responses=problems(404, 409),
    openapi_extra=needs(Scope.EXPORTS_MAKE),
)
async def make_export(who: Who, of: Of, body: ExportRequest) -> ExportMade:
    """Ask for an export: a workbook that opens with `passphrase`, which is told this once.

    It is made behind the answer; fetch it as report `report_id`. Send the passphrase another way.
    """
    ask = ExportAsk(
        content=body.content,
        columns=tuple(body.columns),
        recipient=body.recipient,
        purpose=body.purpose,
        batch_id=body.batch_id,
        lang=body.lang,
        is_unmasked=body.unmasked,
        request_id=body.request_id,
    )
    who.require(Scope.EXPORTS_MAKE)
    await of.behaviour.exported(who)
    return await of.exports.make(who, ask)


@router.get(
    "/exports",
    responses=problems(),
    openapi_extra=needs(Scope.EXPORTS_MAKE, Scope.AUDIT_READ),
)
async def list_exports(
    who: Who, of: Of, *, cursor: Cursor = None, limit: Limit = 100
) -> Page[ExportView]:
    """The ledger, newest first: one's own exports, for an auditor all."""
    return await of.exports.ledger(who, cursor=cursor, limit=limit)


@router.post(
    "/exports/{export_id}/review", responses=problems(404), openapi_extra=needs(Scope.AUDIT_READ)
)
async def review_export(
    who: Who, of: Of, export_id: Annotated[str, Path(max_length=40)], body: Review
) -> ExportView:
    """Note that an export was looked at again, by somebody who did not make it."""
    return await of.exports.review(who, export_id, note=body.note, days=body.days)
