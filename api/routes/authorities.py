"""Approvers' public keys and authorisations."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Self

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field, model_validator

from api.auth import Who
from api.parameters import Body, Cursor, Limit, Moment, Reason, RowId, needs
from api.problems import problems
from api.services import Of
from modemctl.errors import InvalidRequest
from modemctl.service.authorities import Authorisation, RegisteredKey, RevokeReason
from modemctl.service.authority_fields import jwk_to_octets
from modemctl.service.dual import DualView
from modemctl.service.pages import Page
from modemctl.service.principal import Scope

router = APIRouter(prefix="/v1", tags=["authorities"])


class NewApproverKey(Body):
    """A person's Ed25519 public key, as a JWK or raw. It counts from now and for a year."""

    jwk: dict[str, str] | None = Field(default=None, description="RFC 8037, without `d`.")
    public_key: str | None = Field(default=None, description="32 octets in base64url.")
    valid_from: Moment | None = None
    valid_until: Moment | None = None

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if (self.jwk is None) == (self.public_key is None):
            raise ValueError("give either jwk or public_key")
        return self

    def octets(self) -> bytes:
        """The key's 32 octets, or whatever stands in their place.

        Raises:
            InvalidRequest: not base64url, or not a public Ed25519 JWK.
        """
        if self.jwk is not None:
            return jwk_to_octets(self.jwk)
        text = self.public_key or ""
        try:
            padded = text + "=" * (-len(text) % 4)
            return base64.b64decode(padded, altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise InvalidRequest("must be base64url", field="public_key") from None


class ApproverKey(BaseModel):
    """A registered public key; `kid` is its RFC 7638 thumbprint."""

    kid: str
    account_id: str
    public_key: str = Field(description="32 octets in base64url.")
    valid_from: datetime
    valid_until: datetime
    revoked_at: datetime | None
    revoke_reason: str | None

    @classmethod
    def of(cls, key: RegisteredKey) -> ApproverKey:
        """The key as the API shows it."""
        octets = base64.urlsafe_b64encode(key.public_key).decode().rstrip("=")
        return cls(
            kid=key.kid,
            account_id=key.account_id,
            public_key=octets,
            valid_from=key.valid_from,
            valid_until=key.valid_until,
            revoked_at=key.revoked_at,
            revoke_reason=key.revoke_reason,
        )


class KeyEnd(Body):
    """Why an approver's key ends; `compromised` raises an alarm."""

    reason: RevokeReason


class NewAuthorisation(Body):
    """Lets an account act as `kind` for a department (`*`: all) from now or `valid_from` on."""

    account_id: str
    kind: str = Field(description="A step of a chain such as `general_manager`.")
    department: str
    valid_from: Moment | None = None
    valid_until: Moment
    reference: str = Field(max_length=200, description="The signed form.")


@router.get(
    "/accounts/{account_id}/approver-keys",
    responses=problems(404),
    openapi_extra=needs(Scope.ACCOUNTS_READ, own=True),
)
async def list_approver_keys(who: Who, of: Of, account_id: str) -> Sequence[ApproverKey]:
    """The account's public keys, also ended ones."""
    return [ApproverKey.of(key) for key in await of.authorities.keys(who, account_id)]


@router.post(
    "/accounts/{account_id}/approver-keys",
    status_code=201,
    responses=problems(404, 409),
    openapi_extra=needs(Scope.ACCOUNTS_WRITE),
)
async def register_approver_key(
    who: Who, of: Of, account_id: str, body: NewApproverKey
) -> DualView:
    """Ask that a person signs with this public key; another administrator confirms the request."""
    return await of.grants.register_key(
        who,
        account_id,
        public_key=body.octets(),
        valid_from=body.valid_from,
        valid_until=body.valid_until,
    )


@router.post(
    "/approver-keys/{kid}/revoke",
    responses=problems(404),
    openapi_extra=needs(Scope.ACCOUNTS_WRITE, own=True),
)
async def revoke_approver_key(who: Who, of: Of, kid: str, body: KeyEnd) -> ApproverKey:
    """End a public key now; batches that rest on it stop within a second."""
    return ApproverKey.of(await of.authorities.revoke_key(who, kid, reason=body.reason))


@router.get(
    "/authorisations",
    responses=problems(),
    openapi_extra=needs(Scope.ACCOUNTS_READ, own=True),
)
async def list_authorisations(
    who: Who,
    of: Of,
    *,
    account_id: Annotated[str | None, Query()] = None,
    kind: Annotated[str | None, Query()] = None,
    department: Annotated[str | None, Query()] = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Page[Authorisation]:
    """Authorisations, also ended ones."""
    return await of.authorities.list(
        who, account_id=account_id, kind=kind, department=department, cursor=cursor, limit=limit
    )


@router.post(
    "/authorisations",
    status_code=201,
    responses=problems(404, 409),
    openapi_extra=needs(Scope.ACCOUNTS_WRITE),
)
async def authorise(who: Who, of: Of, body: NewAuthorisation) -> DualView:
    """Ask that an account may take a step of a chain; another administrator confirms it."""
    return await of.grants.authorise(
        who,
        account_id=body.account_id,
        kind=body.kind,
        department=body.department,
        valid_from=body.valid_from,
        valid_until=body.valid_until,
        reference=body.reference,
    )


@router.post(
    "/authorisations/{authorisation_id}/withdraw",
    responses=problems(404),
    openapi_extra=needs(Scope.ACCOUNTS_WRITE),
)
async def withdraw_authorisation(
    who: Who, of: Of, authorisation_id: RowId, body: Reason
) -> Authorisation:
    """End an authorisation now."""
    return await of.authorities.withdraw(who, authorisation_id, reason=body.reason)
