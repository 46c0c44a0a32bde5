"""The audit chain: what an entry is, how it is signed, how a chain is verified (SEC-05).

Each node writes one chain. An entry's hash covers its fields and the hash before it; the hash is
signed with the node's Ed25519 key, which lies outside the database.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

import rfc8785
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

GENESIS: Final = bytes(32)
"""What stands for the hash before the first entry."""


class Signer(Protocol):
    """The node's key, wherever it lies."""

    def sign(self, message: bytes) -> bytes:
        """64 octets (Ed25519)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What somebody did; not yet in a chain. `details` is JSON text, masked."""

    at: datetime
    actor: str
    action: str
    subject: str
    details: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One link of a node's chain."""

    node_id: str
    seq: int
    draft: Draft
    prev: bytes
    hash: bytes
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The end of a chain: the last entry's number (0: none yet) and hash."""

    seq: int = 0
    hash: bytes = GENESIS


def seal(draft: Draft, *, node_id: str, head: Head, key: Signer) -> Entry:
    """Put a draft at the end of a chain."""
    seq = head.seq + 1
    digest = entry_hash(draft, node_id=node_id, seq=seq, prev=head.hash)
    return Entry(
        node_id=node_id,
        seq=seq,
        draft=draft,
        prev=head.hash,
        hash=digest,
        signature=key.sign(digest),
    )


def entry_hash(draft: Draft, *, node_id: str, seq: int, prev: bytes) -> bytes:
    """SHA-256 over the RFC 8785 form of an entry's fields and the hash before it."""
    fields: dict[str, str | int] = {
        "node": node_id,
        "seq": seq,
        "at": draft.at.isoformat(timespec="milliseconds"),
        "actor": draft.actor,
        "action": draft.action,
        "subject": draft.subject,
        "details": draft.details,
        "prev": prev.hex(),
    }
    return hashlib.sha256(rfc8785.dumps({**fields})).digest()


def verify(
    entries: Iterable[Entry],
    key: Ed25519PublicKey,
    *,
    expected_head: Head | None = None,
    after: Head | None = None,
) -> Iterator[str]:
    """Yield one line for each fault of one node's chain; nothing where it is whole.

    Args:
        entries: the chain in order of `seq`.
        key: the node's public key.
        expected_head: a head noted elsewhere (system journal, state file), which the chain must
            contain: a chain cut off behind shows.
        after: the entry that the first of `entries` must follow; None begins the chain.
    """
    head = after or Head()
    seen_expected = expected_head is None or expected_head.seq == 0
    for entry in entries:
        yield from _faults(entry, head, key)
        head = Head(seq=entry.seq, hash=entry.hash)
        if expected_head is not None and head == expected_head:
            seen_expected = True
    if not seen_expected and expected_head is not None:
        yield f"entry {expected_head.seq}, noted as head, is missing or was changed"


def _faults(entry: Entry, head: Head, key: Ed25519PublicKey) -> Iterator[str]:
    if entry.seq != head.seq + 1:
        yield f"entry {head.seq + 1} is missing (next is {entry.seq})"
    elif entry.prev != head.hash:
        yield f"entry {entry.seq} does not follow the one before it"
    try:
        fields = entry_hash(entry.draft, node_id=entry.node_id, seq=entry.seq, prev=entry.prev)
    except (TypeError, ValueError):  # octets where a text stood
        fields = None
    if fields != entry.hash:
        yield f"entry {entry.seq} was changed"
    try:
        key.verify(entry.signature, entry.hash)
    except InvalidSignature:
        yield f"entry {entry.seq} carries no valid signature"
