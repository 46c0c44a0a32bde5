"""A part of an audit chain as a file that a third person checks without modemctl (SEC-12).

NDJSON: an opening line (whose chain, its public key, what the first entry follows), a line for each
entry, a closing line with number, digest and head, signed with the node's audit key.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from modemctl.audit import Draft, Entry, Head, Signer, verify

KIND: Final = "modemctl-audit"
VERSION: Final = 1
_MAX_FAULTS: Final = 100


@dataclass(slots=True, kw_only=True)
class Writer:
    """Makes the lines one after the other; octets, each with its line feed."""

    node_id: str
    site_id: str
    public_key: bytes
    before: Head
    """What the first entry follows."""
    _digest: hashlib._Hash = field(default_factory=hashlib.sha256)
    _head: Head | None = None
    _n: int = 0

    def open(self) -> bytes:
        """The opening line."""
        return self._line(
            {
                "kind": KIND,
                "v": VERSION,
                "site": self.site_id,
                "node": self.node_id,
                "public_key": self.public_key.hex(),
                "before": {"seq": self.before.seq, "hash": self.before.hash.hex()},
            }
        )

    def entry(self, entry: Entry) -> bytes:
        """The line of the next entry."""
        self._head, self._n = Head(seq=entry.seq, hash=entry.hash), self._n + 1
        return self._line(
            {
                "node": entry.node_id,
                "seq": entry.seq,
                "at": entry.draft.at.isoformat(timespec="milliseconds"),
                "actor": entry.draft.actor,
                "action": entry.draft.action,
                "subject": entry.draft.subject,
                "details": entry.draft.details,
                "prev": entry.prev.hex(),
                "hash": entry.hash.hex(),
                "signature": entry.signature.hex(),
            }
        )

    def close(self, key: Signer) -> bytes:
        """The closing line; its signature covers the SHA-256 of all lines before it."""
        head, digest = self._head or self.before, self._digest.digest()
        return _json(
            {
                "n": self._n,
                "sha256": digest.hex(),
                "head": {"seq": head.seq, "hash": head.hash.hex()},
                "signature": key.sign(_to_sign(digest)).hex(),
            }
        )

    def _line(self, members: Mapping[str, object]) -> bytes:
        line = _json(members)
        self._digest.update(line)
        return line


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What a file holds, and what is wrong with it; whole where there are no faults."""

    node_id: str
    public_key: str
    n_entries: int
    first: int
    last: int
    faults: tuple[str, ...]


def check(lines: Iterable[bytes], key: Ed25519PublicKey) -> Checked:
    """Check a file against a node's public key, which came by another way.

    Raises:
        ValueError: this is no such file.
    """
    source = iter(lines)
    line = next(source, b"")
    try:
        opening = json.loads(line)
        if (opening["kind"], opening["v"]) != (KIND, VERSION):
            return _other(opening)
        head = _head(opening["before"])
        known = _Known(head=head, digest=hashlib.sha256(line), faults=[])
        if opening["public_key"] != key.public_bytes_raw().hex():
            known.faults.append("the file names another public key than the one given")
        closing = _read(source, key, known)
        known.faults += _closing_faults(closing, key, known)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError("this is no whole export of an audit log") from error
    return Checked(
        node_id=str(opening["node"]),
        public_key=str(opening["public_key"]),
        n_entries=known.n,
        first=head.seq + 1,
        last=known.head.seq,
        faults=tuple(known.faults[:_MAX_FAULTS]),
    )


def _other(opening: Mapping[str, object]) -> Checked:
    fault = f"a file of kind {opening['kind']}, version {opening['v']}: a newer modemctl reads it"
    return Checked(node_id="", public_key="", n_entries=0, first=0, last=0, faults=(fault,))


@dataclass(slots=True, kw_only=True)
class _Known:
    head: Head
    digest: hashlib._Hash
    faults: list[str]
    n: int = 0


def _read(source: Iterator[bytes], key: Ed25519PublicKey, known: _Known) -> bytes:
    """Check the entries; returns the last line, which is none."""
    line = next(source, b"")
    for following in source:
        known.digest.update(line)
        entry = _entry(json.loads(line))
        known.faults += verify([entry], key, after=known.head)
        known.head, known.n = Head(seq=entry.seq, hash=entry.hash), known.n + 1
        line = following
    return line


def _closing_faults(line: bytes, key: Ed25519PublicKey, known: _Known) -> Iterator[str]:
    closing = json.loads(line)
    digest = known.digest.digest()
    if closing["sha256"] != digest.hex() or closing["n"] != known.n:
        yield "lines were changed, added or removed after the export"
    if _head(closing["head"]) != known.head:
        yield "the file does not end with the head that it names"
    try:
        key.verify(bytes.fromhex(closing["signature"]), _to_sign(digest))
    except InvalidSignature:
        yield "the closing line carries no valid signature"


def _head(members: Mapping[str, object]) -> Head:
    return Head(seq=int(str(members["seq"])), hash=bytes.fromhex(str(members["hash"])))


def _entry(members: Mapping[str, object]) -> Entry:
    words = {name: str(value) for name, value in members.items()}
    return Entry(
        node_id=words["node"],
        seq=int(words["seq"]),
        draft=Draft(
            at=datetime.fromisoformat(words["at"]),
            actor=words["actor"],
            action=words["action"],
            subject=words["subject"],
            details=words["details"],
        ),
        prev=bytes.fromhex(words["prev"]),
        hash=bytes.fromhex(words["hash"]),
        signature=bytes.fromhex(words["signature"]),
    )


def _to_sign(digest: bytes) -> bytes:
    return f"{KIND}/{VERSION} ".encode() + digest


def _json(members: Mapping[str, object]) -> bytes:
    text = json.dumps(members, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return text.encode() + b"\n"
