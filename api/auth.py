"""Who asks: an API key, or the user at the other end of the Unix socket."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.parameters import require_known
from api.services import services_of
from api.texts import require_fit
from modemctl.errors import NotAuthenticated
from modemctl.service.principal import Principal

__all__ = ["PEER_UID", "Who", "authenticate", "authenticate_header", "source_of"]

PEER_UID: Final = "peer_uid"
"""Key of the ASGI state under which the server notes the user id of a Unix peer."""

_BEARER: Final = HTTPBearer(
    bearerFormat="mk_<key id>_<secret>",
    description="An API key. Over the Unix socket the peer's user id may stand for an account.",
    auto_error=False,
)


def source_of(request: Request) -> str:
    """Where a request comes from, for the audit log."""
    uid = peer_uid(request)
    if uid is not None:
        return f"unix:uid={uid}"
    return f"tcp:{request.client.host}" if request.client else "tcp:unknown"


def peer_uid(request: Request) -> int | None:
    """The user id at the other end, where the kernel told it (Unix socket only)."""
    uid = request.scope.get("state", {}).get(PEER_UID)
    return uid if isinstance(uid, int) else None


async def authenticate(
    request: Request,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)],
) -> Principal:
    """The account that asks; `bearer` puts the scheme into the documentation.

    Raises:
        NotAuthenticated: nobody known.
        InvalidRequest: a parameter that the route does not know.
        RequestValidationError: a text that could not be kept.
        StoreError: the database cannot be read now.
    """
    del bearer
    who = await authenticate_header(request)
    require_known(request)
    await require_fit(request)
    return who


async def authenticate_header(request: Request) -> Principal:
    """The account that asks, by the request's header or its peer.

    Raises:
        NotAuthenticated: nobody known.
        StoreError: the database cannot be read now.
    """
    gate = services_of(request).gate
    header = request.headers.get("authorization")
    uid = peer_uid(request)
    if header is not None:
        word, _, token = header.partition(" ")
        if word.lower() != "bearer":
            raise NotAuthenticated(
                "the Authorization header must read: Bearer <API key>",
                field="authorization",
                cure="send an API key (mk_…)",
            )
        return await gate.authenticate(token.strip(), source_of(request))
    if uid is not None:
        return await gate.peer(uid, source_of(request))
    raise NotAuthenticated(
        "an API key is needed",
        field="authorization",
        cure="send the header Authorization: Bearer mk_…",
    )


Who = Annotated[Principal, Depends(authenticate)]
"""A route's parameter: the account that asks."""
