"""What may stand in an authority: whose it is, how long it lasts, a public key and its name."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

import rfc8785

from modemctl.errors import Conflict, InvalidRequest
from modemctl.store.accounts import Account, AccountKind, AccountState

LONGEST_AUTHORITY: Final = timedelta(days=366)
"""Longest life of an authorisation or of an approver's key."""
EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""No authority begins before."""
LATEST: Final = datetime(2200, 1, 1, tzinfo=UTC)
"""No authority ends after."""

_KEY_OCTETS: Final = 32
_PRIME: Final = 2**255 - 19
_Y8: Final = int.from_bytes(
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"
)
_SMALL_ORDER_YS: Final = frozenset({0, 1, _PRIME - 1, _Y8, _PRIME - _Y8})
_REFERENCE_MAX: Final = 200


def check_reference(reference: str) -> str:
    """The name of the signed form that an authority rests on, without spaces around it.

    Raises:
        InvalidRequest: it names none.
    """
    if not 0 < len(reference.strip()) <= _REFERENCE_MAX:
        raise InvalidRequest("must name the signed form", field="reference", policy="SMS-06")
    return reference.strip()


def check_public_key(octets: bytes) -> None:
    """An Ed25519 public key that not everybody can sign for.

    Raises:
        InvalidRequest: it is not.
    """
    if len(octets) != _KEY_OCTETS:
        raise InvalidRequest("must be the 32 octets of an Ed25519 key", field="public_key")
    if _is_weak(octets):
        raise InvalidRequest("must not be a point of small order", field="public_key")


def require_person(account: Account) -> Account:
    """An active account that names a person.

    Raises:
        Conflict: it is not active, or a machine's.
    """
    if account.state is not AccountState.ACTIVE:
        raise Conflict(f"account {account.name} is {account.state}", cure="reactivate it")
    if account.kind is not AccountKind.PERSON:
        raise Conflict(f"account {account.name} is not a person", policy="CC-03")
    return account


def check_span(valid_from: datetime, valid_until: datetime, now: datetime) -> None:
    """A time that an authority may last.

    Raises:
        InvalidRequest: it is not.
    """
    for field, moment in (("valid_from", valid_from), ("valid_until", valid_until)):
        if not EARLIEST <= moment <= LATEST:  # near datetime's ends zones cannot be changed
            raise InvalidRequest("must lie within 2000 and 2200", field=field)
    if not (valid_from < valid_until and now < valid_until):
        raise InvalidRequest("must lie after its beginning and after now", field="valid_until")
    if valid_until - valid_from > LONGEST_AUTHORITY:
        raise InvalidRequest(
            f"may last {LONGEST_AUTHORITY.days} days at most", field="valid_until", policy="SEC-01"
        )


def jwk_to_octets(jwk: Mapping[str, object]) -> bytes:
    """The 32 octets of an Ed25519 public key in JWK form (RFC 8037).

    Raises:
        InvalidRequest: another kind of key, a malformed one, or a private one.
    """
    if "d" in jwk:
        raise InvalidRequest(
            "must be the public key alone",
            field="jwk",
            cure="this private key has been shown: make a new pair and send only its public key",
            policy="SEC-03",
        )
    if jwk.get("kty") != "OKP" or jwk.get("crv") != "Ed25519":
        raise InvalidRequest("must be an Ed25519 key (kty OKP, crv Ed25519)", field="jwk")
    try:
        octets = base64.urlsafe_b64decode(f"{jwk.get('x')}==")
    except (binascii.Error, ValueError):
        octets = b""
    if len(octets) != _KEY_OCTETS:
        raise InvalidRequest("x must be 32 octets in base64url", field="jwk")
    return octets


def thumbprint(public_key: bytes) -> str:
    """The RFC 7638 thumbprint of an Ed25519 public key: base64url of SHA-256, 43 characters."""
    jwk = {"crv": "Ed25519", "kty": "OKP", "x": base64url(public_key)}
    return base64url(hashlib.sha256(rfc8785.dumps({**jwk})).digest())


def base64url(octets: bytes) -> str:
    """Octets in base64url without padding."""
    return base64.urlsafe_b64encode(octets).decode().rstrip("=")


def iso(at: datetime) -> str:
    """An instant to the second, for the audit log."""
    return at.isoformat(timespec="seconds")


def _is_weak(public_key: bytes) -> bool:
    """Whether everybody can sign for a key: its point is of small order."""
    y = int.from_bytes(public_key, "little") & ((1 << 255) - 1)
    return y % _PRIME in _SMALL_ORDER_YS
