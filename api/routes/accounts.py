"""Accounts and their API keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from api.auth import Who
from api.parameters import Body, Cursor, Limit, Reason, needs
from api.problems import problems
from api.services import Of
from modemctl.service.accounts import Account, AccountKind, AccountState, ApiKey, IssuedKey
from modemctl.service.dual import DualView
from modemctl.service.pages import Page
from modemctl.service.principal import Scope

router = APIRouter(prefix="/v1", tags=["accounts"])


class Whoami(Body):
    """The account that asks, and what it may do."""

    account_id: str
    name: str
    department: str | None
    scopes: list[Scope]
    source: str


class NewAccount(Body):
    """An account to be made; `department` null sees all departments."""

    name: str = Field(description="1 to 64 letters from a to z, digits, dots, dashes, underscores.")
    kind: AccountKind
    department: str | None = None
    roles: list[str] = Field(max_length=20)


class AccountChange(Body):
    """What to change; what is left out stays."""

    department: str | None = None
    roles: list[str] | None = Field(default=None, max_length=20)


class KeyPlaces(Body):
    """Where a new key counts; without any on the Unix socket and the machine's loopback."""

    addresses: list[str] = Field(
        default_factory=list,
        max_length=32,
        description="Networks such as 10.1.2.0/24, single addresses, or `unix` for the socket.",
    )


class KeyLoss(Body):
    """What the department has certified of a loss; `stolen` raises an alarm."""

    certificate: str = Field(max_length=200, description="The department's certificate.")
    stolen: bool = False


@router.get("/whoami", responses=problems(), openapi_extra=needs("any"))
async def whoami(who: Who) -> Whoami:
    """Who asks, as the daemon sees it."""
    return Whoami(
        account_id=who.account_id,
        name=who.name,
        department=who.department,
        scopes=sorted(who.scopes),
        source=who.source,
    )


@router.get("/accounts", responses=problems(), openapi_extra=needs(Scope.ACCOUNTS_READ))
async def list_accounts(
    who: Who,
    of: Of,
    name: Annotated[str | None, Query(description="The account of this name.")] = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Page[Account]:
    """Accounts by name."""
    return await of.accounts.list(who, name=name, cursor=cursor, limit=limit)


@router.post(
    "/accounts",
    status_code=201,
    responses=problems(409),
    openapi_extra=needs(Scope.ACCOUNTS_WRITE),
)
async def create_account(who: Who, of: Of, body: NewAccount) -> Account:
    """Make an account that names one person or one machine."""
    return await of.accounts.create(
        who, name=body.name, kind=body.kind, department=body.department, roles=body.roles
    )


@router.get(
    "/accounts/{account_id}",
    responses=problems(404),
    openapi_extra=needs(Scope.ACCOUNTS_READ, own=True),
)
async def get_account(who: Who, of: Of, account_id: str) -> Account:
    """One account."""
    return await of.accounts.get(who, account_id)


@router.patch(
    "/accounts/{account_id}",
    responses=problems(404),
    openapi_extra=needs(Scope.ACCOUNTS_WRITE),
)
async def change_account(who: Who, of: Of, account_id: str, body: AccountChange) -> Account:
    """Give an account other roles or another department."""
    return await of.accounts.change(who, account_id, roles=body.roles, department=body.department)


@router.post(
    "/accounts/{account_id}/promote",
    status_code=201,
    responses=problems(404, 409),
    openapi_extra=needs(Scope.ACCOUNTS_WRITE),
)
async def promote_account(who: Who, of: Of, account_id: str, body: Reason) -> DualView:
    """Ask that a person becomes an administrator; another administrator confirms the request."""
    return await of.grants.promote(who, account_id, reason=body.reason)


@router.post(
    "/accounts/{account_id}/freeze",
    responses=problems(404, 409),
    openapi_extra=needs(Scope.ACCOUNTS_WRITE),
)
async def freeze_account(who: Who, of: Of, account_id: str, body: Reason) -> Account:
    """Let the account do nothing until it is reactivated."""
    return await of.accounts.set_state(who, account_id, AccountState.FROZEN, reason=body.reason)


@router.post(
    "/accounts/{account_id}/reactivate",
    status_code=201,
    responses=problems(404, 409),
    openapi_extra=needs(Scope.ACCOUNTS_WRITE),
)
async def reactivate_account(who: Who, of: Of, account_id: str, body: Reason) -> DualView:
    """Ask for the end of a freeze; another administrator confirms the request."""
    return await of.freezing.ask_account(who, account_id, reason=body.reason)


@router.post(
    "/accounts/{account_id}/revoke",
    responses=problems(404, 409),
    openapi_extra=needs(Scope.ACCOUNTS_WRITE),
)
async def revoke_account(who: Who, of: Of, account_id: str, body: Reason) -> Account:
    """End the account for ever."""
    return await of.accounts.set_state(who, account_id, AccountState.REVOKED, reason=body.reason)


@router.get(
    "/accounts/{account_id}/keys",
    tags=["keys"],
    responses=problems(404),
    openapi_extra=needs(Scope.ACCOUNTS_READ, own=True),
)
async def list_keys(who: Who, of: Of, account_id: str) -> Sequence[ApiKey]:
    """The account's API keys, without their secrets."""
    return await of.accounts.keys(who, account_id)


@router.post(
    "/accounts/{account_id}/keys",
    status_code=201,
    tags=["keys"],
    responses=problems(404, 409),
    openapi_extra=needs(Scope.ACCOUNTS_WRITE, own=True),
)
async def issue_key(who: Who, of: Of, account_id: str, body: KeyPlaces | None = None) -> IssuedKey:
    """A new API key; `token` is shown this once."""
    addresses = [] if body is None else body.addresses
    return await of.accounts.issue_key(who, account_id, addresses=addresses)


@router.post(
    "/accounts/{account_id}/keys/reissue",
    status_code=201,
    tags=["keys"],
    responses=problems(404, 409),
    openapi_extra=needs(Scope.ACCOUNTS_WRITE),
)
async def reissue_key(who: Who, of: Of, account_id: str, body: KeyLoss) -> IssuedKey:
    """End all keys of an account that lost them, and issue one; `token` is shown this once."""
    return await of.accounts.reissue(
        who, account_id, certificate=body.certificate, is_stolen=body.stolen
    )


@router.post(
    "/keys/{key_id}/unfreeze",
    status_code=201,
    tags=["keys"],
    responses=problems(404, 409),
    openapi_extra=needs(Scope.ACCOUNTS_WRITE),
)
async def unfreeze_key(who: Who, of: Of, key_id: str, body: Reason) -> DualView:
    """Ask that a key which lay idle counts again; another administrator confirms the request."""
    return await of.freezing.ask_key(who, key_id, reason=body.reason)


@router.post(
    "/keys/{key_id}/revoke",
    tags=["keys"],
    responses=problems(404),
    openapi_extra=needs(Scope.ACCOUNTS_WRITE, own=True),
)
async def revoke_key(who: Who, of: Of, key_id: str, body: Reason) -> ApiKey:
    """End an API key now; the reason `stolen` raises an alarm."""
    return await of.accounts.revoke_key(who, key_id, reason=body.reason)
