"""Batches: submitted, checked by a second person, approved, sent, stopped."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Self

from fastapi import APIRouter, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.responses import StreamingResponse

from api.auth import Who
from api.parameters import Body, Cursor, Limit, needs
from api.problems import problems
from api.services import Of
from api.streams import NDJSON, csv_file, ndjson
from api.uploads import ENCODING, FORMAT, format_of_name, unless_gone
from modemctl.errors import InvalidRequest
from modemctl.lifecycle import BatchState, SegmentState
from modemctl.service.batch_views import may_read_text
from modemctl.service.batches import Batch, BatchRequest, BatchView, Recipient
from modemctl.service.pages import Page
from modemctl.service.principal import Principal, Scope

router = APIRouter(prefix="/v1", tags=["batches"])

_CHUNK: Final = 64 * 1024
_MAX_REQUEST: Final = 256 * 1024


class NewBatch(Body):
    """The form of a bulk send (短信群发申请表)."""

    batch_id: str = Field(description="A UUID in lower case, made by the client; never reused.")
    category: str = Field(description="`notice`, `promotion`, `other`, or a configured one.")
    text: str = Field(description="The text; `{name}` stands for a variable of the line.")
    department: str
    drafter: str = Field(description="Account (id or name) that drafted text and range (SMS-11).")
    operator: str = Field(description="Account (id or name) that starts it (SMS-06).")
    party: str | None = Field(default=None, description="For whom; null: ourselves (SMS-09).")
    not_before: AwareDatetime | None = Field(default=None, description="Null: now.")
    not_after: AwareDatetime | None = Field(default=None, description="Null: as configured.")
    card_group: str | None = None
    starts_itself: bool = Field(default=False, description="Start at the window when approved.")
    is_strict: bool = Field(default=False, description="One bad line refuses the whole list.")
    emergency: str | None = Field(
        default=None,
        max_length=500,
        description="Why an emergency approver may let it go before its chain has signed.",
    )

    def request(self) -> BatchRequest:
        """The request without its list."""
        return BatchRequest(**self.model_dump(include=set(NewBatch.model_fields)))


class ListLine(Body):
    """One recipient."""

    to: str = Field(max_length=128)
    variables: dict[str, str] = Field(default_factory=dict, max_length=50)


class NewShortBatch(NewBatch):
    """A batch with its list in the same JSON body (up to `api.max_json_bytes`)."""

    recipients: list[ListLine | str] = Field(min_length=1)

    def lines(self) -> list[Recipient]:
        """The list, numbered from 1."""
        return [
            Recipient(line_no=line_no, to=one, variables={})
            if isinstance(one, str)
            else Recipient(line_no=line_no, to=one.to, variables=one.variables)
            for line_no, one in enumerate(self.recipients, 1)
        ]


class _Shown(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class BatchSummary(_Shown):
    """A batch's row."""

    batch_id: str
    category: str
    state: BatchState
    reason: str
    department: str
    party: str
    drafter: str
    operator: str
    submitter: str
    text: str | None = Field(
        validation_alias="template",
        description="Null without `pii:read`, but for drafter and submitter.",
    )
    card_group: str | None
    starts_itself: bool
    not_before: datetime
    not_after: datetime
    n_messages: int
    n_removed: int
    n_segments: int
    created_at: datetime
    state_at: datetime

    @classmethod
    def row(cls, who: Principal, batch: Batch) -> BatchSummary:
        """The row as this account may see it."""
        row = BatchSummary.model_validate(batch)
        return row if may_read_text(who, batch) else row.model_copy(update={"text": None})


class BatchEstimate(_Shown):
    """What the batch comes to, as reckoned when its list was complete; it is signed, too.

    `cost` is decimal text, at most so much; `finish` null: not within its window; `limits` are the
    settings that make it wait.
    """

    n_cards: int
    cost: str
    currency: str
    finish: datetime | None
    limits: tuple[str, ...]


class BatchTotals(_Shown):
    """What approvers sign beside text and list; `forcing` are the characters that force UCS-2."""

    n_messages: int
    n_segments: int
    n_removed: int
    removed_by: Mapping[str, int]
    forcing: tuple[str, ...]
    estimate: BatchEstimate | None = Field(description="Null of batches of earlier versions.")


class BatchStep(_Shown):
    """One step of the chain; `approver` is null while it is missing."""

    step: int
    name: str
    approver: str | None
    received_at: datetime | None


class BatchIntake(_Shown):
    """How far a list that comes in just now has come; `share` is 0 … 1."""

    n_lines: int
    share: float


class BatchDetail(BatchSummary):
    """A batch with its chain and progress; `fault`: why its evidence cannot be trusted."""

    digest: str | None
    totals: BatchTotals | None
    confirmed_by: tuple[str, ...]
    steps: tuple[BatchStep, ...]
    progress: Mapping[SegmentState, int]
    finish_estimate: datetime | None
    intake: BatchIntake | None = Field(description="While its list comes in (`draft`), else null.")
    fault: str | None
    emergency: str | None = Field(description="Why its chain may sign afterwards; else null.")
    names: Mapping[str, str] = Field(description="Account → name, of all that stand above.")

    @classmethod
    def of(cls, who: Principal, view: BatchView) -> Self:
        """The view as the API shows it to this account."""
        row = BatchSummary.row(who, view.batch)
        more = {
            name: getattr(view, name)
            for name in cls.model_fields.keys() - BatchSummary.model_fields.keys()
        }
        return cls.model_validate({**row.model_dump(), "template": row.text, **more})


class BatchSigner(_Shown):
    """Somebody who may sign the step now; `kids` are the keys that would count."""

    account_id: str
    name: str
    kids: tuple[str, ...]


class BatchSheet(_Shown):
    """What the next approver sees and signs: a JWS over `payload` with the nulls filled in."""

    digest: str
    header: str | None = Field(description="Holds the text: null as that is.")
    totals: BatchTotals
    examples: tuple[tuple[str, str], ...]
    step: int | None
    step_name: str | None
    signers: tuple[BatchSigner, ...]
    names: Mapping[str, str] = Field(description="Account → name, of those in the header.")
    payload: Mapping[str, str | int | None]


class RemovedLine(_Shown):
    """A line of the list that is not part of the batch; `masked` shows what stood there."""

    line_no: int
    masked: str
    reason: str
    policy: str | None


class Confirmation(Body):
    """What the second person has checked."""

    digest: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] = Field(
        description="The batch's digest, hexadecimal."
    )


class SignedWord(Body):
    """An approver's JWS (compact, `Ed25519` or `EdDSA`)."""

    jws: str = Field(max_length=8_192)


class BatchReason(Body):
    """Why; goes to the audit log."""

    reason: str = Field(min_length=1, max_length=500)


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
    try:
        return NewBatch.model_validate_json(str(parts.get("request") or ""))
    except ValidationError as error:
        raise RequestValidationError(
            [{**one, "loc": ("request", *one["loc"])} for one in error.errors()]
        ) from None


async def _chunks(upload: UploadFile) -> AsyncIterator[bytes]:
    while chunk := await upload.read(_CHUNK):
        yield chunk


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
async def list_emergencies(who: Who, of: Of) -> Sequence[BatchSummary]:
    """Batches that an emergency approver let go and whose chain still has to sign, newest first."""
    return [BatchSummary.row(who, one) for one in await of.batches.emergencies(who)]


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
