"""Batches: submitted, checked by a second person, approved, sent, stopped."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.responses import StreamingResponse

from api.auth import Who
from api.batch_schemas import (
    BatchDetail,
    BatchReason,
    BatchSheet,
    BatchSummary,
    Confirmation,
    EmergencySummary,
    NewBatch,
    NewShortBatch,
    NewStanding,
    RemovedLine,
    SignedWord,
)
from api.parameters import Cursor, Limit, needs
from api.problems import problems
from api.services import Of
from api.streams import NDJSON, csv_file, ndjson
from api.texts import unfit_texts
from api.uploads import ENCODING, FORMAT, format_of_name, unless_gone
from modemctl.errors import InvalidRequest
from modemctl.lifecycle import BatchState
from modemctl.service.pages import Page
from modemctl.service.principal import Scope

router = APIRouter(prefix="/v1", tags=["batches"])

_CHUNK: Final = 64 * 1024
_MAX_REQUEST: Final = 256 * 1024


_UPLOAD: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["request", "list"],
                    "properties": {
                        "request": {
                            "type": "string",
                            "contentMediaType": "application/json",
                            "description": "A NewBatch.",
                        },
                        "list": {"type": "string", "format": "binary"},
                    },
                }
            }
        },
    }
}


# ---------------------------------------------------------------- submission


@router.post(
    "/batches",
    status_code=201,
    responses=problems(404, 409, 413),
    openapi_extra=needs(Scope.BATCHES_SUBMIT),
)
async def submit_batch(who: Who, of: Of, body: NewShortBatch) -> BatchDetail:
    """Submit a batch; repeated with the same content it gives the same batch again."""
    return BatchDetail.of(who, await of.batches.submit(who, body.request(), body.lines()))


@router.post(
    "/batches/upload",
    status_code=201,
    responses=problems(404, 409, 413),
    openapi_extra={**needs(Scope.BATCHES_SUBMIT), **_UPLOAD},
)
async def upload_batch(
    who: Who,
    of: Of,
    request: Request,
    *,
    form: FORMAT = None,
    encoding: ENCODING = None,
) -> BatchDetail:
    """Submit a batch whose list is a file of any size: multipart with `request` and `list`.

    The answer comes when the list is judged and stored; until then `GET` of the batch shows how far
    it is (`intake`). A client that goes away before takes it all back.
    """
    who.require(Scope.BATCHES_SUBMIT)  # before a large body is read
    async with request.form(max_files=1, max_fields=1, max_part_size=_MAX_REQUEST) as parts:
        upload = parts.get("list")
        if not isinstance(upload, UploadFile):
            raise InvalidRequest("must be a file", field="list", cure="send it as multipart")
        submission = of.batches.submit_list(
            who,
            _new_batch(parts).request(),
            _chunks(upload),
            form or format_of_name(upload.filename or ""),
            encoding=encoding,
        )
        view = await unless_gone(request, submission)
    return BatchDetail.of(who, view)


def _new_batch(parts: FormData) -> NewBatch:
    request = str(parts.get("request") or "")
    if faults := unfit_texts(request.encode(), "request"):
        raise RequestValidationError(faults)
    try:
        return NewBatch.model_validate_json(request)
    except ValidationError as error:
        raise RequestValidationError(
            [{**one, "loc": ("request", *one["loc"])} for one in error.errors()]
        ) from None


async def _chunks(upload: UploadFile) -> AsyncIterator[bytes]:
    while chunk := await upload.read(_CHUNK):
        yield chunk


@router.post(
    "/standing-approvals",
    status_code=201,
    responses=problems(404, 409),
    openapi_extra=needs(Scope.BATCHES_SUBMIT),
)
async def propose_standing_approval(who: Who, of: Of, body: NewStanding) -> BatchDetail:
    """Submit a standing approval under which self-tests send: its list is made from the register.

    It holds the numbers of the department's active cards, and goes the way of any batch.
    """
    return BatchDetail.of(who, await of.loops.propose(who, body.proposal()))


# ---------------------------------------------------------------- looking


@router.get("/batches", responses=problems(), openapi_extra=needs(Scope.BATCHES_READ))
async def list_batches(
    who: Who,
    of: Of,
    *,
    states: Annotated[
        list[BatchState] | None, Query(alias="state", description="May be repeated.")
    ] = None,
    category: Annotated[str | None, Query()] = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Page[BatchSummary]:
    """Batches, newest first."""
    page = await of.batches.list_batches(
        who, states=states, category=category, cursor=cursor, limit=limit
    )
    return Page(items=[BatchSummary.row(who, one) for one in page.items], next=page.next)


@router.get("/emergencies", responses=problems(), openapi_extra=needs(Scope.BATCHES_READ))
async def list_emergencies(who: Who, of: Of) -> Sequence[EmergencySummary]:
    """Batches that an emergency approver let go and whose chain still has to sign, newest first."""
    return [EmergencySummary.line(who, one) for one in await of.batches.emergencies(who)]


@router.get("/batches/{batch_id}", responses=problems(404), openapi_extra=needs(Scope.BATCHES_READ))
async def show_batch(who: Who, of: Of, batch_id: str) -> BatchDetail:
    """One batch: state, totals, chain, progress."""
    return BatchDetail.of(who, await of.batches.show(who, batch_id))


@router.get(
    "/batches/{batch_id}/removed",
    responses=problems(404),
    openapi_extra=needs(Scope.BATCHES_READ),
)
async def list_removed(
    who: Who, of: Of, batch_id: str, *, cursor: Cursor = None, limit: Limit = 1000
) -> Page[RemovedLine]:
    """Lines of the list that are not part of the batch, and why."""
    page = await of.batches.removed(who, batch_id, cursor=cursor, limit=limit)
    return Page(items=[RemovedLine.model_validate(one) for one in page.items], next=page.next)


@router.get(
    "/batches/{batch_id}/removed.csv",
    response_class=StreamingResponse,
    responses={200: {"description": "A line for each, UTF-8.", "content": {"text/csv": {}}},
               **problems(404)},
    openapi_extra=needs(Scope.BATCHES_READ),
)  # fmt: skip
async def download_removed(who: Who, of: Of, batch_id: str) -> StreamingResponse:
    """All lines of the list that are not part of the batch, and why, as a file."""
    await of.behaviour.exported(who)
    rows = _all_removed(who, of, batch_id)
    heading = ("line", "what stood there", "reason", "policy")
    return await csv_file(rows, heading=heading, name=f"removed-{batch_id[:36]}.csv")


async def _all_removed(who: Who, of: Of, batch_id: str) -> AsyncIterator[Sequence[str]]:
    cursor: str | None = None
    while True:
        page = await of.batches.removed(who, batch_id, cursor=cursor)
        for one in page.items:
            yield str(one.line_no), one.masked, one.reason, one.policy
        cursor = page.next
        if cursor is None:
            return


@router.get(
    "/batches/{batch_id}/results",
    response_class=StreamingResponse,
    responses={200: {"description": "A line of JSON a message.", "content": {NDJSON: {}}},
               **problems(404)},
    openapi_extra=needs(Scope.BATCHES_READ),
)  # fmt: skip
async def stream_results(who: Who, of: Of, batch_id: str) -> StreamingResponse:
    """Every message with its outcome, as NDJSON."""
    await of.behaviour.exported(who)
    return await ndjson(of.batches.results(who, batch_id))


@router.get(
    "/batches/{batch_id}/sheet",
    responses=problems(404, 409),
    openapi_extra=needs(Scope.BATCHES_READ),
)
async def show_sheet(who: Who, of: Of, batch_id: str) -> BatchSheet:
    """What the next approver sees and signs."""
    return BatchSheet.model_validate(await of.batches.sheet(who, batch_id))


# ---------------------------------------------------------------- persons


@router.post(
    "/batches/{batch_id}/confirm",
    responses=problems(404, 409),
    openapi_extra=needs(Scope.BATCHES_CONFIRM),
)
async def confirm_batch(who: Who, of: Of, batch_id: str, body: Confirmation) -> BatchDetail:
    """A second person has checked text and list (SEC-04)."""
    return BatchDetail.of(who, await of.batches.confirm(who, batch_id, bytes.fromhex(body.digest)))


@router.post(
    "/batches/{batch_id}/approve",
    responses=problems(404, 409),
    openapi_extra=needs(Scope.BATCHES_APPROVE),
)
async def approve_batch(who: Who, of: Of, batch_id: str, body: SignedWord) -> BatchDetail:
    """Bring an approver's signed word for the next step; a signed rejection ends the batch."""
    return BatchDetail.of(who, await of.batches.approve(who, batch_id, body.jws))


@router.post(
    "/batches/{batch_id}/reject",
    responses=problems(404, 409),
    openapi_extra=needs(Scope.BATCHES_CONFIRM, Scope.BATCHES_APPROVE),
)
async def reject_batch(who: Who, of: Of, batch_id: str, body: BatchReason) -> BatchDetail:
    """Refuse a batch that is not approved yet."""
    return BatchDetail.of(who, await of.batches.reject(who, batch_id, body.reason))


@router.post(
    "/batches/{batch_id}/withdraw",
    responses=problems(404, 409),
    openapi_extra=needs(Scope.BATCHES_SUBMIT),
)
async def withdraw_batch(who: Who, of: Of, batch_id: str, body: BatchReason) -> BatchDetail:
    """Take back a batch that does not run yet."""
    return BatchDetail.of(who, await of.batches.withdraw(who, batch_id, body.reason))


# ---------------------------------------------------------------- running


@router.post(
    "/batches/{batch_id}/start",
    responses=problems(404, 409),
    openapi_extra=needs(Scope.BATCHES_OPERATE),
)
async def start_batch(who: Who, of: Of, batch_id: str) -> BatchDetail:
    """The named operator starts an approved batch; it sends within its window."""
    return BatchDetail.of(who, await of.batches.start(who, batch_id))


@router.post(
    "/batches/{batch_id}/hold",
    responses=problems(404, 409),
    openapi_extra=needs(Scope.BATCHES_OPERATE),
)
async def hold_batch(who: Who, of: Of, batch_id: str, body: BatchReason) -> BatchDetail:
    """Stop for now: nothing of it begins later than a second after the answer."""
    return BatchDetail.of(who, await of.batches.hold(who, batch_id, body.reason))


@router.post(
    "/batches/{batch_id}/resume",
    responses=problems(404, 409),
    openapi_extra=needs(Scope.BATCHES_OPERATE),
)
async def resume_batch(who: Who, of: Of, batch_id: str) -> BatchDetail:
    """Let a held batch go on."""
    return BatchDetail.of(who, await of.batches.resume(who, batch_id))


@router.post(
    "/batches/{batch_id}/cancel",
    responses=problems(404, 409),
    openapi_extra=needs(Scope.BATCHES_OPERATE),
)
async def cancel_batch(who: Who, of: Of, batch_id: str, body: BatchReason) -> BatchDetail:
    """Stop an approved batch for good."""
    return BatchDetail.of(who, await of.batches.cancel(who, batch_id, body.reason))
