"""Backups: make one, see them, copy to a medium, record a restore test (SEC-07)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import Field

from api.auth import Who
from api.parameters import Body, needs
from api.problems import problems
from api.services import Of
from modemctl.service.backups import BackupView
from modemctl.service.principal import Scope

router = APIRouter(prefix="/v1", tags=["backups"])


class CopyOf(Body):
    """Which medium of the allow-list, and who keeps it."""

    medium: str = Field(min_length=1, max_length=64, description="A label of `backup.media`.")
    keeper: str = Field(min_length=1, max_length=128, description="Name of a person's account.")


class TestOf(Body):
    """That a backup was restored."""

    receipt: str = Field(
        min_length=1, max_length=200, description="What `modemctl restore --verify` printed."
    )


@router.post(
    "/backups",
    status_code=202,
    responses=problems(409),
    openapi_extra=needs(Scope.BACKUPS_KEEP),
)
async def make_backup(who: Who, of: Of) -> BackupView:
    """Make a backup now; it is made behind the answer: look at its state."""
    return await of.backups.ask(who)


@router.get(
    "/backups", responses=problems(), openapi_extra=needs(Scope.BACKUPS_KEEP, Scope.AUDIT_READ)
)
async def list_backups(
    who: Who,
    of: Of,
    *,
    limit: Annotated[int, Query(ge=1, le=1_000, description="How many.")] = 100,
) -> Sequence[BackupView]:
    """Backups, newest first, with their copies and restore tests."""
    return await of.backups.list(who, limit=limit)


@router.get(
    "/backups/{backup_id}",
    responses=problems(404),
    openapi_extra=needs(Scope.BACKUPS_KEEP, Scope.AUDIT_READ),
)
async def show_backup(
    who: Who, of: Of, backup_id: Annotated[str, Path(max_length=40)]
) -> BackupView:
    """One backup."""
    return await of.backups.show(who, backup_id)


@router.post(
    "/backup-copies",
    responses=problems(409),
    openapi_extra=needs(Scope.BACKUPS_KEEP),
)
async def copy_backup(who: Who, of: Of, body: CopyOf) -> BackupView:
    """Copy the newest backup to a medium, and note who keeps it; answers when it is copied."""
    return await of.backups.copy(who, medium=body.medium, keeper=body.keeper)


@router.post(
    "/restore-tests",
    responses=problems(404, 409),
    openapi_extra=needs(Scope.BACKUPS_KEEP),
)
async def record_restore_test(who: Who, of: Of, body: TestOf) -> BackupView:
    """Record that a backup was restored into a scratch database and verified."""
    return await of.backups.note_test(who, body.receipt)
