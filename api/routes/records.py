"""What keeps records and what takes them away: holds, purges, erasures (SEC-12, SEC-08)."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter, Response
from pydantic import Field

from api.auth import Who
from api.parameters import Body, Moment, needs
from api.problems import problems
from api.services import Of
from modemctl.service.erasures import ErasureView
from modemctl.service.holds import HoldView
from modemctl.service.identities import IdentityKind
from modemctl.service.packages import PackageView
from modemctl.service.principal import Scope
from modemctl.service.purges import PurgePreview, PurgeView

router = APIRouter(prefix="/v1", tags=["records"])


class NewHold(Body):
    """What is to be kept: exactly one of card, number, batch, period; and why."""

    iccid: str | None = Field(default=None, max_length=22)
    number: str | None = Field(default=None, max_length=40)
    batch_id: str | None = Field(default=None, max_length=36)
    since: Moment | None = Field(default=None, description="With `until`: a period.")
    until: Moment | None = None
    reason: str = Field(min_length=1, max_length=500)


class Lift(Body):
    """Why it ends, and the permit of a second person (kind `hold_lift`, subject its id)."""

    reason: str = Field(min_length=1, max_length=500)
    request_id: str | None = Field(default=None, max_length=80)


class Witnessed(Body):
    """The permit of a second person (kind `purge`, subject `due`)."""

    request_id: str | None = Field(default=None, max_length=80)


class Person(Body):
    """Whose data it is about: a phone number, or with `identity_kind` that of a document."""

    number: str = Field(max_length=64, repr=False)
    identity_kind: IdentityKind | None = None


class Erasure(Person):
    """Why, and the permit of a second person (kind `erasure`, subject as the preview gives it)."""

    reason: str = Field(min_length=1, max_length=500)
    request_id: str | None = Field(default=None, max_length=80)


_READ = needs(Scope.AUDIT_READ, Scope.RECORDS_WRITE)
_WRITE = needs(Scope.RECORDS_WRITE)


@router.get("/holds", responses=problems(), openapi_extra=_READ)
async def list_holds(who: Who, of: Of) -> Sequence[HoldView]:
    """The latest 500 legal holds, newest first, lifted ones too."""
    return await of.holds.list_holds(who)


@router.post("/holds", status_code=201, responses=problems(404), openapi_extra=_WRITE)
async def set_hold(who: Who, of: Of, body: NewHold) -> HoldView:
    """Keep rows from purge and erasure, from now on."""
    return await of.holds.set_hold(
        who,
        reason=body.reason,
        iccid=body.iccid,
        number=body.number,
        batch_id=body.batch_id,
        since=body.since,
        until=body.until,
    )


@router.post("/holds/{hold_id}/lift", responses=problems(404, 409), openapi_extra=_WRITE)
async def lift_hold(who: Who, of: Of, hold_id: str, body: Lift) -> HoldView:
    """End a hold; two persons decide that."""
    return await of.holds.lift(who, hold_id, reason=body.reason, request_id=body.request_id)


@router.get("/purge", responses=problems(), openapi_extra=_READ)
async def preview_purge(who: Who, of: Of) -> PurgePreview:
    """What has been kept long enough, and what legal holds keep of it."""
    return await of.purges.preview(who)


@router.get("/purge/runs", responses=problems(), openapi_extra=_READ)
async def list_purges(who: Who, of: Of) -> Sequence[PurgeView]:
    """The latest 100 purges, newest first, with how far they are."""
    return await of.purges.list_purges(who)


@router.post("/purge/runs", status_code=202, responses=problems(409), openapi_extra=_WRITE)
async def start_purge(who: Who, of: Of, body: Witnessed) -> PurgeView:
    """Purge what is due, by hand and with a witness; it goes on in small steps."""
    return await of.purges.start(who, request_id=body.request_id)


@router.post("/erasures/preview", responses=problems(), openapi_extra=_WRITE)
async def preview_erasure(who: Who, of: Of, body: Person) -> ErasureView:
    """What is stored of a number, and what forbids to erase it."""
    return await of.erasures.preview(who, body.number, kind=body.identity_kind)


@router.post("/erasures", responses=problems(409), openapi_extra=_WRITE)
async def erase_person(who: Who, of: Of, body: Erasure) -> ErasureView:
    """Take a number and what was written to it out of every row; its keyed hash stays."""
    return await of.erasures.erase(
        who,
        body.number,
        kind=body.identity_kind,
        reason=body.reason,
        request_id=body.request_id,
    )


class About(Body):
    """What an evidence package is about: exactly one of card, number, batch, period."""

    iccid: str | None = Field(default=None, max_length=22)
    number: str | None = Field(default=None, max_length=40)
    batch_id: str | None = Field(default=None, max_length=36)
    since: Moment | None = Field(default=None, description="With `until`: a period.")
    until: Moment | None = None


class Package(About):
    """The passphrase that encrypts it, and the permit of a second person."""

    passphrase: str = Field(min_length=12, max_length=200)
    request_id: str | None = Field(default=None, max_length=80)


@router.post(
    "/evidence-packages/preview",
    responses=problems(404),
    openapi_extra=needs(Scope.AUDIT_READ),
)
async def preview_package(who: Who, of: Of, body: About) -> PackageView:
    """How much an evidence package would hold, and the subject that two persons name."""
    return await of.packages.preview(
        who,
        iccid=body.iccid,
        number=body.number,
        batch_id=body.batch_id,
        since=body.since,
        until=body.until,
    )


@router.post("/evidence-packages", responses=problems(404), openapi_extra=needs(Scope.AUDIT_READ))
async def make_package(who: Who, of: Of, body: Package, response: Response) -> PackageView:
    """All that is stored of it, signed and encrypted; kind `evidence_package`."""
    response.headers["Cache-Control"] = "no-store"
    return await of.packages.make(
        who,
        passphrase=body.passphrase,
        request_id=body.request_id,
        iccid=body.iccid,
        number=body.number,
        batch_id=body.batch_id,
        since=body.since,
        until=body.until,
    )
