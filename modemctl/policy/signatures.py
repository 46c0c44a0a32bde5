"""An approval as signed octets: compact JWS (RFC 7515), Ed25519 and nothing else (RFC 8037, 9864).

What an approver signs is JSON of exactly these members: `digest` (hex), `batch_id`, `step`,
`decision`, `approver`, `iat`, `exp` (whole seconds since 1970).
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, NoReturn

import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from joserfc import jws as jose
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey
from joserfc.jws import JWSAlgModel, JWSRegistry  # type: ignore[attr-defined]  # not in __all__

from modemctl.errors import PolicyRefused
from modemctl.model import AccountId, BatchId, Decision

ALGORITHMS: Final = ("Ed25519", "EdDSA")
"""Names of one and the same algorithm; the second for libraries that know no other."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_OCTETS: Final = 4_096
_MAX_SECONDS: Final = 10**11
_MEMBERS: Final = frozenset({"digest", "batch_id", "step", "decision", "approver", "iat", "exp"})
_HEADER_MEMBERS: Final = frozenset({"alg", "kid", "typ"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What an approver signed: one decision, for one step of one batch with this digest."""

    digest: bytes
    batch_id: BatchId
    step: int
    decision: Decision
    approver: AccountId
    issued_at: datetime
    expires_at: datetime


class _OneAlgorithm(JWSRegistry):
    """Both names of RFC 8037's algorithm lead to it; no other name leads anywhere."""

    def get_alg(self, name: str) -> JWSAlgModel:
        """The algorithm, whichever of its names was used."""
        return super().get_alg("Ed25519" if name in ALGORITHMS else name)


_REGISTRY: Final = _OneAlgorithm(algorithms=["Ed25519"])


def sign_approval(
    private_key: bytes,
    *,
    kid: str,
    digest: bytes,
    batch_id: str,
    step: int,
    approver: str,
    issued_at: datetime,
    expires_at: datetime,
    decision: Decision = Decision.APPROVE,
) -> str:
    """The compact JWS of an approval. `private_key` is the Ed25519 seed, 32 octets.

    Times are cut to whole seconds.
    """
    payload = rfc8785.dumps(
        {
            "digest": digest.hex(),
            "batch_id": batch_id,
            "step": step,
            "decision": str(decision),
            "approver": approver,
            "iat": _seconds(issued_at),
            "exp": _seconds(expires_at),
        }
    )
    head = {"alg": ALGORITHMS[0], "kid": kid}
    return jose.serialize_compact(head, payload, _private(private_key), registry=_REGISTRY)


def kid_of(token: str) -> str:
    """The key id that a compact JWS names; nothing is verified yet.

    Raises:
        PolicyRefused: SMS-01, not such a JWS.
    """
    return _kid(_parts(token)[0])


@lru_cache(maxsize=4_096)
def open_approval(token: str, *, kid: str, public_key: bytes) -> Claims:
    """Verify a compact JWS with this key (32 octets) and read it; remembered by its octets.

    Every octet counts: another spelling of the same content is refused.

    Raises:
        PolicyRefused: SMS-01, malformed, another key, another algorithm, or a wrong signature.
    """
    head, payload = _parts(token)
    if _kid(head) != kid:
        _refuse("the approval names another key")
    try:
        jose.deserialize_compact(token, _public(public_key), registry=_REGISTRY)
    except (JoseError, ValueError) as error:
        cure = "sign header.payload as they are sent, with the key that kid names"
        raise PolicyRefused("SMS-01", "the approval is wrongly signed", cure=cure) from error
    return _claims(_object(payload))


def _parts(token: str) -> tuple[bytes, bytes]:
    """Header and payload of a compact JWS whose three parts are canonical base64url."""
    parts = token.split(".")
    if len(parts) != 3 or len(token) > _MAX_OCTETS:
        _refuse("an approval is a compact JWS: header.payload.signature")
    head, payload, _ = (_octets(part) for part in parts)
    return head, payload


def _octets(part: str) -> bytes:
    try:
        octets = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except (binascii.Error, ValueError):
        _refuse("a part of the JWS is not base64url")
    # The last letter has spare bits: only one spelling of the same octets is taken.
    if base64.urlsafe_b64encode(octets).rstrip(b"=").decode() != part:
        _refuse("a part of the JWS is not canonical base64url")
    return octets


def _kid(head: bytes) -> str:
    members = _object(head)
    if not members.keys() <= _HEADER_MEMBERS:
        _refuse("the JWS header holds members other than alg, kid and typ")
    if members.get("alg") not in ALGORITHMS:
        _refuse("the algorithm of an approval is Ed25519")
    kid = members.get("kid")
    if not isinstance(kid, str) or not kid:
        _refuse("the JWS header names no key (kid)")
    return kid


def _object(octets: bytes) -> Mapping[str, object]:
    try:
        value = json.loads(octets.decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        _refuse("a part of the JWS is not a JSON object")
    if not isinstance(value, dict):
        _refuse("a part of the JWS is not a JSON object")
    return value


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member stands twice")
    return members


def _claims(payload: Mapping[str, object]) -> Claims:
    if payload.keys() != _MEMBERS:
        _refuse(f"an approval holds exactly the members {', '.join(sorted(_MEMBERS))}")
    return Claims(
        digest=_digest(payload),
        batch_id=BatchId(_text(payload, "batch_id")),
        step=_whole(payload, "step"),
        decision=_decision(payload),
        approver=AccountId(_text(payload, "approver")),
        issued_at=_EPOCH + timedelta(seconds=_whole(payload, "iat")),
        expires_at=_EPOCH + timedelta(seconds=_whole(payload, "exp")),
    )


def _text(payload: Mapping[str, object], name: str) -> str:
    value = payload[name]
    if not isinstance(value, str):
        _refuse(f"the approval's {name} must be a text")
    return value


def _whole(payload: Mapping[str, object], name: str) -> int:
    value = payload[name]
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MAX_SECONDS:
        _refuse(f"the approval's {name} must be a whole number, as JSON writes one")
    return value


def _decision(payload: Mapping[str, object]) -> Decision:
    try:
        return Decision(_text(payload, "decision"))
    except ValueError:
        _refuse(f"the approval's decision must be one of {', '.join(Decision)}")


def _digest(payload: Mapping[str, object]) -> bytes:
    text = _text(payload, "digest")
    try:
        digest = bytes.fromhex(text)
    except ValueError:
        digest = b""
    if len(digest) != 32 or digest.hex() != text:
        _refuse("the approval's digest must be 64 lower-case hexadecimal digits")
    return digest


def _seconds(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(seconds=1)


@lru_cache(maxsize=256)
def _public(public_key: bytes) -> OKPKey:
    return OKPKey.import_key(Ed25519PublicKey.from_public_bytes(public_key))


def _private(seed: bytes) -> OKPKey:
    return OKPKey.import_key(Ed25519PrivateKey.from_private_bytes(seed))


def _refuse(rule: str) -> NoReturn:
    raise PolicyRefused("SMS-01", rule, cure="docs/approval-client.md says what is signed, and how")
