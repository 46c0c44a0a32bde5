"""Incidents: recorded, isolated, told to whom they concern, closed with cause and lessons (SEC-10).

The controller counts down and cuts off; it decides nobody's guilt.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final, TypeVar

from modemctl.errors import (
    Conflict,
    InvalidRequest,
    NotFound,
    PolicyRefused,
    StoreError,
    TamperedError,
)
from modemctl.policy.incidents import (
    LEVELS,
    ROUTES,
    STOPS_FLEET,
    IncidentState,
    Isolation,
    is_overdue,
)
from modemctl.service.accounts import Accounts
from modemctl.service.admissions import Admissions
from modemctl.service.authorities import Authorities, RevokeReason
from modemctl.service.batches import Batches, BatchRequest, BatchView, ListFormat
from modemctl.service.modems import Modems
from modemctl.service.principal import Principal, Scope
from modemctl.service.stops import StopKind, Stops
from modemctl.store import Connection, Store, Tx
from modemctl.store import incidents as rows
from modemctl.store.incidents import Incident, IncidentNote

__all__ = ["Incident", "IncidentState", "IncidentView", "Incidents", "Isolation", "Office"]

ResultT = TypeVar("ResultT")

_TEXT_MAX: Final = 2_000
_TITLE_MAX: Final = 200
_LISTED: Final = 500
_WATCH: Final = 15.0  # seconds
_FUTURE: Final = timedelta(minutes=5)  # of a watch that goes wrong
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Office:
    """What an incident acts with."""

    stops: Stops
    modems: Modems
    admissions: Admissions
    accounts: Accounts
    authorities: Authorities
    batches: Batches


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentView:
    """An incident with its timeline. `seconds_left` until somebody of `route` must have heard."""

    incident: Incident
    meaning: str
    route: str
    is_overdue: bool
    seconds_left: int | None
    timeline: Sequence[IncidentNote]


class Incidents:
    """Keeps incidents; acts through the services of what it cuts off."""

    def __init__(self, store: Store, office: Office) -> None:
        self._store = store
        self._office = office

    async def watch(self) -> None:
        """Tell of countdowns that ran out, until cancelled."""
        while True:
            try:
                await self._store.write(rows.note_overdue)
            except (StoreError, TamperedError) as error:
                _log.warning("incidents.not_watched", extra={"error": str(error)})
            await asyncio.sleep(_WATCH)

    async def open(
        self,
        who: Principal,
        *,
        level: int,
        title: str,
        detected_at: datetime | None = None,
        isolate: tuple[Isolation, str] | None = None,
        keeps_running: bool = False,
    ) -> IncidentView:
        """Record an incident. One of level 2 stops the fleet first, unless `keeps_running`.

        What is to be isolated is so before the record is written: an incident of level 1 is cut
        off by this one action.

        Raises:
            NotPermitted, InvalidRequest: scope, level, title or time.
            PolicyRefused: SEC-10, a machine.
            RequestError: what the stop or the isolation refuses; then nothing is recorded.
        """
        who.require(Scope.INCIDENTS_WRITE)
        who.require_person("SEC-10")
        if level not in LEVELS:
            raise InvalidRequest("must be 1, 2 or 3", field="level", value=str(level))
        title = _checked(title, "title", _TITLE_MAX)
        now = self._store.clock.now()
        if detected_at is not None and detected_at > now + _FUTURE:
            raise InvalidRequest("must not lie in the future", field="detected_at")
        stop_id: str | None = None
        if level == STOPS_FLEET and not keeps_running:
            stop_id = (await self._office.stops.place(who, StopKind.FLEET, "", title)).stop_id
        done = "" if isolate is None else await self._isolate(who, *isolate, reason=title)

        def act(tx: Tx) -> Incident:
            new = rows.add(
                tx,
                level=level,
                title=title,
                department=who.department,
                detected_at=min(detected_at or tx.now, tx.now),
                by=who.account_id,
                name=who.name,
            )
            if stop_id is not None:
                new = rows.put(tx, new, stop_id=stop_id)
            _note(tx, who, new, "open", title)
            if stop_id is not None:
                _note(tx, who, new, "stop", f"the fleet is stopped: {stop_id}")
            if done:
                _note(tx, who, new, "isolate", done)
            return new

        found = await self._store.write(act)
        return await self.show(who, found.incident_id)

    async def isolate(
        self, who: Principal, incident_id: str, kind: Isolation, target: str
    ) -> IncidentView:
        """Cut off a node, a bay's modem, an API key or an approver's key, and note it.

        Raises:
            NotPermitted, NotFound, Conflict: scope, no such incident in sight, or it is closed.
            RequestError: what is to be cut off refuses.
        """
        who.require(Scope.INCIDENTS_WRITE)
        found = await self._read(lambda conn: self._visible(conn, who, incident_id))
        _require_open(found)
        done = await self._isolate(who, kind, target, reason=found.title)
        return await self._change(
            who, incident_id, lambda tx, one: _note(tx, who, one, "isolate", done)
        )

    async def note(self, who: Principal, incident_id: str, text: str) -> IncidentView:
        """Add a line to the timeline.

        Raises:
            NotPermitted, InvalidRequest, NotFound, Conflict: scope, text, no such incident, closed.
        """
        who.require(Scope.INCIDENTS_WRITE)
        text = _checked(text, "text", _TEXT_MAX)

        def act(tx: Tx, found: Incident) -> None:
            _require_open(found)
            _note(tx, who, found, "note", text)

        return await self._change(who, incident_id, act)

    async def link_stop(self, who: Principal, incident_id: str, stop_id: str) -> IncidentView:
        """Say which stop belongs to the incident; its reach is what a correction goes to.

        Raises:
            NotPermitted, NotFound, Conflict: scope, no such incident or stop, or closed.
        """
        who.require(Scope.INCIDENTS_WRITE)
        await self._office.stops.show(who, stop_id)

        def act(tx: Tx, found: Incident) -> None:
            _require_open(found)
            after = rows.put(tx, found, stop_id=stop_id)
            _note(tx, who, after, "stop", f"stop {stop_id}")

        return await self._change(who, incident_id, act)

    async def acknowledge(self, who: Principal, incident_id: str, text: str) -> IncidentView:
        """Somebody of the route has heard of it: that ends the countdown. Not who opened it.

        Raises:
            NotPermitted, InvalidRequest, NotFound, Conflict: scope, text, no such open incident.
            PolicyRefused: SEC-10, who opened it, or a machine.
        """
        who.require(Scope.INCIDENTS_ACKNOWLEDGE)
        who.require_person("SEC-10")
        text = _checked(text, "text", _TEXT_MAX)

        def act(tx: Tx, found: Incident) -> None:
            if found.state is not IncidentState.OPEN:
                raise Conflict(f"the incident is {found.state}", field="state")
            if found.opened_by == who.account_id:
                raise PolicyRefused(
                    "SEC-10",
                    "who opened the incident does not acknowledge it",
                    cure=f"report it to: {ROUTES[found.level]}",
                )
            after = rows.put(
                tx,
                found,
                state=IncidentState.ACKNOWLEDGED,
                acknowledged_by=who.account_id,
                acknowledged_name=who.name,
                acknowledged_at=_ms(tx.now),
            )
            _note(tx, who, after, "acknowledge", text)

        return await self._change(who, incident_id, act)

    async def close(
        self, who: Principal, incident_id: str, *, cause: str, lessons: str
    ) -> IncidentView:
        """Close an incident with its cause and what is learned from it.

        Raises:
            NotPermitted, InvalidRequest, NotFound: scope, cause or lessons, no such incident.
            Conflict: it is closed, or nobody of its route has heard of it yet.
        """
        who.require(Scope.INCIDENTS_WRITE)
        who.require_person("SEC-10")
        cause = _checked(cause, "cause", _TEXT_MAX)
        lessons = _checked(lessons, "lessons", _TEXT_MAX)

        def act(tx: Tx, found: Incident) -> None:
            _require_open(found)
            if found.due_at is not None and found.state is IncidentState.OPEN:
                raise Conflict(
                    f"nobody of its route ({ROUTES[found.level]}) has acknowledged it",
                    field="state",
                    policy="SEC-10",
                    cure="let one of them: modemctl incident acknowledge",
                )
            after = rows.put(
                tx,
                found,
                state=IncidentState.CLOSED,
                closed_by=who.account_id,
                closed_name=who.name,
                closed_at=_ms(tx.now),
                cause=cause,
                lessons=lessons,
            )
            _note(tx, who, after, "close", f"cause: {cause}; lessons: {lessons}")

        return await self._change(who, incident_id, act)

    async def correct(self, who: Principal, incident_id: str, request: BatchRequest) -> BatchView:
        """Prepare a batch for exactly the numbers that the incident's stop found reached.

        Sent, delivered and in doubt count, of those in flight what became of them. It has its own
        confirmation and approvals to go through, as every batch.

        Raises:
            NotPermitted, NotFound: scope, no such incident or stop in sight.
            Conflict: the incident has no stop, or its stop reached nobody.
            PolicyRefused, InvalidRequest: as a submission; SEC-05, a line of the reach was altered.
        """
        who.require(Scope.BATCHES_SUBMIT)
        found = await self._read(lambda conn: self._visible(conn, who, incident_id))
        _require_open(found)
        if found.stop_id is None:
            raise Conflict(
                "the incident has no stop, whose reach a correction goes to",
                field="stop_id",
                cure="name one: modemctl incident link",
            )
        await self._require_reach(who, found.stop_id)
        chunks = _lines(self._office.stops.reached_numbers(who, found.stop_id))
        made = await self._office.batches.submit_list(
            who, request, chunks, ListFormat.TXT, encoding="utf-8"
        )
        text = f"correction prepared: batch {made.batch.batch_id}, {made.batch.n_messages} messages"
        await self._change(who, incident_id, lambda tx, one: _note(tx, who, one, "correct", text))
        return made

    async def _require_reach(self, who: Principal, stop_id: str) -> None:
        async with aclosing(self._office.stops.reached_numbers(who, stop_id)) as pages:
            if await anext(pages):
                return
        raise Conflict(
            "nothing had left when it was stopped",
            field="stop_id",
            cure="nobody needs a correction; another stop: modemctl incident link",
        )

    async def show(self, who: Principal, incident_id: str) -> IncidentView:
        """An incident with its timeline and countdown.

        Raises:
            NotPermitted, NotFound: scope, or no such incident in sight.
            PolicyRefused: SEC-05, its row was altered.
        """
        _require_reader(who)
        now = self._store.clock.now()

        def read(conn: Connection) -> IncidentView:
            found = self._visible(conn, who, incident_id)
            return _view(found, rows.notes(conn, incident_id), now)

        return await self._read(read)

    async def list_incidents(
        self, who: Principal, *, is_open: bool = True
    ) -> Sequence[IncidentView]:
        """Incidents without their timelines, newest first: the open ones, or the latest.

        Raises:
            NotPermitted: the scope is missing.
            PolicyRefused: SEC-05, a row was altered.
        """
        _require_reader(who)
        now, vault, department = self._store.clock.now(), self._store.vault, who.department
        query = partial(
            rows.find_many, vault=vault, is_open=is_open, department=department, limit=_LISTED
        )
        return [_view(one, (), now) for one in await self._read(query)]

    async def _isolate(self, who: Principal, kind: Isolation, target: str, *, reason: str) -> str:
        """Cut it off; in words what was done. Whoever records incidents may, for this one act."""
        target = _checked(target, "target", 128)
        acting = dataclasses.replace(
            who, scopes=who.scopes | {Scope.MODEMS_OPERATE, Scope.ACCOUNTS_WRITE, Scope.STOPS_PLACE}
        )
        office = self._office
        match kind:
            case Isolation.NODE:
                await office.stops.place(acting, StopKind.NODE, target, reason)
                return f"node {target}: nothing leaves from it"
            case Isolation.MODEM:
                modem = await office.modems.pause(acting, target, reason)
                if modem.imei is None:
                    return f"bay {target}: paused; its modem has not told who it is"
                await office.admissions.expel(acting, modem.imei, reason)
                return f"bay {target}: paused, its modem expelled"
            case Isolation.KEY:
                await office.accounts.revoke_key(acting, target, reason=reason)
                return f"API key {target}: revoked"
            case Isolation.APPROVER_KEY:
                await office.authorities.revoke_key(acting, target, reason=RevokeReason.COMPROMISED)
                return f"approver key {target}: revoked, what it approved is held"

    async def _change(
        self, who: Principal, incident_id: str, act: Callable[[Tx, Incident], None]
    ) -> IncidentView:
        def write(tx: Tx) -> None:
            act(tx, self._visible(tx.conn, who, incident_id))

        try:
            await self._store.write(write)
        except TamperedError as error:
            raise _altered(error) from None
        return await self.show(_as_reader(who), incident_id)

    async def _read(self, query: Callable[[Connection], ResultT]) -> ResultT:
        try:
            return await self._store.read(query)
        except TamperedError as error:
            raise _altered(error) from None

    def _visible(self, conn: Connection, who: Principal, incident_id: str) -> Incident:
        found = rows.find(conn, self._store.vault, incident_id)
        if found is None or not who.sees(found.department):
            raise NotFound("no such incident", field="incident_id", value=incident_id[:40])
        return found


# ---------------------------------------------------------------- inside


def _require_reader(who: Principal) -> None:
    if not {Scope.INCIDENTS_WRITE, Scope.INCIDENTS_ACKNOWLEDGE} & who.scopes:
        who.require(Scope.INCIDENTS_READ)


def _as_reader(who: Principal) -> Principal:
    """Who acted on an incident sees what came of it."""
    return dataclasses.replace(who, scopes=who.scopes | {Scope.INCIDENTS_READ})


def _require_open(found: Incident) -> None:
    if found.state is IncidentState.CLOSED:
        raise Conflict("the incident is closed", field="state")


def _checked(text: str, field: str, most: int) -> str:
    if not text.strip() or len(text) > most:
        raise InvalidRequest(f"must have 1 to {most} characters", field=field)
    return text.strip()


def _note(tx: Tx, who: Principal, found: Incident, what: str, text: str) -> None:
    rows.note(tx, found.incident_id, by=who.name, what=what, text=text, source=who.source)


def _altered(error: TamperedError) -> PolicyRefused:
    return PolicyRefused("SEC-05", str(error), cure="run: modemctl audit verify")


def _ms(at: datetime) -> datetime:
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


async def _lines(pages: AsyncGenerator[Sequence[str], None]) -> AsyncGenerator[bytes, None]:
    """A list of one number a line."""
    async for page in pages:
        yield "".join(f"{number}\n" for number in page).encode()


def _view(one: Incident, timeline: Sequence[IncidentNote], now: datetime) -> IncidentView:
    is_running = one.state is IncidentState.OPEN and one.due_at is not None
    left = one.due_at - now if one.due_at is not None and is_running else None
    return IncidentView(
        incident=one,
        meaning=LEVELS[one.level],
        route=ROUTES[one.level],
        is_overdue=is_overdue(one.state, one.due_at, now),
        seconds_left=None if left is None else max(0, int(left.total_seconds())),
        timeline=timeline,
    )
