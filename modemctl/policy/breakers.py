"""Who fails again and again is left alone for a while: breakers per modem, card and carrier.

Pure: values in, values out; times are seconds of any clock that only grows. A breaker opens after
failures that are its own target's fault and nobody else's: so many in a row, or so many of the
latest messages, for who fails every second one is sick too. When its time is over it is half open:
one message may try. What the message itself is to blame for never opens anything (design §8).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Target(StrEnum):
    """What a breaker stands for."""

    MODEM = "modem"
    SIM = "sim"
    CARRIER = "carrier"


class BreakerState(StrEnum):
    """Whether messages pass."""

    CLOSED = "closed"  # they do
    OPEN = "open"  # none does
    HALF_OPEN = "half_open"  # one may try


RECENT: Final = 20
"""Messages of which a share is taken. Of a modem that fails 2 in 100, five of twenty fail by chance
once in 20,000 times; of one that fails every second message, almost always."""

HORIZON: Final = 14_400.0
"""Seconds after which an outcome counts for no share: what was sick then may be well by now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """`n_faults` in a row (of a carrier: modems that fail) open it for `first` seconds.

    So do `n_share` of the latest `RECENT` messages. Each time that a trial fails it stays open
    twice as long, `longest` at most; after `n_calm` successes it begins with `first` again.
    """

    n_faults: int
    first: float
    longest: float
    n_share: int = RECENT
    n_calm: int = 20


RULES: Final[Mapping[Target, Rule]] = MappingProxyType({
    # Each fault of a modem may leave a message in doubt: a quarter of them is too much.
    Target.MODEM: Rule(n_faults=5, n_share=5, first=60.0, longest=3_600.0),
    # Barred cards stay barred long; but some recipients refuse, and that looks alike.
    Target.SIM: Rule(n_faults=4, n_share=10, first=600.0, longest=21_600.0),
    Target.CARRIER: Rule(n_faults=3, first=60.0, longest=1_800.0),
})  # fmt: skip
"""How patient each kind is."""

WINDOW: Final = 300.0
"""Seconds for which a modem's last outcome tells something of its carrier."""

BLAMED: Final[Mapping[str, Target]] = MappingProxyType(
    {"modem": Target.MODEM, "sim": Target.SIM, "network": Target.CARRIER}
)
"""Blame → whose breaker counts it; `message` and `host` are nobody's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """One target's. `until`: open until then, None while closed; `is_tried`: a trial is out.

    `recent`: the latest outcomes, oldest first (moment, whether it failed). They outlive a trial:
    who comes back fails no second time before its window is clean.
    """

    n_faults: int = 0
    recent: tuple[tuple[float, bool], ...] = ()
    n_trips: int = 0
    n_calm: int = 0
    until: float | None = None
    is_tried: bool = False

    def state(self, now: float) -> BreakerState:
        """Where it stands at a moment."""
        if self.until is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now < self.until else BreakerState.HALF_OPEN

    def lets_pass(self, now: float) -> bool:
        """Whether a message may go now."""
        return self.until is None or (now >= self.until and not self.is_tried)


def fault(breaker: Breaker, rule: Rule, now: float) -> Breaker:
    """One more failure that is the target's own fault."""
    if breaker.state(now) is BreakerState.OPEN:  # of a message that was on its way before
        return breaker
    if would_open(breaker, rule, now):
        return _trip(breaker, rule, now)
    recent = _with(breaker, now, has_failed=True)
    return replace(breaker, n_faults=breaker.n_faults + 1, n_calm=0, recent=recent)


def would_open(breaker: Breaker, rule: Rule, now: float) -> bool:
    """Whether one more failure now opens it."""
    match breaker.state(now):
        case BreakerState.OPEN:
            return False
        case BreakerState.HALF_OPEN:
            return True
        case BreakerState.CLOSED:
            is_row = breaker.n_faults + 1 >= rule.n_faults
            return is_row or _n_failed(_with(breaker, now, has_failed=True)) >= rule.n_share


def success(breaker: Breaker, rule: Rule, now: float) -> Breaker:
    """A message went through."""
    n_calm = breaker.n_calm + 1
    n_trips = 0 if n_calm >= rule.n_calm else breaker.n_trips
    recent = _with(breaker, now, has_failed=False)
    return Breaker(n_trips=n_trips, n_calm=min(n_calm, rule.n_calm), recent=recent)


def forgive(breaker: Breaker) -> Breaker:
    """What was counted was another's fault."""
    return replace(breaker, n_faults=0, recent=())


def begin_trial(breaker: Breaker, now: float) -> Breaker:
    """A message that may pass goes; of a half-open breaker it is the only one."""
    if breaker.state(now) is BreakerState.HALF_OPEN:
        return replace(breaker, is_tried=True)
    return breaker


def end_trial(breaker: Breaker) -> Breaker:
    """The trial ended without telling anything of the target: the next one may try."""
    return replace(breaker, is_tried=False)


def _trip(breaker: Breaker, rule: Rule, now: float) -> Breaker:
    seconds = min(rule.first * 2 ** min(breaker.n_trips, 30), rule.longest)
    recent = _with(breaker, now, has_failed=True)
    return Breaker(n_trips=breaker.n_trips + 1, until=now + seconds, recent=recent)


def _with(breaker: Breaker, now: float, *, has_failed: bool) -> tuple[tuple[float, bool], ...]:
    fresh = [told for told in breaker.recent[1 - RECENT :] if told[0] > now - HORIZON]
    return (*fresh, (now, has_failed))


def _n_failed(recent: Iterable[tuple[float, bool]]) -> int:
    return sum(has_failed for _, has_failed in recent)


@dataclass(frozen=True, slots=True, kw_only=True)
class CarrierWatch:
    """A carrier's breaker, and how each of its modems fared last (moment, whether it failed)."""

    breaker: Breaker = field(default_factory=Breaker)
    last: Mapping[str, tuple[float, bool]] = field(default_factory=dict)


def carrier_fault(watch: CarrierWatch, modem: str, rule: Rule, now: float) -> CarrierWatch:
    """The network failed one modem: many of them, and more than half, mean the carrier."""
    last = {**_recent(watch, now), modem: (now, True)}
    n_failing = sum(has_failed for _, has_failed in last.values())
    breaker = watch.breaker
    match breaker.state(now):
        case BreakerState.HALF_OPEN:
            breaker = _trip(breaker, rule, now)
        case BreakerState.CLOSED if n_failing >= rule.n_faults and 2 * n_failing > len(last):
            breaker = _trip(breaker, rule, now)
        case _:
            pass
    return CarrierWatch(breaker=breaker, last=last)


def carrier_success(watch: CarrierWatch, modem: str, rule: Rule, now: float) -> CarrierWatch:
    """The network took a message of one modem: it works."""
    last = {**_recent(watch, now), modem: (now, False)}
    return CarrierWatch(breaker=success(watch.breaker, rule, now), last=last)


def is_shared(modems: Iterable[Breaker], rule: Rule, now: float) -> bool:
    """Whether failures that modems are blamed for befall almost all modems of one carrier alike.

    Modems answer "unknown error", or nothing, where a network or service centre stands still. What
    three of them suffer, and fewer than one in four is spared, is no modem's own. `modems`: those
    of the carrier, each with its outcomes; `rule`: the modems'.
    """
    told = [[one for one in modem.recent if one[0] > now - WINDOW] for modem in modems]
    active = [recent for recent in told if recent]
    n_troubled = sum(2 * _n_failed(recent) >= rule.n_share for recent in active)
    return n_troubled >= _N_ALIKE and 4 * n_troubled > 3 * len(active)


_N_ALIKE: Final = 3


def carrier_trip(watch: CarrierWatch, rule: Rule, now: float) -> CarrierWatch:
    """The carrier fails its modems, whatever each of them told."""
    return replace(watch, breaker=_trip(watch.breaker, rule, now))


def _recent(watch: CarrierWatch, now: float) -> dict[str, tuple[float, bool]]:
    return {name: told for name, told in watch.last.items() if told[0] > now - WINDOW}
