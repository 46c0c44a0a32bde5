"""A holder's document as people enter it, see it, and as the log tells it (SIM-04, TEL-11)."""

from __future__ import annotations

from modemctl.errors import InvalidRequest
from modemctl.policy.identities import (
    Identity,
    IdentityKind,
    NoIdentity,
    mask_identity,
    read_identity,
)
from modemctl.service.principal import Principal, Scope
from modemctl.store.sims import Card
from modemctl.store.transaction import Json

__all__ = ["IdentityKind", "document", "entered", "number_for", "traces"]


def entered(number: str | None, kind: IdentityKind | None) -> Identity | None:
    """The document of a form; without a kind it is a resident's identity card.

    Raises:
        InvalidRequest: no number of such a document; tells the rule, never the number.
    """
    if number is None:
        if kind is None:
            return None
        raise InvalidRequest("a kind of document has a number", field="identity_number")
    return document(number, kind or IdentityKind.RESIDENT_ID)


def document(number: str, kind: IdentityKind) -> Identity:
    """A document's number as people write it.

    Raises:
        InvalidRequest: no number of such a document; tells the rule, never the number.
    """
    try:
        return read_identity(kind, number)
    except NoIdentity as error:
        raise InvalidRequest(
            error.rule, field="identity_number", cure=error.cure, policy="SIM-04"
        ) from None


def number_for(number: str | None, who: Principal) -> str | None:
    """A document's number, masked without the right to see it."""
    return number if number is None or Scope.PII_READ in who.scopes else mask_identity(number)


def traces(before: Card | None, after: Identity | None) -> dict[str, Json]:
    """What the log tells of a document: masked, as it was and as it is."""
    old = None if before is None else before.identity_number
    if after is None:
        return {}
    told: dict[str, Json] = {"identity_kind": after.kind.value}
    told["identity"] = mask_identity(after.number)
    told["identity_before"] = None if old is None else mask_identity(old)
    return told
