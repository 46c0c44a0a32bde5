"""The keys of the vault: which there are, and their rotation (SEC-03)."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import Field

from api.auth import Who
from api.parameters import Body, needs
from api.problems import problems
from api.services import Of
from modemctl.service.keyring import KeyringView
from modemctl.service.principal import Scope

router = APIRouter(prefix="/v1", tags=["vault"])


class Rotation(Body):
    """The permit of a second person (kind `key_rotation`, subject `data` or `master`)."""

    request_id: str | None = Field(default=None, max_length=80)


@router.get(
    "/vault", responses=problems(), openapi_extra=needs(Scope.AUDIT_READ, Scope.ACCOUNTS_WRITE)
)
async def show_vault(who: Who, of: Of) -> KeyringView:
    """Generations of the data key, and how far a rotation is."""
    return await of.keyring.show(who)


@router.post(
    "/vault/rotate",
    status_code=202,
    responses=problems(409),
    openapi_extra=needs(Scope.ACCOUNTS_WRITE),
)
async def rotate_data_key(who: Who, of: Of, body: Rotation) -> KeyringView:
    """Encrypt with a new data key from now on, and all that stands bit by bit."""
    return await of.keyring.rotate(who, request_id=body.request_id)


@router.post("/vault/master", responses=problems(409), openapi_extra=needs(Scope.ACCOUNTS_WRITE))
async def change_master_key(who: Who, of: Of, body: Rotation) -> KeyringView:
    """Let the master key of the file `….new` open the database, beside the one in use."""
    return await of.keyring.change_master(who, request_id=body.request_id)
