"""When a batch would be sent: a simulation of pace, limits, quiet hours and window (SIM-08).

Cards are alike and reckoned together: their caps are added up, time goes by in ticks, and where a
cap is full it leaps to where there is room. A million lines take as long as a hundred. What other
batches send before or in turn goes along, as if it could begin now.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, tzinfo
from typing import Final

from modemctl.policy.hours import Quiet, next_open
from modemctl.policy.quotas import Cap, Measure, ScopeKind, Span, bucket_of, first_bucket, fits_at

_FINE: Final = 5.0  # seconds: a bucket of a minute's cap
_COARSE: Final = 300.0  # seconds: a bucket of an hour's cap
_LONG: Final = 3_600.0  # seconds of work from which on the finer buckets do not show
_MINUTE_LASTS: Final = 65.0  # seconds that a full minute's cap takes to be empty again


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceiling:
    """A cap on all the cards together: `used` of it now; `setting` is its configuration key."""

    cap: Cap
    used: int
    setting: str
    kind: ScopeKind = ScopeKind.SIM

    def widened(self, times: float) -> Ceiling:
        """What all may send while some of them send as much as this one lets."""
        if times == 1:
            return self
        most = int(self.cap.most * times)
        cap = Cap(measure=self.cap.measure, span=self.cap.span, most=most)
        return replace(self, cap=cap, used=int(self.used * times))


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """Another batch that uses the same cards: what of it has not left yet, from when on it may."""

    priority: int
    department: str
    n_segments: int
    not_before: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Bank:
    """What would send: cards, the seconds from one segment of a card to its next, the caps.

    `fronts` use it too.
    """

    n_cards: int
    interval: float
    ceilings: tuple[Ceiling, ...]
    fronts: tuple[Front, ...] = ()

    def beside(self, n_segments: int, *, priority: int, department: str) -> tuple[Bank, int]:
        """The same for a batch of so many and what leaves before its last, and how many that is.

        What is of higher priority (0 before 1) goes first; the same goes in turn, so that of a
        longer batch as much leaves as of this one; what is lower waits.
        """
        ahead = [
            (one.n_segments if one.priority < priority else min(one.n_segments, n_segments), one)
            for one in self.fronts
            if one.priority <= priority
        ]
        total = n_segments + sum(n for n, _ in ahead)
        own = n_segments + sum(n for n, one in ahead if one.department == department)
        shares = {ScopeKind.BATCH: n_segments, ScopeKind.DEPARTMENT: own}
        ceilings = tuple(
            one.widened(total / max(1, shares.get(one.kind, total))) for one in self.ceilings
        )
        return replace(self, ceilings=ceilings), total - n_segments


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """The batch's window and what is quiet in it."""

    not_before: datetime
    not_after: datetime
    quiet: Quiet | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """When the last segment would leave; None: not within the window.

    `limits` are the settings that make it wait, `n_sent` how many segments leave in time.
    """

    finish: datetime | None
    limits: tuple[str, ...]
    n_sent: int


@dataclass(slots=True)
class _Counter:
    """One ceiling while time goes by."""

    cap: Cap
    setting: str
    used: dict[int, int] = field(default_factory=dict)

    def room(self, at: datetime, zone: tzinfo) -> int:
        """How many more fit at this moment."""
        first = first_bucket(self.cap.span, at, zone)
        if len(self.used) > 16:
            self.used = {bucket: n for bucket, n in self.used.items() if bucket >= first}
        return self.cap.most - sum(n for bucket, n in self.used.items() if bucket >= first)

    def add(self, n: int, at: datetime, zone: tzinfo) -> None:
        """Count some at this moment."""
        bucket = bucket_of(self.cap.span, at, zone)
        self.used[bucket] = self.used.get(bucket, 0) + n

    def opens(self, at: datetime, zone: tzinfo) -> datetime:
        """When one more fits."""
        return fits_at(self.used, self.cap, 1, steady=at, wall=at, zone=zone)


def forecast(
    n_segments: int, n_messages: int, bank: Bank, when: Opening, *, now: datetime, zone: tzinfo
) -> Forecast:
    """Let a batch of so many segments and messages go out from `now` on, in thought.

    `zone` is that of days and months.
    """
    if not n_segments:
        return Forecast(finish=now, limits=(), n_sent=0)
    if not bank.n_cards:
        return Forecast(finish=None, limits=(), n_sent=0)
    walk = _Walk(bank.n_cards / bank.interval, zone)
    walk.take(_in_segments(one, n_segments, n_messages) for one in bank.ceilings)
    walk.start(n_segments, now)
    return walk.run(n_segments, when, now)


@dataclass(slots=True)
class _Walk:
    """The simulation: `per_second` segments leave where nothing stops them."""

    per_second: float
    zone: tzinfo
    tick: float = _FINE
    ceilings: list[Ceiling] = field(default_factory=list)
    counters: list[_Counter] = field(default_factory=list)
    touched: dict[str, None] = field(default_factory=dict)

    def take(self, ceilings: Iterable[Ceiling]) -> None:
        """Keep these in mind."""
        self.ceilings = list(ceilings)

    def start(self, n_segments: int, now: datetime) -> None:
        """Choose the ticks: in hours of work a minute's cap is but a slower pace."""
        if n_segments / self.per_second > _LONG:
            self.tick = _COARSE
            minutes = [one for one in self.ceilings if one.cap.span is Span.MINUTE]
            self.ceilings = [one for one in self.ceilings if one.cap.span is not Span.MINUTE]
            for one in sorted(minutes, key=lambda one: one.cap.most):
                if one.cap.most / _MINUTE_LASTS < self.per_second:
                    self.per_second = one.cap.most / _MINUTE_LASTS
                    self.touched[one.setting] = None
        self.counters = [_counter(one, now, self.zone) for one in self.ceilings]

    def run(self, n_segments: int, when: Opening, now: datetime) -> Forecast:
        """Go on until all has left or the window is over."""
        left, carry = n_segments, 1.0  # the first leaves at once
        at = _open(when, now)
        while at is not None:
            ready = self.per_second * self.tick + carry
            n, opens = self._fitting(min(left, int(ready)), at)
            if opens is not None:
                carry, at = 1.0, _open(when, opens)
                continue
            for one in self.counters:
                one.add(n, at, self.zone)
            left -= n
            if not left:
                finish = at + timedelta(seconds=max(0.0, n - carry) / self.per_second)
                return self._end(finish if finish < when.not_after else None, n_segments)
            carry = min(ready - n, 1.0)
            at = _open(when, at + timedelta(seconds=self.tick))
        return self._end(None, n_segments - left)

    def _fitting(self, n: int, at: datetime) -> tuple[int, datetime | None]:
        """How many of `n` fit now; where none does, when one will."""
        rooms = [(one.room(at, self.zone), one) for one in self.counters]
        room, full = min(rooms, key=lambda one: one[0], default=(n, None))
        if full is None or room >= n:
            return n, None
        self.touched[full.setting] = None
        if room > 0:
            return room, None
        return 0, max(full.opens(at, self.zone), at + timedelta(seconds=1))

    def _end(self, finish: datetime | None, n_sent: int) -> Forecast:
        return Forecast(finish=finish, limits=tuple(self.touched), n_sent=n_sent)


def _open(when: Opening, at: datetime) -> datetime | None:
    return next_open(when.quiet, at, not_before=when.not_before, not_after=when.not_after)


def _in_segments(one: Ceiling, n_segments: int, n_messages: int) -> Ceiling:
    """The same ceiling in segments: messages of this batch need so many each."""
    if one.cap.measure is Measure.SEGMENTS or not n_messages:
        return one
    each = n_segments / n_messages
    cap = Cap(measure=Measure.SEGMENTS, span=one.cap.span, most=max(1, int(one.cap.most * each)))
    return replace(one, cap=cap, used=int(one.used * each))


def _counter(one: Ceiling, now: datetime, zone: tzinfo) -> _Counter:
    used: Mapping[int, int] = {bucket_of(one.cap.span, now, zone): one.used} if one.used else {}
    return _Counter(one.cap, one.setting, dict(used))
