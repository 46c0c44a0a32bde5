"""Delivers events to one endpoint: in order, each until it was taken or given up.

An event that fails holds up those behind it for `HOLD_TRIES` tries, then it is put aside and tried
further by itself. What was sent before the daemon ended, but not noted yet, is sent again with the
same id: at least once.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from modemctl.model import EventKind
from modemctl.policy.webhooks import (
    Verdict,
    event_type,
    judge,
    kinds_of,
    matches,
    message_id,
    sign,
)
from modemctl.service.events import seen_by
from modemctl.service.webhook_client import Answer, Poster
from modemctl.store import Connection, Store, Tx, webhook_rows, webhooks
from modemctl.store.batches import Sight
from modemctl.store.events import EventRow, read_events, read_reach
from modemctl.store.webhook_rows import Noted, Parcel, Place, Tried, Turn
from modemctl.store.webhooks import Endpoint, EndpointState
from modemctl.telemetry import Telemetry

_PAGE: Final = 200  # events that are read at once
_BURY: Final = 500  # that are given up at once
_NOTE_EVERY: Final = 1.0  # seconds of work that a crash may repeat
_HOLD: Final = timedelta(seconds=90)  # how long an endpoint is ours without a word
_HOLD_RENEWED: Final = timedelta(seconds=45)
_FAR: Final = timedelta(hours=2)  # no wait of ours is as long: the clock was set back
_SLOW_POLL: Final = 30.0
_SAVE_EVERY: Final = 600.0  # else what retention forgets would look lost after a restart

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LineRules:
    """What all lines are held to. `site` is told in each body."""

    site: str
    general_department: str
    give_up: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """What there is to do. `through`: the page holds all that is wanted up to here."""

    endpoint: Endpoint
    place: Place
    held: Sequence[Parcel] = ()
    aside: Sequence[Parcel] = ()
    page: Sequence[Parcel] = ()
    stale: Sequence[Parcel] = ()
    through: int = 0
    n_lost: int = 0
    next_at: datetime | None = None
    is_open: bool = False


class Line:
    """The deliveries to one endpoint."""

    def __init__(
        self,
        store: Store,
        name: str,
        *,
        rules: LineRules,
        poster: Poster,
        telemetry: Telemetry,
    ) -> None:
        """`poster` holds the connections to the endpoint."""
        self._store = store
        self._name = name
        self._rules = rules
        self._poster = poster
        self._telemetry = telemetry
        self._passed = 0  # events up to here are not wanted, though no row says so yet
        self._saved_at = asyncio.get_running_loop().time()
        self.is_listening = False
        """Whether new events are of interest now: not while paused or failing."""
        self._dice = random.SystemRandom()

    async def turn(self) -> float | None:
        """Do what is due; seconds until the next turn, 0 for at once; None: it was removed.

        Raises:
            TamperedError: the endpoint's row was altered; nothing was sent.
            StoreError: the database cannot be used.
        """
        look = await self._store.read(self._look)
        self.is_listening = look is not None and look.is_open
        if look is None:
            return None
        if look.endpoint.state is not EndpointState.ACTIVE:
            return _SLOW_POLL
        if not (look.held or look.aside or look.page or look.stale or look.n_lost):
            await self._pass_over(look)
            return self._pause(look)
        if not await self._is_ours(look.place):
            self.is_listening = False  # another node delivers: no event asks for a claim
            return _SLOW_POLL
        if look.n_lost or look.stale:
            await self._lose(look)
            return 0.0
        if look.aside:
            await self._deliver(look, look.aside, is_line=False)
        if look.held:
            await self._deliver(look, look.held, is_line=True)
        elif look.page:
            await self._deliver(look, look.page, is_line=True)
        return 0.0

    def _look(self, conn: Connection) -> _Look | None:
        endpoint = webhooks.find(conn, self._store.vault, self._name)
        place = webhook_rows.read_place(conn, self._name)
        if endpoint is None or place is None:
            return None
        if endpoint.state is not EndpointState.ACTIVE:
            return _Look(endpoint=endpoint, place=place)
        now = self._store.clock.now()
        aside = webhook_rows.due(conn, self._name, now=now, limit=endpoint.parallel)
        start = max(place.position, self._passed)
        reach = read_reach(conn)
        if place.next_attempt_at is not None and now < place.next_attempt_at < now + _FAR:
            return self._waiting(conn, endpoint, place, now, start)
        held = webhook_rows.holding(conn, self._name, limit=endpoint.parallel)
        if held:
            return _Look(endpoint=endpoint, place=place, held=[one.parcel for one in held])
        page, through = self._page(conn, endpoint, start, _PAGE)
        return _Look(
            endpoint=endpoint,
            place=place,
            aside=[one.parcel for one in aside],
            page=page,
            through=through,
            n_lost=max(0, reach.oldest - 1 - start) if reach.oldest else 0,
            next_at=webhook_rows.next_due(conn, self._name),
            is_open=True,
        )

    def _waiting(
        self, conn: Connection, endpoint: Endpoint, place: Place, now: datetime, start: int
    ) -> _Look:
        """The line waits for a receiver that fails; what is too old meanwhile is given up."""
        limit = now - self._rules.give_up
        stale: Sequence[Parcel] = ()
        through = start
        if place.failing_since is not None and place.failing_since <= limit:
            page, _ = self._page(conn, endpoint, start, _BURY)
            stale = [one for one in page if one.row.at <= limit]
            through = stale[-1].row.event_id if stale else start
        return _Look(
            endpoint=endpoint, place=place, stale=stale, through=through,
            next_at=place.next_attempt_at,
        )  # fmt: skip

    def _page(
        self, conn: Connection, endpoint: Endpoint, start: int, limit: int
    ) -> tuple[Sequence[Parcel], int]:
        newest = read_reach(conn).newest
        found = read_events(conn, after=start, kinds=kinds_of(endpoint.events), limit=limit)
        last = found[-1].event_id if found else start
        through = last if len(found) == limit else max(last, newest)
        wanted = chosen(conn, endpoint, found, self._rules.general_department)
        return [Parcel(row=row) for row in wanted], through

    async def _pass_over(self, look: _Look) -> None:
        """Nothing of the page is wanted: remembered here, and written down now and then."""
        self._passed = max(self._passed, look.through)
        through, now = self._passed, asyncio.get_running_loop().time()
        is_old = through > look.place.position and now - self._saved_at >= _SAVE_EVERY
        if is_old or webhook_rows.is_worth_saving(look.place.position, through):
            self._saved_at = now
            await self._store.write(lambda tx: webhook_rows.move(tx, self._name, through))

    def _pause(self, look: _Look) -> float:
        if look.next_at is None:
            return _SLOW_POLL
        left = (look.next_at - self._store.clock.now()).total_seconds()
        return min(max(left, 0.0), _SLOW_POLL)

    async def _is_ours(self, place: Place) -> bool:
        now, node = self._store.clock.now(), self._store.node_id
        until = place.held_until
        is_held = until is not None and now + _HOLD_RENEWED < until < now + _FAR
        if is_held and place.node_id == node:
            return True
        return await self._store.write(lambda tx: webhook_rows.claim(tx, self._name, _HOLD))

    async def _lose(self, look: _Look) -> None:
        """What is too old to be tried, or was forgotten while nobody could be sent it."""
        facts = {"alarm": "webhook_lost", "webhook": self._name}
        name = self._name
        if look.n_lost:
            through = max(look.place.position, self._passed) + look.n_lost

            def skip(tx: Tx) -> None:
                webhook_rows.move(tx, name, through)
                lost = {**facts, "n": look.n_lost, "department": look.endpoint.department}
                tx.event(EventKind.ALARM, f"webhook:{name}", lost)

            await self._store.write(skip)
            _log.error("webhook.lost", extra={"webhook": name, "n": look.n_lost})
            return
        turn = self._made([], look.through, is_line=True)
        reason = "given up unsent: the receiver fails since long"

        def act(tx: Tx) -> Noted:
            noted = webhook_rows.bury(tx, name, look.stale, turn, reason)
            self._tell(tx, look.endpoint, noted)
            return noted

        self._count(await self._store.write(act), [])

    async def _deliver(self, look: _Look, parcels: Sequence[Parcel], *, is_line: bool) -> None:
        """Try them in turn, `parallel` at once, until one fails or it is time to note."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _NOTE_EVERY
        tried: list[Tried] = []
        at, width = 0, look.endpoint.parallel
        while at < len(parcels):
            some = parcels[at : at + width]
            tried += await self._try(look.endpoint, some)
            at += len(some)
            has_failed = any(one.verdict is not Verdict.DELIVERED for one in tried)
            if has_failed or loop.time() >= until:
                break
        through = look.place.position
        if parcels is look.page:
            through = look.through if at >= len(parcels) else parcels[at - 1].row.event_id
        await self._note(look.endpoint, self._made(tried, through, is_line=is_line))

    async def _try(self, endpoint: Endpoint, parcels: Sequence[Parcel]) -> Sequence[Tried]:
        if len(parcels) == 1:
            return [await self._send(endpoint, parcels[0])]
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._send(endpoint, one), name="webhook") for one in parcels
            ]
        return [one.result() for one in tasks]

    async def _send(self, endpoint: Endpoint, parcel: Parcel) -> Tried:
        answer = await send(
            self._poster,
            endpoint,
            message_id(parcel.row.event_id, parcel.row.at),
            body_of(self._rules.site, parcel.row),
            now=self._store.clock.now(),
        )
        return Tried(
            parcel=parcel,
            verdict=judge(answer.status),
            status=answer.status,
            reason=answer.reason,
            asked=answer.asked,
        )

    def _made(self, tried: Sequence[Tried], through: int, *, is_line: bool) -> Turn:
        return Turn(
            tried=tried,
            through=through,
            is_line=is_line,
            jitter=self._dice.random(),
            give_up=self._rules.give_up,
            hold=_HOLD,
        )

    async def _note(self, endpoint: Endpoint, turn: Turn) -> None:
        is_gone = any(one.verdict is Verdict.GONE for one in turn.tried)

        def act(tx: Tx) -> Noted:
            noted = webhook_rows.note(tx, endpoint.name, turn)
            if noted.is_ours and is_gone:
                disable(tx, endpoint.name)
            self._tell(tx, endpoint, noted)
            return noted

        self._count(await self._store.write(act), turn.tried)

    def _tell(self, tx: Tx, endpoint: Endpoint, noted: Noted) -> None:
        """An alarm at the first loss since its last success: not one for each dead event."""
        if noted.is_first_loss:
            facts = {"alarm": "webhook_dead", "webhook": endpoint.name}
            tx.event(
                EventKind.ALARM,
                f"webhook:{endpoint.name}",
                {**facts, "n": noted.n_dead, "department": endpoint.department},
            )

    def _count(self, noted: Noted, tried: Sequence[Tried]) -> None:
        for verdict in Verdict:
            n = sum(one.verdict is verdict for one in tried)
            if n:
                outcome = "delivered" if verdict is Verdict.DELIVERED else "failed"
                self._telemetry.count(
                    "modemctl_webhook_tries_total", n, webhook=self._name, outcome=outcome
                )
        if noted.n_dead:
            self._telemetry.count(
                "modemctl_webhook_given_up_total", noted.n_dead, webhook=self._name
            )


def disable(tx: Tx, name: str) -> None:
    """The receiver says that it is gone (410): it is not asked again until somebody resumes it."""
    before = webhooks.find(tx.conn, tx.vault, name)
    if before is None or before.state is not EndpointState.ACTIVE:
        return
    reason = "the receiver answered 410 Gone"
    after = webhooks.change(tx, before, state=EndpointState.DISABLED, reason=reason)
    tx.audit(f"node:{tx.node_id}", "webhook.disable", name, {**after.facts, "reason": reason})
    facts = {"alarm": "webhook_disabled", "webhook": name, "department": after.department}
    tx.event(EventKind.ALARM, f"webhook:{name}", facts)


def chosen(
    conn: Connection, endpoint: Endpoint, found: Sequence[EventRow], general_department: str
) -> Sequence[EventRow]:
    """Those events that an endpoint asks for and may see; none about itself."""
    own = f"webhook:{endpoint.name}"
    wanted = [
        one
        for one in found
        if one.subject != own
        and matches(endpoint.events, event_type(one.kind, json.loads(one.data)))
    ]
    department = endpoint.department
    sight = None
    if department is not None:
        sight = Sight(department=department, is_general=department == general_department)
    return seen_by(conn, sight, wanted)


def body_of(site: str, row: EventRow) -> bytes:
    """The body of a request: the same octets at each try."""
    data = json.loads(row.data)
    return _body(event_type(row.kind, data), row.at, site, row.subject, data)


def test_body(site: str, name: str, at: datetime) -> bytes:
    """The body of a test event."""
    return _body("webhook.test", at, site, f"webhook:{name}", {})


def _body(type_: str, at: datetime, site: str, subject: str, data: Mapping[str, object]) -> bytes:
    return json.dumps(
        {
            "type": type_,
            "timestamp": at.isoformat(timespec="milliseconds"),
            "site": site,
            "subject": subject,
            "data": data,
        },
        ensure_ascii=False,
        separators=(",", ":"),
    ).encode()


async def send(
    poster: Poster, endpoint: Endpoint, id_: str, body: bytes, *, now: datetime
) -> Answer:
    """One signed request. Source: Standard Webhooks 1.0."""
    headers = {
        "content-type": "application/json",
        "user-agent": "modemctl",
        "webhook-id": id_,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": sign(endpoint.secrets(now), id_, now, body),
    }
    return await poster.post(endpoint.url, headers, body, now=now)
