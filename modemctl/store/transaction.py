"""What one request may do inside the writer's transaction."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias

from sqlalchemy import Connection

from modemctl.audit import Draft
from modemctl.lifecycle import SegmentState
from modemctl.model import EventKind, SegmentId, Topic
from modemctl.vault import Vault

Json: TypeAlias = str | int | float | bool | list["Json"] | Mapping[str, "Json"] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """One segment's change of state, for the journal table and its digest."""

    segment_id: SegmentId
    before: SegmentState
    after: SegmentState
    actor: str
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventDraft:
    """An event row to be; `data` is JSON text without anything personal."""

    kind: EventKind
    subject: str
    data: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the nodes' rows say: whether this one leases nothing more, what shuts its modems.

    `is_alone`: no other node is up, so nobody else commits anything.
    """

    is_draining: bool = False
    fault: str = ""
    is_alone: bool = True


_USUAL: Final = Standing()


class Tx:
    """A request's view of the transaction; its traces count only if it succeeds.

    `now` is the wall clock; `steady` is for limits: it passes as the machine runs, whatever the
    wall clock is set to.
    """

    def __init__(
        self,
        conn: Connection,
        *,
        now: datetime,
        steady: datetime,
        vault: Vault,
        node_id: str,
        standing: Standing = _USUAL,
    ) -> None:
        self.conn = conn
        self.now = now
        self.steady = steady
        self.vault = vault
        self.node_id = node_id
        self.standing = standing
        self.events: list[EventDraft] = []
        self.audits: list[Draft] = []
        self.transitions: list[Transition] = []
        self.topics: set[Topic] = set()
        self.counted: int | None = None
        """By how much the seal of the limits' counts changed (`store.count_seal`)."""

    def event(self, kind: EventKind, subject: str, data: Mapping[str, Json]) -> None:
        """Add an event row (SSE, webhooks) in this transaction; nothing personal in it."""
        self.events.append(EventDraft(kind=kind, subject=_text(subject), data=_json(data)))
        self.topics.add(Topic.EVENTS)

    def audit(self, actor: str, action: str, subject: str, details: Mapping[str, Json]) -> None:
        """Add an entry to the audit chain in this transaction; masked details (SEC-05)."""
        self.audits.append(
            Draft(at=self.now, actor=actor, action=action, subject=subject, details=_json(details))
        )

    def transition(self, change: Transition) -> None:
        """Note a segment's change in the journal table."""
        _text(change.note or "")
        self.transitions.append(change)

    def count(self, change: int) -> None:
        """Note that rows of the limits' counts changed, and their seal by so much."""
        self.counted = (self.counted or 0) + change

    def wake(self, *topics: Topic) -> None:
        """Ring these topics after the commit."""
        self.topics.update(topics)


_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _json(data: Mapping[str, Json]) -> str:
    return _text(_ENCODER.encode(data))


def _text(text: str) -> str:
    """The text, if it can be stored: else its request fails here, not the commit of everybody.

    Raises:
        UnicodeEncodeError: it holds half of a surrogate pair.
    """
    text.encode()
    return text
