"""Webhooks: who is sent which events, registered by administrators (SEC-01, CC-05).

A secret is shown once, when it is made. A new one leaves the one before valid for a while: a
receiver takes either, so that nothing is refused while it changes over.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlsplit

from modemctl.errors import Conflict, InvalidRequest, NotFound, PolicyRefused, TamperedError
from modemctl.policy.webhooks import (
    Verdict,
    event_id_of,
    event_type,
    is_pattern,
    judge,
    kinds_of,
    message_id,
    shown_secret,
)
from modemctl.service.account_fields import check_reason
from modemctl.service.departments import require_department
from modemctl.service.pages import Page, decode_number, encode_cursor
from modemctl.service.principal import Principal, Scope
from modemctl.service.webhook_client import PostOffice
from modemctl.service.webhook_couriers import MOST_PARALLEL
from modemctl.service.webhook_line import chosen, send, test_body
from modemctl.store import Connection, Store, Tx, webhook_rows
from modemctl.store import webhooks as rows
from modemctl.store.events import read_events
from modemctl.store.transaction import Json
from modemctl.store.webhook_rows import Delivery, DeliveryState
from modemctl.store.webhooks import Endpoint, EndpointState

__all__ = [
    "DeliveryState", "DeliveryView", "EndpointState", "Replayed", "WebhookSecret", "WebhookTest",
    "WebhookView", "Webhooks",
]  # fmt: skip

_MOST: Final = 32  # endpoints
_MOST_PATTERNS: Final = 64
_MOST_URL: Final = 500
_MOST_REPLAYED: Final = 10_000
_PAGE: Final = 1_000
_SECRET_OCTETS: Final = 32
_LONGEST_OVERLAP: Final = timedelta(days=30)
_NAME: Final = re.compile(r"(?!.*\d{7})[a-z0-9][a-z0-9_-]{0,31}")


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookView:
    """An endpoint as people see it; `old_secret_until`: until when the secret before signs, too.

    `n_waiting` and `n_dead` are events that it did not take; `failing_since` None: it takes them.
    """

    name: str
    url: str
    events: Sequence[str]
    department: str | None
    parallel: int
    state: EndpointState
    reason: str
    created_at: datetime
    created_by: str
    old_secret_until: datetime | None
    n_delivered: int
    delivered_at: datetime | None
    failing_since: datetime | None
    next_attempt_at: datetime | None
    n_waiting: int
    n_dead: int
    oldest_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSecret:
    """An endpoint and its new secret, which is shown this once."""

    webhook: WebhookView
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookTest:
    """What became of a test event."""

    webhook_id: str
    is_delivered: bool
    status: int | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryView:
    """An event that an endpoint did not take; `reason` is what its last answer said."""

    webhook_id: str
    event_id: int
    type: str
    subject: str
    at: datetime
    state: DeliveryState
    n_attempts: int
    first_at: datetime
    next_attempt_at: datetime | None
    status: int | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """How many events are sent once more; `is_all` False: there are more, ask again."""

    n: int
    is_all: bool


class Webhooks:
    """Keeps the endpoints."""

    def __init__(
        self, store: Store, office: PostOffice, *, site: str, general_department: str
    ) -> None:
        """`office` sends the test events."""
        self._store = store
        self._office = office
        self._site = site
        self._general = general_department

    async def list(self, who: Principal) -> Sequence[WebhookView]:
        """All endpoints in sight, by name.

        Raises:
            NotPermitted: without `webhooks:read`.
            TamperedError: a row was altered.
        """
        who.require(Scope.WEBHOOKS_READ)

        def query(conn: Connection) -> Sequence[WebhookView]:
            found = rows.read_all(conn, self._store.vault)
            return [self._view(conn, one) for one in found if who.sees(one.department)]

        return await self._store.read(query)

    async def add(
        self,
        who: Principal,
        *,
        name: str,
        url: str,
        events: Sequence[str],
        department: str | None = None,
        parallel: int = 1,
    ) -> WebhookSecret:
        """Register an endpoint, which gets the events from now on; the secret is shown this once.

        An account of one department registers for that one.

        Raises:
            NotPermitted: without `webhooks:write`, or for another department.
            InvalidRequest: a name, URL, pattern, department or width that cannot be.
            PolicyRefused: CC-05, the settings do not let events go there.
            Conflict: the name is taken, or there are 32.
        """
        who.require(Scope.WEBHOOKS_WRITE)
        department = department or who.department
        if not who.sees(department):
            who.require_all_departments()
        _check(name, events, parallel)
        self._check_url(url)

        def act(tx: Tx) -> tuple[WebhookView, bytes]:
            if department is not None:
                require_department(tx.conn, tx.vault, department, policy="SEC-01")
            known = rows.names(tx.conn)
            if name in known:
                raise Conflict("the name is taken", field="webhook", value=name)
            if len(known) >= _MOST:
                raise Conflict(f"there are {_MOST} webhooks", cure="modemctl webhook remove NAME")
            new = Endpoint(
                name=name, url=url, events=tuple(dict.fromkeys(events)), department=department,
                parallel=parallel, state=EndpointState.ACTIVE, reason="", created_at=tx.now,
                created_by=who.name, secret=secrets.token_bytes(_SECRET_OCTETS),
            )  # fmt: skip
            rows.add(tx, new)
            _note(tx, who, "webhook.add", new, {"host": urlsplit(url).hostname or ""})
            return self._view(tx.conn, new), new.secret

        view, secret = await self._store.write(act)
        return WebhookSecret(webhook=view, secret=shown_secret(secret))

    async def test(self, who: Principal, name: str) -> WebhookTest:
        """Send a test event, `webhook.test`, once and now; a paused endpoint gets it, too.

        Raises:
            NotPermitted: without `webhooks:write`.
            NotFound: no such endpoint in sight.
            TamperedError: its row was altered.
        """
        who.require(Scope.WEBHOOKS_WRITE)
        one = await self._store.read(lambda conn: self._find(conn, who, name))
        now = self._store.clock.now()
        id_ = f"{message_id(0, now)}_{secrets.token_hex(4)}"
        async with self._office.open() as poster:
            answer = await send(poster, one, id_, test_body(self._site, name, now), now=now)
        return WebhookTest(
            webhook_id=id_,
            is_delivered=judge(answer.status) is Verdict.DELIVERED,
            status=answer.status,
            reason=answer.reason,
        )

    async def pause(self, who: Principal, name: str, *, reason: str) -> WebhookView:
        """Send it nothing; its events wait, as long as events are kept.

        Raises:
            NotPermitted, NotFound, InvalidRequest: scope, name or reason.
        """
        check_reason(reason)
        return await self._move(who, name, EndpointState.PAUSED, "webhook.pause", reason)

    async def resume(self, who: Principal, name: str) -> WebhookView:
        """Send it events again, at once, beginning with those that wait.

        Raises:
            NotPermitted, NotFound: scope or name.
            PolicyRefused: CC-05, the settings do not let events go there any more.
        """
        return await self._move(who, name, EndpointState.ACTIVE, "webhook.resume", "")

    async def rotate_secret(
        self, who: Principal, name: str, *, overlap: timedelta
    ) -> WebhookSecret:
        """A new secret; the one before signs beside it for `overlap`, at most 30 days.

        Raises:
            NotPermitted, NotFound: scope or name.
            InvalidRequest: a longer overlap.
        """
        who.require(Scope.WEBHOOKS_WRITE)
        if not timedelta(0) <= overlap <= _LONGEST_OVERLAP:
            raise InvalidRequest("must be 0 to 720 hours", field="overlap_hours")

        def act(tx: Tx) -> tuple[WebhookView, bytes]:
            before = self._find(tx.conn, who, name)
            new = secrets.token_bytes(_SECRET_OCTETS)
            after = rows.change(
                tx, before, secret=new, old_secret=before.secret if overlap else None,
                old_until=tx.now + overlap if overlap else None,
            )  # fmt: skip
            hours = int(overlap.total_seconds() // 3_600)
            _note(tx, who, "webhook.rotate", after, {"overlap_hours": hours})
            return self._view(tx.conn, after), new

        view, secret = await self._store.write(act)
        return WebhookSecret(webhook=view, secret=shown_secret(secret))

    async def remove(self, who: Principal, name: str) -> None:
        """Forget an endpoint with all that waits for it, also one whose row was altered.

        Raises:
            NotPermitted, NotFound: scope or name; an altered one does not say whose it is.
        """
        who.require(Scope.WEBHOOKS_WRITE)

        def act(tx: Tx) -> None:
            try:
                facts = self._find(tx.conn, who, name).facts
            except TamperedError:
                who.require_all_departments()
                facts = {"is_altered": True}
            rows.remove(tx, name)
            told = {**facts, "policy": "CC-05", "source": who.source}
            tx.audit(who.name, "webhook.remove", name, told)

        await self._store.write(act)

    async def deliveries(
        self,
        who: Principal,
        name: str,
        *,
        state: DeliveryState | None,
        cursor: str | None,
        limit: int,
    ) -> Page[DeliveryView]:
        """The events that an endpoint did not take, oldest first; those taken leave no row.

        Raises:
            NotPermitted, NotFound, InvalidRequest: scope, name or cursor.
        """
        who.require(Scope.WEBHOOKS_READ)
        after = -1 if cursor is None else decode_number(cursor)

        def query(conn: Connection) -> Page[DeliveryView]:
            self._find(conn, who, name)
            found = webhook_rows.listed(conn, name, state=state, after=after, limit=limit + 1)
            more = encode_cursor(found[limit - 1].row.event_id) if len(found) > limit else None
            return Page(items=[_delivery(one) for one in found[:limit]], next=more)

        return await self._store.read(query)

    async def replay(
        self,
        who: Principal,
        name: str,
        *,
        webhook_ids: Collection[str] = (),
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Replayed:
        """Send events once more, under the ids that they had: these, those of a time, or the dead.

        Of events that were taken only those that are still kept can be sent. At most 10,000 in
        one go; without ids and times: all dead ones.

        Raises:
            NotPermitted, NotFound, InvalidRequest: scope, name, or an id that is none of ours.
        """
        who.require(Scope.WEBHOOKS_WRITE)
        if webhook_ids and (since or until):
            raise InvalidRequest("ids or times, not both", field="webhook_ids")
        if until is not None and since is None:
            raise InvalidRequest("is needed beside `until`", field="since")
        ids = [_event_id(one) for one in webhook_ids]

        def act(tx: Tx) -> Replayed:
            one = self._find(tx.conn, who, name)
            if since is not None:
                done = self._again_since(tx, one, since, until or tx.now)
            else:
                done = self._again(tx, one, ids or None)
            asked: dict[str, Json] = {"n": done.n, "ids": len(ids)}
            if since is not None:
                asked |= {"since": since.isoformat(), "until": (until or tx.now).isoformat()}
            tx.audit(who.name, "webhook.replay", name, {**asked, "source": who.source})
            return done

        return await self._store.write(act)

    def _again(self, tx: Tx, one: Endpoint, ids: Sequence[int] | None) -> Replayed:
        revived = webhook_rows.revive(tx, one.name, ids, limit=_MOST_REPLAYED)
        if ids is None:
            return Replayed(n=len(revived), is_all=len(revived) < _MOST_REPLAYED)
        wanted = set(ids) - set(revived)
        kinds = kinds_of(one.events)
        kept = [
            row
            for id_ in sorted(wanted)
            for row in read_events(tx.conn, after=id_ - 1, kinds=kinds, limit=1)
            if row.event_id == id_
        ]
        n = webhook_rows.again(tx, one.name, chosen(tx.conn, one, kept, self._general))
        return Replayed(n=len(revived) + n, is_all=True)

    def _again_since(self, tx: Tx, one: Endpoint, since: datetime, until: datetime) -> Replayed:
        n, after = 0, webhook_rows.last_before(tx.conn, since)
        while n < _MOST_REPLAYED:
            page = read_events(tx.conn, after=after, kinds=kinds_of(one.events), limit=_PAGE)
            found = [row for row in page if since <= row.at <= until]
            n += webhook_rows.again(tx, one.name, chosen(tx.conn, one, found, self._general))
            if len(page) < _PAGE or page[-1].at > until:
                return Replayed(n=n, is_all=True)
            after = page[-1].event_id
        return Replayed(n=n, is_all=False)

    async def _move(
        self, who: Principal, name: str, to: EndpointState, action: str, reason: str
    ) -> WebhookView:
        who.require(Scope.WEBHOOKS_WRITE)

        def act(tx: Tx) -> WebhookView:
            before = self._find(tx.conn, who, name)
            if to is EndpointState.ACTIVE:
                self._check_url(before.url)
                webhook_rows.unhold(tx, name)
            if before.state is to:
                return self._view(tx.conn, before)
            after = rows.change(tx, before, state=to, reason=reason)
            _note(tx, who, action, after, {"reason": reason, "before": before.state.value})
            return self._view(tx.conn, after)

        return await self._store.write(act)

    def _find(self, conn: Connection, who: Principal, name: str) -> Endpoint:
        found = rows.find(conn, self._store.vault, name)
        if found is None or not who.sees(found.department):
            raise NotFound("no such webhook", field="webhook", value=name[:64])
        return found

    def _check_url(self, url: str) -> None:
        """Refuse a URL that no event may go to.

        Raises:
            InvalidRequest: it is none, or holds what it should not.
            PolicyRefused: CC-05, the settings do not list its host.
        """
        rule = "must be https://host/path, without user, query or fragment"
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
            host.encode("idna")  # no label is empty or too long
        except ValueError:
            raise InvalidRequest(rule, field="url") from None
        is_plain = url.isascii() and url.isprintable() and " " not in url and len(url) <= _MOST_URL
        has_more = parts.query or parts.fragment or "@" in parts.netloc
        if parts.scheme not in {"http", "https"} or not host or has_more or not is_plain:
            raise InvalidRequest(rule, field="url")
        if not self._office.destinations.may_name(parts.scheme, host, port):
            at = "" if port is None else f":{port}"
            rule = f"the settings let no event go to {parts.scheme}://{host}{at}"
            cure = (
                "list it in webhooks.allow, an unusual port too; http:// needs webhooks.plain_http"
            )
            raise PolicyRefused("CC-05", rule, field="url", cure=cure)

    def _view(self, conn: Connection, one: Endpoint) -> WebhookView:
        place = webhook_rows.read_place(conn, one.name)
        if place is None:
            raise NotFound("how far it is is not known", field="webhook", value=one.name)
        behind = webhook_rows.backlog(conn, one.name, kinds=kinds_of(one.events))
        old = one.old_until
        return WebhookView(
            name=one.name,
            url=one.url,
            events=one.events,
            department=one.department,
            parallel=one.parallel,
            state=one.state,
            reason=one.reason,
            created_at=one.created_at,
            created_by=one.created_by,
            old_secret_until=old if old is not None and old > self._store.clock.now() else None,
            n_delivered=place.n_delivered,
            delivered_at=place.delivered_at,
            failing_since=place.failing_since,
            next_attempt_at=place.next_attempt_at,
            n_waiting=behind.n_waiting,
            n_dead=behind.n_dead,
            oldest_at=behind.oldest_at,
        )


def _check(name: str, events: Sequence[str], parallel: int) -> None:
    if not _NAME.fullmatch(name):
        rule = "must have 1 to 32 of a-z, 0-9, - and _, and no 7 digits in a row"
        raise InvalidRequest(rule, field="name", value=name[:64])
    if not 1 <= len(events) <= _MOST_PATTERNS:
        raise InvalidRequest(f"must be 1 to {_MOST_PATTERNS} patterns", field="events")
    odd = next((one for one in events if not is_pattern(one)), None)
    if odd is not None:
        cure = "such as message.final, batch.*, alarm.*, or * for all (docs/webhooks.md)"
        raise InvalidRequest("names no events", field="events", value=odd[:64], cure=cure)
    if not 1 <= parallel <= MOST_PARALLEL:
        raise InvalidRequest(f"must be 1 to {MOST_PARALLEL}", field="parallel")


def _event_id(text: str) -> int:
    found = event_id_of(text)
    if found is None:
        cure = "modemctl webhook deliveries NAME shows them"
        raise InvalidRequest(
            "is no id of an event", field="webhook_ids", value=text[:64], cure=cure
        )
    return found


def _note(tx: Tx, who: Principal, action: str, one: Endpoint, more: dict[str, Json]) -> None:
    details = {**more, **one.facts, "policy": "CC-05", "source": who.source}
    tx.audit(who.name, action, one.name, details)


def _delivery(one: Delivery) -> DeliveryView:
    return DeliveryView(
        webhook_id=message_id(one.row.event_id, one.row.at),
        event_id=one.row.event_id,
        type=event_type(one.row.kind, json.loads(one.row.data)),
        subject=one.row.subject,
        at=one.row.at,
        state=one.state,
        n_attempts=one.n_attempts,
        first_at=one.first_at,
        next_attempt_at=one.next_attempt_at if one.state is DeliveryState.WAITING else None,
        status=one.status,
        reason=one.reason,
    )
