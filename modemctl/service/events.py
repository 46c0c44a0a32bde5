"""Events for SSE and webhooks: read behind a cursor, followed as they happen."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from modemctl.errors import NotAuthenticated, NotPermitted
from modemctl.model import EventKind, Topic
from modemctl.service.batch_views import may_see, sight_of
from modemctl.service.pages import decode_number, encode_cursor
from modemctl.service.principal import Principal, Scope
from modemctl.store import Connection, Store
from modemctl.store import events as rows
from modemctl.store.batches import Sight
from modemctl.store.events import EventRow, Owners, Reach

__all__ = ["KEEP_ALIVE", "Event", "EventPage", "Events", "KeepAlive", "Reset", "seen_by"]

KEEP_ALIVE: Final = 15.0
"""Seconds of silence after which a follower hears that we are still there."""

_ASK_EVERY: Final = 1.0  # seconds between two looks at a follower's key
_PAGE: Final = 500
_PURGE: Final = 2_000  # rows a transaction: short enough for the modems not to notice
_DEPARTMENTS_OWN: Final = frozenset(
    {EventKind.BATCH, EventKind.MESSAGE, EventKind.CALL, EventKind.INBOX}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event; `cursor` stands behind it."""

    cursor: str
    at: datetime
    kind: EventKind
    subject: str
    data: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class EventPage:
    """Some events; `next` goes on behind them, also when there are none yet.

    `is_reset` says that events behind the given cursor were forgotten: read the state anew.
    """

    items: Sequence[Event]
    next: str
    is_reset: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset:
    """The cursor was too old (or from another database): read the state anew."""

    cursor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepAlive:
    """Nothing happened; the line is good. `cursor` stands behind all that was looked at."""

    cursor: str


class Events:
    """Reads events for those who may; wakes followers after each commit."""

    def __init__(self, store: Store, *, keep_days: int, general_department: str) -> None:
        """`keep_days` is how long events are kept."""
        self._store = store
        self._general = general_department
        self._keep = timedelta(days=keep_days)
        self._is_closed = False

    async def page(
        self,
        who: Principal,
        *,
        cursor: str | None,
        kinds: Collection[EventKind] | None = None,
        limit: int = _PAGE,
    ) -> EventPage:
        """Events behind a cursor, oldest first; without one, from the oldest that is kept.

        Raises:
            NotPermitted: without `events:read`.
            InvalidRequest: a cursor that is not ours.
        """
        who.require(Scope.EVENTS_READ)
        after = None if cursor is None else decode_number(cursor)

        def query(conn: Connection) -> EventPage:
            reach = rows.read_reach(conn)
            start, is_reset = _start(after, reach)
            found = rows.read_events(conn, after=start, kinds=kinds, limit=limit)
            end = found[-1].event_id if len(found) == limit else max(start, reach.newest)
            sight = sight_of(who, self._general)
            items = [_event(row) for row in seen_by(conn, sight, found)]
            return EventPage(items=items, next=encode_cursor(end), is_reset=is_reset)

        return await self._store.read(query)

    async def follow(
        self,
        who: Principal,
        *,
        cursor: str | None,
        kinds: Collection[EventKind] | None = None,
        again: Callable[[], Awaitable[Principal]],
    ) -> AsyncIterator[Event | Reset | KeepAlive]:
        """Events as they happen, from a cursor or from now on; ends when `close` is called.

        The first item is a `KeepAlive`: refusals come instead of it. `again` finds out anew who
        asks: a stream outlives its key or account by `KEEP_ALIVE` seconds at most.

        Raises:
            NotPermitted: without `events:read`.
            InvalidRequest: a cursor that is not ours.
        """
        who.require(Scope.EVENTS_READ)
        with self._store.signals.subscribe(Topic.EVENTS) as bell:
            if cursor is None:
                cursor = encode_cursor((await self._store.read(rows.read_reach)).newest)
            decode_number(cursor)  # a bad one is refused before the first item
            yield KeepAlive(cursor=cursor)
            watch = _Watch(who, again)
            while not self._is_closed and await watch.is_good():
                page = await self.page(watch.who, cursor=cursor, kinds=kinds)
                if page.is_reset:
                    yield Reset(cursor=cursor)
                for event in page.items:
                    yield event
                is_behind = cursor != page.next
                cursor = page.next
                if is_behind or self._is_closed:
                    continue
                if not await bell.wait(KEEP_ALIVE):
                    yield KeepAlive(cursor=cursor)

    def close(self) -> None:
        """End all followers at once; for shutdown."""
        self._is_closed = True
        self._store.signals.wake([Topic.EVENTS])

    async def purge(self) -> int:
        """Forget events older than they are kept; returns how many. Call now and then."""
        before = self._store.clock.now() - self._keep
        n_all = 0
        while True:
            n = await self._store.write(
                lambda tx: rows.delete_events(tx, before=before, limit=_PURGE)
            )
            n_all += n
            if n < _PURGE:
                return n_all
            await asyncio.sleep(0)  # others write between


class _Watch:
    """Whether the one who follows still may; asked once a second at most."""

    def __init__(self, who: Principal, again: Callable[[], Awaitable[Principal]]) -> None:
        self.who = who
        self._again = again
        self._clock = asyncio.get_running_loop().time
        self._asked_at = self._clock()

    async def is_good(self) -> bool:
        """Ask again where the last answer is old; False where it is a refusal."""
        if self._clock() - self._asked_at < _ASK_EVERY:
            return True
        self._asked_at = self._clock()
        try:
            self.who = await self._again()
            self.who.require(Scope.EVENTS_READ)
        except (NotAuthenticated, NotPermitted):
            return False
        return True


def seen_by(
    conn: Connection, sight: Sight | None, events: Sequence[EventRow]
) -> Sequence[EventRow]:
    """Those of the events that are in sight; None sees all (SEC-01)."""
    if sight is None or not events:
        return events
    told = [(one, json.loads(one.data)) for one in events]
    words = [word for one, data in told for word in _subjects(one, data)]
    owners = rows.read_owners(conn, words)
    return [one for one, data in told if _may_see(one, data, sight, owners)]


def _start(after: int | None, reach: Reach) -> tuple[int, bool]:
    """Where to begin, and whether something behind the cursor is gone."""
    if after is None:
        return 0, False
    is_forgotten = after < reach.oldest - 1
    is_foreign = after > reach.newest  # an older database was restored
    return (0, True) if is_forgotten or is_foreign else (after, False)


def _event(row: EventRow) -> Event:
    return Event(
        cursor=encode_cursor(row.event_id),
        at=row.at,
        kind=row.kind,
        subject=row.subject,
        data=json.loads(row.data),
    )


def _subjects(event: EventRow, data: Mapping[str, object]) -> Sequence[str]:
    """What may say whose the event is: its subject, or the batch of a message."""
    batch_id = data.get("batch_id")
    return [event.subject, batch_id] if isinstance(batch_id, str) else [event.subject]


def _may_see(event: EventRow, data: Mapping[str, object], sight: Sight, owners: Owners) -> bool:
    """Whether an event is the department's, or nobody's in particular (SEC-01)."""
    for subject in _subjects(event, data):
        if subject in owners.batches:
            department, category = owners.batches[subject]
            return may_see(sight, department, category)
        if subject in owners.cards:
            return owners.cards[subject] == sight.department
    if "department" in data:
        return data["department"] == sight.department
    return event.kind not in _DEPARTMENTS_OWN
