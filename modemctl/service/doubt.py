"""Segments in doubt: listed, closed or sent again by a person with a reason (design §1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from modemctl.errors import Conflict, InvalidRequest
from modemctl.lifecycle import BatchState, SegmentState
from modemctl.model import BatchId, MessageId, SegmentId, mask_number
from modemctl.service.batch_views import sight_of
from modemctl.service.pages import Page, decode_number, encode_cursor
from modemctl.service.principal import Principal, Scope
from modemctl.store import Store, Tx
from modemctl.store import messages as rows
from modemctl.store.batches import Sight
from modemctl.store.messages import Doubt as StoredDoubt
from modemctl.store.messages import Resolution
from modemctl.store.transaction import Json

MAX_SEGMENTS: Final = 500
"""Segments that one decision may name; the rest comes with the next."""

_REASON_MAX: Final = 500
_MAY_RESEND: Final = frozenset({BatchState.RUNNING, BatchState.HELD})


@dataclass(frozen=True, slots=True, kw_only=True)
class DoubtView:
    """A segment of which nobody knows whether it left; `to` masked without `pii:read`."""

    segment_id: SegmentId
    message_id: MessageId
    batch_id: BatchId
    seq: int
    to: str | None
    iccid: str | None
    bay: str | None
    since: datetime | None
    cause: str | None
    may_resend: bool


class Doubts:
    """Where persons decide what the controller never decides by itself."""

    def __init__(self, store: Store, *, general_department: str) -> None:
        self._store = store
        self._general = general_department

    async def list_doubts(
        self,
        who: Principal,
        *,
        batch_id: str | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page[DoubtView]:
        """Segments in doubt that the account may see, oldest id first.

        Raises:
            NotPermitted, InvalidRequest: scope or cursor.
        """
        who.require(Scope.BATCHES_READ)
        sight, vault, now = sight_of(who, self._general), self._store.vault, self._store.clock.now()
        after = decode_number(cursor)
        found = await self._store.read(
            lambda conn: rows.find_doubts(
                conn, vault, sight=sight, batch_id=batch_id, after=after, limit=limit + 1
            )
        )
        shown = [_view(one, who, now) for one in found[:limit]]
        more = encode_cursor(shown[-1].segment_id) if len(found) > limit else None
        return Page(items=shown, next=more)

    async def close(
        self, who: Principal, segment_ids: Sequence[int], reason: str
    ) -> Sequence[SegmentId]:
        """Give up: these segments are never sent again by us. Returns those closed.

        Raises:
            NotPermitted, InvalidRequest: scope, ids or reason.
            PolicyRefused: SMS-06, the account is a machine's.
            Conflict: one is not in doubt, or not in sight; nothing happened.
        """
        return await self._decide(who, segment_ids, reason, to=SegmentState.ABANDONED)

    async def resend(
        self, who: Principal, segment_ids: Sequence[int], reason: str
    ) -> Sequence[SegmentId]:
        """Send these segments again, knowing that the recipient may get them twice.

        Raises:
            NotPermitted, InvalidRequest: scope, ids or reason.
            PolicyRefused: SMS-06, the account is a machine's.
            Conflict: one is not in doubt, not in sight, or its batch is over; nothing happened.
        """
        return await self._decide(who, segment_ids, reason, to=SegmentState.QUEUED)

    async def _decide(
        self, who: Principal, segment_ids: Sequence[int], reason: str, *, to: SegmentState
    ) -> Sequence[SegmentId]:
        who.require(Scope.DOUBT_DECIDE)
        who.require_person("SMS-06")
        if not reason.strip() or len(reason) > _REASON_MAX:
            raise InvalidRequest(f"must have 1 to {_REASON_MAX} characters", field="reason")
        ids = sorted({SegmentId(one) for one in segment_ids})
        if not 1 <= len(ids) <= MAX_SEGMENTS:
            raise InvalidRequest(f"must name 1 to {MAX_SEGMENTS} segments", field="segment_ids")
        sight = sight_of(who, self._general)

        def act(tx: Tx) -> Sequence[SegmentId]:
            found = _require_in_doubt(tx, ids, sight)
            if to is SegmentState.QUEUED:
                _require_alive(found, tx.now)
            done = rows.resolve_doubts(
                tx, Resolution(segment_ids=ids, to=to, actor=who.name, reason=reason)
            )
            action = "doubt.resend" if to is SegmentState.QUEUED else "doubt.close"
            for batch_id in sorted({one.batch_id for one in found}):
                own = [one.segment.segment_id for one in found if one.batch_id == batch_id]
                details: dict[str, Json] = {
                    "segments": list(own),
                    "reason": reason,
                    "source": who.source,
                }
                tx.audit(who.name, action, batch_id, details)
            return done

        return await self._store.write(act)


def _require_in_doubt(
    tx: Tx, ids: Sequence[SegmentId], sight: Sight | None
) -> Sequence[StoredDoubt]:
    found = rows.find_doubts(
        tx.conn, tx.vault, sight=sight, batch_id=None, after=0, limit=len(ids), only=ids
    )
    if missing := sorted(set(ids) - {one.segment.segment_id for one in found}):
        raise Conflict(
            "is not in doubt any more, or not in your sight",
            field="segment_ids",
            value=str(missing[0]),
            cure="modemctl doubt list tells those that are",
        )
    return found


def _require_alive(found: Sequence[StoredDoubt], now: datetime) -> None:
    for one in found:
        if not _may_resend(one, now):
            raise Conflict(
                f"the batch is {one.batch_state} or its window is over; it sends nothing again",
                field="segment_ids",
                value=str(one.segment.segment_id),
                cure="close the doubt and submit a new batch",
            )


def _may_resend(one: StoredDoubt, now: datetime) -> bool:
    return one.batch_state in _MAY_RESEND and now < one.not_after


def _view(one: StoredDoubt, who: Principal, now: datetime) -> DoubtView:
    to = None if one.line is None else one.line.to
    if to is not None and Scope.PII_READ not in who.scopes:
        to = mask_number(to)
    return DoubtView(
        segment_id=one.segment.segment_id,
        message_id=one.segment.message_id,
        batch_id=one.batch_id,
        seq=one.segment.seq,
        to=to,
        iccid=one.segment.iccid,
        bay=one.segment.bay,
        since=one.segment.submitting_at,
        cause=one.segment.cause,
        may_resend=_may_resend(one, now),
    )
