"""Messages that came in."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from api.auth import Who
from api.parameters import Cursor, Limit, Moment, RowId, needs
from api.problems import problems
from api.services import Of
from modemctl.service.inbox import InboxKind, InboxView
from modemctl.service.pages import Page
from modemctl.service.principal import Scope

router = APIRouter(prefix="/v1", tags=["inbox"])


@router.get("/inbox", responses=problems(), openapi_extra=needs(Scope.INBOX_READ))
async def list_inbox(
    who: Who,
    of: Of,
    *,
    department: Annotated[str | None, Query()] = None,
    iccid: Annotated[str | None, Query()] = None,
    number: Annotated[str | None, Query(max_length=40, description="The sender's.")] = None,
    kind: Annotated[InboxKind | None, Query()] = None,
    since: Annotated[Moment | None, Query()] = None,
    with_parts: Annotated[bool, Query(description="Also segments of whole texts.")] = False,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Page[InboxView]:
    """Messages, newest first; sender masked and text null without `pii:read`."""
    return await of.inbox.list_messages(
        who,
        department=department,
        iccid=iccid,
        number=number,
        kind=kind,
        since=since,
        with_parts=with_parts,
        cursor=cursor,
        limit=limit,
    )


@router.get("/inbox/{inbox_id}", responses=problems(404), openapi_extra=needs(Scope.INBOX_READ))
async def show_inbox(who: Who, of: Of, inbox_id: RowId) -> InboxView:
    """One message."""
    return await of.inbox.show(who, inbox_id)
