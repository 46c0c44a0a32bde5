"""Lists in pages: what a page is, and cursors that only we can read."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from modemctl.errors import InvalidRequest

ItemT = TypeVar("ItemT")

MAX_LIMIT: Final = 1_000
"""Most items of one page."""
_MAX_OCTETS: Final = 512  # no key of ours is longer
_MAX_NUMBER: Final = 2**63 - 1  # of a database


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[ItemT]):
    """Some items, and where the next ones begin; `next` is None at the end."""

    items: Sequence[ItemT]
    next: str | None


def encode_cursor(*key: str | int) -> str:
    """A cursor that stands behind the item with this key."""
    text = json.dumps(key, ensure_ascii=False, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_text(cursor: str | None) -> str:
    """The one text in a cursor; empty for none, which stands before all.

    Raises:
        InvalidRequest: not a cursor of ours.
    """
    return "" if cursor is None else _decode(cursor, str)


def decode_number(cursor: str | None) -> int:
    """The one number in a cursor; 0 for none, which stands before all.

    Raises:
        InvalidRequest: not a cursor of ours.
    """
    number = 0 if cursor is None else _decode(cursor, int)
    if not 0 <= number <= _MAX_NUMBER:
        raise _foreign()
    return number


def _decode(cursor: str, kind: type[ItemT]) -> ItemT:
    try:
        octets = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        key = json.loads(octets) if len(octets) <= _MAX_OCTETS else None
    except (binascii.Error, ValueError):
        key = None
    if not isinstance(key, list) or len(key) != 1 or type(key[0]) is not kind:
        raise _foreign()
    value: ItemT = key[0]
    if isinstance(value, str) and not value.isprintable():  # half a character among others
        raise _foreign()
    return value


def _foreign() -> InvalidRequest:
    return InvalidRequest(
        "must be a cursor that this list gave",
        field="cursor",
        cure="begin again without a cursor",
    )
