"""The audit log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query

from api.auth import Who
from api.parameters import Cursor, Limit, needs
from api.problems import problems
from api.services import Of
from modemctl.service.audits import AuditRecord, ChainReport
from modemctl.service.pages import Page
from modemctl.service.principal import Scope

router = APIRouter(prefix="/v1", tags=["audit"])


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
