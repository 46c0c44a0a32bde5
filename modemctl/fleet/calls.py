"""Lines about calls folded into one record a call; pure, time comes as an argument.

Modems tell of one call by several lines (`RING`, `+CLIP:`, `^DSCI:`, `NO CARRIER`), some with an
id and some without, and some never tell its end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from drivers.interface import CallEvent, CallEventKind, CurrentCall
from modemctl.store.calls import CallState

RING_PERIOD: Final = timedelta(seconds=5)
"""Between two rings at most; networks ring every 3 to 5 s."""
_SHORTEST_PERIOD: Final = timedelta(seconds=3)
_LOOK_EVERY: Final = timedelta(seconds=15)
"""How often a call under way is looked up in `+CLCC`: some modems do not tell its end."""
_ECHO: Final = timedelta(seconds=2)
"""Within this an end without an id repeats one that was told with it (`^CEND:`, `NO CARRIER`)."""
_TELLING_RING: Final = 4  # the ring at which an incoming call is late (TEL-09)

_ACTIVE: Final = frozenset({0, 1})  # +CLCC: active, held


@dataclass(slots=True, kw_only=True)
class _Live:
    is_incoming: bool
    started_at: datetime
    seen_at: datetime
    call_id: int | None = None
    number: str | None = field(default=None, repr=False)
    answered_at: datetime | None = None
    n_rings: int = 0
    period: timedelta = RING_PERIOD

    @property
    def deadline(self) -> datetime:
        """When it has to be looked up."""
        if self.is_incoming and self.answered_at is None:
            return self.seen_at + 2 * max(self.period, _SHORTEST_PERIOD)
        return self.seen_at + _LOOK_EVERY


class CallFolder:
    """The calls of one bay that are under way. `number_of` brings a number into E.164 form."""

    def __init__(self, *, bay: str, iccid: str | None, number_of: Callable[[str], str]) -> None:
        self._bay = bay
        self._iccid = iccid
        self._number_of = number_of
        self._live: list[_Live] = []
        self._last_start: datetime | None = None
        self._ended_by_id_at: datetime | None = None

    @property
    def deadline(self) -> datetime | None:
        """When `overdue` calls have to be looked up; None while there is no call."""
        return min((one.deadline for one in self._live), default=None)

    def feed(self, event: CallEvent, now: datetime) -> Sequence[CallState]:
        """Take one line; the records that changed, as they are now."""
        match event.kind:
            case CallEventKind.RING | CallEventKind.CALLER:
                return self._incoming(event, now)
            case CallEventKind.DIALLING | CallEventKind.ALERTING:
                return self._outgoing(event, now)
            case CallEventKind.CONNECTED:
                return self._connected(event, now)
            case CallEventKind.ENDED:
                return self._ended(event, now)

    def is_overdue(self, now: datetime) -> bool:
        """Whether a call has to be looked up in the modem's list now."""
        return self.deadline is not None and now >= self.deadline

    def reconcile(self, current: Sequence[CurrentCall], now: datetime) -> Sequence[CallState]:
        """Compare overdue calls with what the modem lists; those it does not list are over."""
        changed: list[CallState] = []
        for one in [one for one in self._live if one.deadline <= now]:
            listed = next((call for call in current if _is_same(one, call)), None)
            if listed is None:
                told = one.seen_at if one.answered_at is None and one.is_incoming else now
                changed.append(self._end(one, told, "its end was not told"))
                continue
            one.seen_at = now
            one.call_id = listed.call_id
            if one.answered_at is None and listed.stat in _ACTIVE:
                one.answered_at = now
                changed.append(self._state(one))
        return changed

    def close(self, now: datetime, cause: str) -> Sequence[CallState]:
        """End all calls: the modem restarted or is gone."""
        return [self._end(one, now, cause) for one in list(self._live)]

    def _incoming(self, event: CallEvent, now: datetime) -> Sequence[CallState]:
        one = self._find(event, lambda live: live.is_incoming and live.answered_at is None)
        is_new = one is None
        if one is None:
            one = self._start(is_incoming=True, now=now)
        one.call_id = event.call_id if one.call_id is None else one.call_id
        is_news = is_new
        if event.number and one.number is None:
            one.number = self._number_of(event.number)
            is_news = True
        # A ring with an id (`^DSCI:`, `+CLCC:`) repeats a plain one: only those are counted.
        if event.kind is CallEventKind.RING and event.call_id is None:
            if one.n_rings:
                one.period = min(now - one.seen_at, RING_PERIOD)
            one.n_rings += 1
            one.seen_at = now
            is_news = is_news or one.n_rings == _TELLING_RING
        return [self._state(one)] if is_news else []

    def _outgoing(self, event: CallEvent, now: datetime) -> Sequence[CallState]:
        one = self._find(event, lambda live: not live.is_incoming and live.answered_at is None)
        is_news = one is None
        if one is None:
            one = self._start(is_incoming=False, now=now)
        one.call_id = event.call_id if one.call_id is None else one.call_id
        one.seen_at = now
        if event.number and one.number is None:
            one.number = self._number_of(event.number)
            is_news = True
        return [self._state(one)] if is_news else []

    def _connected(self, event: CallEvent, now: datetime) -> Sequence[CallState]:
        wanted = event.is_incoming
        one = self._find(event, lambda live: wanted in {None, live.is_incoming})
        if one is None:
            one = self._start(is_incoming=bool(wanted), now=now)
        if one.answered_at is not None:
            return []
        one.call_id = event.call_id if one.call_id is None else one.call_id
        one.answered_at = one.seen_at = now
        if event.number and one.number is None:
            one.number = self._number_of(event.number)
        return [self._state(one)]

    def _ended(self, event: CallEvent, now: datetime) -> Sequence[CallState]:
        if event.call_id is None and self._ended_by_id_at is not None:
            echo, self._ended_by_id_at = now - self._ended_by_id_at < _ECHO, None
            if echo:
                return []
        one = self._find(event, lambda live: event.is_incoming in {None, live.is_incoming})
        if one is None:
            return []
        if event.call_id is not None:
            self._ended_by_id_at = now
        if event.number and one.number is None:
            one.number = self._number_of(event.number)
        if one.answered_at is None and event.duration:
            one.answered_at = now - timedelta(seconds=event.duration)
        return [self._end(one, now, event.cause)]

    def _find(self, event: CallEvent, fits: Callable[[_Live], bool]) -> _Live | None:
        """The call that a line is about: by its id, else the newest that fits."""
        newest_first = self._live[::-1]
        if event.call_id is not None:
            for one in newest_first:
                if one.call_id == event.call_id:
                    return one
            newest_first = [one for one in newest_first if one.call_id is None]
        return next((one for one in newest_first if fits(one)), None)

    def _start(self, *, is_incoming: bool, now: datetime) -> _Live:
        if self._last_start is not None and now <= self._last_start:
            now = self._last_start + timedelta(milliseconds=1)  # bay and start are the record's key
        self._last_start = now
        one = _Live(is_incoming=is_incoming, started_at=now, seen_at=now)
        self._live.append(one)
        return one

    def _end(self, one: _Live, at: datetime, cause: str | None) -> CallState:
        self._live.remove(one)
        return self._state(one, ended_at=max(at, one.answered_at or one.started_at), cause=cause)

    def _state(
        self, one: _Live, *, ended_at: datetime | None = None, cause: str | None = None
    ) -> CallState:
        return CallState(
            iccid=self._iccid,
            bay=self._bay,
            is_incoming=one.is_incoming,
            number=one.number,
            started_at=one.started_at,
            answered_at=one.answered_at,
            ended_at=ended_at,
            n_rings=max(one.n_rings, one.is_incoming),  # told at all: it rang
            cause=cause,
        )


def _is_same(one: _Live, call: CurrentCall) -> bool:
    if one.call_id is not None:
        return one.call_id == call.call_id
    return one.is_incoming == call.is_incoming
