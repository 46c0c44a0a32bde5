"""What a group commit's audit entry vouches for: the rows of the segment journal that it wrote."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

DIGEST: Final = "rows"
"""The key of the digest over all of a row; entries of earlier versions hold `sha256` instead."""

SINCE: Final = "since"
"""The key of the last row before an entry's own, where other nodes' may lie in between."""

_ENCODER: Final = json.JSONEncoder(ensure_ascii=False)
_EARLIER: Final = "sha256"  # over segment, before and after only


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """A row of the segment journal; `at` in milliseconds."""

    segment_id: int
    at: int
    before: str
    after: str
    actor: str
    note: str | None


def moved_digest(rows: Iterable[Moved]) -> str:
    """SHA-256 (hex) over rows in order."""
    digest = hashlib.sha256()
    for row in rows:
        fields = (row.segment_id, row.at, str(row.before), str(row.after), row.actor, row.note)
        digest.update(_ENCODER.encode(fields).encode() + b"\n")
    return digest.hexdigest()


def vouches(details: Mapping[str, object], rows: Iterable[Moved]) -> bool:
    """Whether rows are those that an entry's details speak of."""
    if DIGEST in details:
        return details[DIGEST] == moved_digest(rows)
    digest = hashlib.sha256()
    for row in rows:
        digest.update(f"{row.segment_id}:{row.before}>{row.after}\n".encode())
    return details[_EARLIER] == digest.hexdigest()
