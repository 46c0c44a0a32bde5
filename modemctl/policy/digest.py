"""The octets that approvers sign: lines, leaves, chunks, the header (RFC 8785, SHA-256)."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Final

import rfc8785

from modemctl.errors import PolicyRefused
from modemctl.model import AccountId, BatchId

VERSION: Final = 3
_WITHOUT_OWNER: Final = 2  # of headers whose list names no owner and source
_WITHOUT_ESTIMATE: Final = 1  # the version of headers of batches that were frozen before it
LEAF_OCTETS: Final = 32
CHUNK_LINES: Final = 1_024
NO_LINE: Final = bytes(LEAF_OCTETS)
"""Leaf of a source line that is not part of the batch (removed, empty): no line has this hash."""

_encode: Final = json.JSONEncoder(
    ensure_ascii=False, sort_keys=True, separators=(",", ":"), check_circular=False
).encode
_UNREADABLE: Final = (
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
    rfc8785.CanonicalizationError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One recipient. `line_no` counts the source lines from 1; `to` is E.164 or a short code."""

    line_no: int
    to: str = field(repr=False)
    variables: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What the batch comes to, as the preview reckoned when its list was complete.

    `cost` is decimal text and an upper bound; `finish` None: not within the window. `limits` are
    the settings that make it wait, cards not ready, and other batches.
    """

    n_cards: int
    cost: str
    currency: str
    finish: datetime | None
    limits: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What approvers sign beside text and list. `removed_by` counts reasons."""

    n_messages: int
    n_segments: int
    n_removed: int
    removed_by: Mapping[str, int]
    forcing: tuple[str, ...]
    estimate: Estimate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is signed of a standing approval: how many self-tests a week may send its messages."""

    runs_per_week: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Under:
    """The standing approval, and its digest, that a self-test's batch goes under."""

    batch_id: BatchId
    digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchHeader:
    """The signed header, read. `emergency` says why its chain may sign afterwards.

    `list_owner` answers for the list, whose numbers come from `list_source`: both or neither.
    One with `standing` never runs; one with `under` is signed by nobody, its standing one is.
    """

    site_id: str
    batch_id: BatchId
    category: str
    template: str = field(repr=False)
    department: str
    party: str
    drafter: AccountId
    submitter: AccountId
    operator: AccountId
    not_before: datetime
    not_after: datetime
    card_group: str | None
    starts_itself: bool
    n_lines: int
    totals: Totals
    chunks: tuple[bytes, ...] = field(repr=False)
    emergency: str | None = None
    list_owner: AccountId | None = None
    list_source: str | None = None
    standing: Standing | None = None
    under: Under | None = None

    @property
    def is_loop(self) -> bool:
        """Whether each message goes to the very card that sends it: tests of our own cards."""
        return self.standing is not None or self.under is not None


def line_jcs(line: Line) -> bytes:
    """RFC 8785 octets of a line: `{"n":…,"to":…,"vars":{…}}`.

    Names of variables lie in the BMP and values hold no lone surrogate, so that Python's own
    encoder, twenty times as fast as a general one, gives the very octets of the RFC.

    Raises:
        UnicodeEncodeError: half of a surrogate pair stands alone.
    """
    members = {"n": line.line_no, "to": line.to, "vars": dict(line.variables)}
    return _encode(members).encode()


def read_line(octets: bytes) -> Line:
    """A line from its octets; they were proved before.

    Raises:
        PolicyRefused: SMS-01, not a line.
    """
    try:
        members = json.loads(octets)
        variables = {str(name): str(value) for name, value in members["vars"].items()}
        return Line(line_no=int(members["n"]), to=str(members["to"]), variables=variables)
    except _UNREADABLE as error:
        raise PolicyRefused("SMS-01", "a stored line cannot be read") from error


def leaf(line: bytes, *, salt: bytes, line_no: int) -> bytes:
    """SHA-256 of the line's own salt and its octets. `salt` is the batch's."""
    own_salt = hmac.digest(salt, str(line_no).encode(), "sha256")
    return hashlib.sha256(own_salt + line).digest()


def chunk_of(line_no: int) -> int:
    """The chunk (0, 1, …) that holds a line's leaf."""
    return (line_no - 1) // CHUNK_LINES


def leaf_in_chunk(leaves: bytes, line_no: int) -> bytes:
    """A line's leaf in its chunk's octets; shorter where the chunk ends before."""
    start = (line_no - 1) % CHUNK_LINES * LEAF_OCTETS
    return leaves[start : start + LEAF_OCTETS]


@lru_cache(maxsize=4)  # a lease proves many lines of the same chunk, 32 KiB each time
def chunk_hash(leaves: bytes) -> bytes:
    """SHA-256 of a chunk's leaves, one after the other."""
    return hashlib.sha256(leaves).digest()


def encode_header(header: BatchHeader) -> bytes:
    """RFC 8785 octets of the header: what the digest is taken of."""
    totals = header.totals
    return rfc8785.dumps(
        {
            "v": _version(header),
            "site_id": header.site_id,
            "batch_id": header.batch_id,
            "category": header.category,
            "template": header.template,
            "department": header.department,
            "party": header.party,
            "drafter": header.drafter,
            "submitter": header.submitter,
            "operator": header.operator,
            "not_before": _iso(header.not_before),
            "not_after": _iso(header.not_after),
            "card_group": header.card_group,
            "starts_itself": header.starts_itself,
            "n_lines": header.n_lines,
            "totals": {
                "messages": totals.n_messages,
                "segments": totals.n_segments,
                "removed": totals.n_removed,
                "removed_by": dict(totals.removed_by),
                "forcing": list(totals.forcing),
                **_estimate_members(totals.estimate),
            },
            "chunks": [chunk.hex() for chunk in header.chunks],
            **({} if header.emergency is None else {"emergency": header.emergency}),
            **_origin_members(header),
            **_standing_members(header),
        }
    )


@lru_cache(maxsize=256)
def decode_header(octets: bytes) -> BatchHeader:
    """The header behind its octets, which must be the very ones that `encode_header` gives.

    Raises:
        PolicyRefused: SMS-01, changed or not a header.
    """
    try:
        members = json.loads(octets)
        header = _header(members)
        is_same = encode_header(header) == octets
    except _UNREADABLE as error:
        raise PolicyRefused("SMS-01", "the batch's header was changed") from error
    if not is_same:
        raise PolicyRefused("SMS-01", "the batch's header was changed")
    return header


def _header(members: Mapping[str, object]) -> BatchHeader:
    totals = members["totals"]
    chunks = members["chunks"]
    if not isinstance(totals, dict) or not isinstance(chunks, list):
        raise TypeError("totals or chunks have a wrong form")
    group = members["card_group"]
    return BatchHeader(
        site_id=str(members["site_id"]),
        batch_id=BatchId(str(members["batch_id"])),
        category=str(members["category"]),
        template=str(members["template"]),
        department=str(members["department"]),
        party=str(members["party"]),
        drafter=AccountId(str(members["drafter"])),
        submitter=AccountId(str(members["submitter"])),
        operator=AccountId(str(members["operator"])),
        not_before=datetime.fromisoformat(str(members["not_before"])),
        not_after=datetime.fromisoformat(str(members["not_after"])),
        card_group=None if group is None else str(group),
        starts_itself=members["starts_itself"] is True,
        n_lines=int(str(members["n_lines"])),
        totals=_totals(totals),
        chunks=_hashes(chunks),
        emergency=str(members["emergency"]) if "emergency" in members else None,
        list_owner=AccountId(str(members["list_owner"])) if "list_owner" in members else None,
        list_source=str(members["list_source"]) if "list_source" in members else None,
        standing=_standing(members.get("standing")),
        under=_under(members.get("under")),
    )


def _totals(members: Mapping[str, object]) -> Totals:
    removed_by, forcing = members["removed_by"], members["forcing"]
    if not isinstance(removed_by, dict) or not isinstance(forcing, list):
        raise TypeError("totals have a wrong form")
    return Totals(
        n_messages=int(str(members["messages"])),
        n_segments=int(str(members["segments"])),
        n_removed=int(str(members["removed"])),
        removed_by=MappingProxyType({str(why): int(n) for why, n in removed_by.items()}),
        forcing=tuple(str(char) for char in forcing),
        estimate=_estimate(members.get("estimate")),
    )


def _version(header: BatchHeader) -> int:
    if header.list_owner is not None:
        return VERSION
    return _WITHOUT_ESTIMATE if header.totals.estimate is None else _WITHOUT_OWNER


def _origin_members(header: BatchHeader) -> dict[str, str]:
    if header.list_owner is None or header.list_source is None:
        return {}
    return {"list_owner": header.list_owner, "list_source": header.list_source}


def _standing_members(header: BatchHeader) -> dict[str, dict[str, str | int]]:
    members: dict[str, dict[str, str | int]] = {}
    if header.standing is not None:
        members["standing"] = {"runs_per_week": header.standing.runs_per_week}
    if header.under is not None:
        one = header.under
        members["under"] = {"batch_id": one.batch_id, "digest": one.digest.hex()}
    return members


def _standing(members: object) -> Standing | None:
    if members is None:
        return None
    if not isinstance(members, dict):
        raise TypeError("the standing approval has a wrong form")
    return Standing(runs_per_week=int(str(members["runs_per_week"])))


def _under(members: object) -> Under | None:
    if members is None:
        return None
    if not isinstance(members, dict):
        raise TypeError("the standing approval's name has a wrong form")
    batch_id, digest = BatchId(str(members["batch_id"])), bytes.fromhex(str(members["digest"]))
    return Under(batch_id=batch_id, digest=digest)


def _estimate_members(
    estimate: Estimate | None,
) -> dict[str, dict[str, str | int | list[str] | None]]:
    if estimate is None:
        return {}
    finish = estimate.finish
    return {
        "estimate": {
            "cards": estimate.n_cards,
            "cost": estimate.cost,
            "currency": estimate.currency,
            "finish": None if finish is None else _iso(finish),
            "limits": list(estimate.limits),
        }
    }


def _estimate(members: object) -> Estimate | None:
    if members is None:
        return None
    if not isinstance(members, dict) or not isinstance(members["limits"], list):
        raise TypeError("the estimate has a wrong form")
    finish = members["finish"]
    return Estimate(
        n_cards=int(str(members["cards"])),
        cost=str(members["cost"]),
        currency=str(members["currency"]),
        finish=None if finish is None else datetime.fromisoformat(str(finish)),
        limits=tuple(str(one) for one in members["limits"]),
    )


def _hashes(chunks: Sequence[object]) -> tuple[bytes, ...]:
    return tuple(bytes.fromhex(str(chunk)) for chunk in chunks)


@lru_cache(maxsize=256)
def header_digest(header: bytes) -> bytes:
    """What approvers sign: SHA-256 of the header's octets."""
    return hashlib.sha256(header).digest()


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
