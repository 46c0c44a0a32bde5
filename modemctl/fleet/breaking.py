"""The bank's breakers: who was blamed how often, and who may ask for work now.

They live in memory: after a restart everybody may try again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from modemctl.errors import StoreError
from modemctl.model import Bay, Iccid
from modemctl.policy.breakers import (
    BLAMED,
    RULES,
    Breaker,
    BreakerState,
    CarrierWatch,
    Target,
    begin_trial,
    carrier_fault,
    carrier_success,
    carrier_trip,
    end_trial,
    fault,
    forgive,
    is_shared,
    success,
    would_open,
)
from modemctl.store import Store, modems
from modemctl.store.modems import BreakerTurn
from modemctl.telemetry import Telemetry

_log = logging.getLogger(__name__)

_LOOK_AGAIN: Final = 5.0  # seconds until who waits for another's trial looks again
_UNTRIED: Final = Breaker()
_FRESH: Final = 30.0  # seconds for which a modem's success needs not be told its carrier again


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """Whose breakers count in a bay. `modem`: its IMEI, or the bay's name where none is known."""

    bay: Bay
    modem: str
    iccid: Iccid
    carrier: str | None


class Breakers:
    """One for the bank. `states` may be asked from any thread."""

    def __init__(self, store: Store, telemetry: Telemetry) -> None:
        self._store = store
        self._telemetry = telemetry
        self._modems: dict[str, Breaker] = {}
        self._cards: dict[Iccid, Breaker] = {}
        self._carriers: dict[str, CarrierWatch] = {}
        self._carrier_of: dict[str, str] = {}  # by modem, as it was last
        self._trials: dict[Bay, Seat] = {}

    def gate(self, seat: Callable[[], Seat]) -> Gate:
        """What a bay's work passes; `seat` is asked each time, for carriers change."""
        return Gate(self, seat)

    def states(self, seat: Seat) -> Mapping[Target, BreakerState]:
        """Where each breaker of a seat stands now."""
        now = self._now()
        return {target: one.state(now) for target, one in self._of(seat).items()}

    def opens_in(self, seat: Seat) -> float:
        """Seconds until the seat might pass, as far as is known; 0 where it may now."""
        now = self._now()
        waits = [
            max((one.until or now) - now, _LOOK_AGAIN if one.until and one.until <= now else 0.0)
            for one in self._of(seat).values()
            if not one.lets_pass(now)
        ]
        return max(waits, default=0.0)

    def enter(self, seat: Seat) -> bool:
        """Begin a message; of half-open breakers it is the trial. False where it may not."""
        now = self._now()
        found = self._of(seat)
        if not all(one.lets_pass(now) for one in found.values()):
            return False
        for target, one in found.items():
            if one.state(now) is BreakerState.HALF_OPEN:
                self._put(seat, target, begin_trial(one, now))
                self._trials[seat.bay] = seat
        return True

    def leave(self, bay: Bay) -> None:
        """The bay's trial, if it has one, ended without telling anything."""
        seat = self._trials.pop(bay, None)
        if seat is not None:
            for target, one in self._of(seat).items():
                if one.is_tried:
                    self._put(seat, target, end_trial(one))

    def note(self, seat: Seat, blame: str | None) -> Sequence[BreakerTurn]:
        """How a message fared: None = the network took it; whose breakers opened or closed."""
        now = self._now()
        before = self._of(seat)
        if seat.carrier is not None:
            self._carrier_of[seat.modem] = seat.carrier
        if blame is None:
            for target in before:
                self._succeed(seat, target, now)
        elif blame in BLAMED:
            self._fail(seat, BLAMED[blame], now)
        self.leave(seat.bay)
        after = self._of(seat)
        return [
            self._turn(seat, target, after[target], now)
            for target, one in before.items()
            if (one.until is None) != (after[target].until is None)
            or (after[target].until or 0) > (one.until or 0)
        ]

    async def tell(self, turns: Sequence[BreakerTurn]) -> None:
        """Log and store what opened or closed; a store that fails is only logged."""
        for turn in turns:
            facts = {"target": turn.target, "state": turn.state, "seconds": turn.seconds}
            _log.warning("breaker.turned", extra=facts)
            if turn.state == BreakerState.OPEN:
                self._telemetry.count("modemctl_breaker_trips_total", kind=turn.target)
            try:
                await self._store.write_in_set(modems.note_breaker, turn)
            except StoreError as error:
                _log.warning("breaker.not_noted", extra={"error": str(error)})

    def _now(self) -> float:
        return self._store.clock.monotonic()

    def _of(self, seat: Seat) -> dict[Target, Breaker]:
        found = {
            Target.MODEM: self._modems.get(seat.modem, _UNTRIED),
            Target.SIM: self._cards.get(seat.iccid, _UNTRIED),
        }
        if seat.carrier is not None:
            watch = self._carriers.get(seat.carrier)
            found[Target.CARRIER] = _UNTRIED if watch is None else watch.breaker
        return found

    def _put(self, seat: Seat, target: Target, breaker: Breaker) -> None:
        match target:
            case Target.MODEM:
                self._modems[seat.modem] = breaker
            case Target.SIM:
                self._cards[seat.iccid] = breaker
            case Target.CARRIER:
                assert seat.carrier is not None
                watch = self._carriers.get(seat.carrier, CarrierWatch())
                self._carriers[seat.carrier] = CarrierWatch(breaker=breaker, last=watch.last)

    def _fail(self, seat: Seat, target: Target, now: float) -> None:
        rule = RULES[target]
        if target is Target.MODEM and self._is_carriers(seat, now):
            return
        if target is not Target.CARRIER:
            self._put(seat, target, fault(self._of(seat)[target], rule, now))
        elif seat.carrier is not None:
            watch = self._carriers.get(seat.carrier, CarrierWatch())
            self._carriers[seat.carrier] = carrier_fault(watch, seat.modem, rule, now)

    def _is_carriers(self, seat: Seat, now: float) -> bool:
        """Blame the carrier where a modem's breaker would open for what its siblings suffer too."""
        if seat.carrier is None:
            return False
        rule, own = RULES[Target.MODEM], self._modems.get(seat.modem, Breaker())
        if not would_open(own, rule, now):
            return False
        alike = [one for one, carrier in self._carrier_of.items() if carrier == seat.carrier]
        known = {one: self._modems.get(one, Breaker()) for one in alike}
        if not is_shared(known.values(), rule, now):
            return False
        watch = self._carriers.get(seat.carrier, CarrierWatch())
        if watch.breaker.state(now) is not BreakerState.OPEN:
            self._carriers[seat.carrier] = carrier_trip(watch, RULES[Target.CARRIER], now)
        self._modems |= {one: forgive(breaker) for one, breaker in known.items()}
        return True

    def _succeed(self, seat: Seat, target: Target, now: float) -> None:
        rule = RULES[target]
        if target is not Target.CARRIER:
            self._put(seat, target, success(self._of(seat)[target], rule, now))
        elif seat.carrier is not None:
            watch = self._carriers.get(seat.carrier, CarrierWatch())
            at, has_failed = watch.last.get(seat.modem, (now, True))
            if watch.breaker.until is None and not has_failed and now - at < _FRESH:
                return  # known already; each message of a large bank comes by here
            self._carriers[seat.carrier] = carrier_success(watch, seat.modem, rule, now)

    def _turn(self, seat: Seat, target: Target, after: Breaker, now: float) -> BreakerTurn:
        return BreakerTurn(
            bay=seat.bay,
            iccid=seat.iccid,
            carrier=seat.carrier,
            target=target.value,
            state=after.state(now).value,
            seconds=0 if after.until is None else round(after.until - now),
        )


class Gate:
    """The breakers as one bay's work meets them."""

    def __init__(self, breakers: Breakers, seat: Callable[[], Seat]) -> None:
        self._breakers = breakers
        self._seat = seat
        self._bay = seat().bay

    @property
    def is_open(self) -> bool:
        """Whether any of the bay's breakers is open: nothing at hand may be sent."""
        return BreakerState.OPEN in self._breakers.states(self._seat()).values()

    def opens_in(self) -> float:
        """Seconds until work might pass; 0 where it may now."""
        return self._breakers.opens_in(self._seat())

    def enter(self) -> bool:
        """Begin a message; False where none may pass now. `leave` or `note` ends it."""
        return self._breakers.enter(self._seat())

    def leave(self) -> None:
        """The message that was begun tells nothing of anybody; the bay may have lost its card."""
        self._breakers.leave(self._bay)

    async def note(self, blame: str | None) -> None:
        """How a message fared: None = the network took it, else who is to blame."""
        await self._breakers.tell(self._breakers.note(self._seat(), blame))
