"""The door of the network: a segment waits its turn, and is taken, refused or lost.

Source: TS 23.040 §3.2 (service elements), TS 24.011 §8.2.5.4 (RP-causes); at-dialects §4.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from simulator import pdu
from simulator.clock import Clock, Timer
from simulator.dice import Dice
from simulator.ledger import Fact, Ledger
from simulator.network.latency import Latency
from simulator.network.rules import Fate, Offer, Rule, Rulebook
from simulator.network.service_centre import Message, ServiceCentre, concat
from simulator.network.subscriber import Subscriber

_CONGESTION: Final = 42
_TIMEOUT: Final = 332
_SILENCE_SECONDS: Final = 150.0
_PLAIN: Final = Rule()


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """The network took the segment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotTaken:
    """The network refused the segment: `+CMS ERROR: code`."""

    code: int


Done: TypeAlias = Callable[[Taken | NotTaken], None]
_TAKEN: Final = Taken()


class OnAir:
    """A segment between modem and service centre; it can be taken back until it is there.

    `is_decided`: it has arrived, only the answer may still be on its way.
    """

    __slots__ = ("is_decided", "timer")

    def __init__(self) -> None:
        self.timer: Timer | None = None
        self.is_decided = False

    def cancel(self) -> None:
        """Power failed: what has not arrived does not arrive, what comes back finds nobody."""
        if self.timer is not None:
            self.timer.cancel()


class Intake:
    """Takes what modems offer. `find` gives the card of a number, None where it is outside."""

    def __init__(
        self,
        *,
        clock: Clock,
        ledger: Ledger,
        dice: Dice,
        centre: ServiceCentre,
        find: Callable[[str], Subscriber | None],
    ) -> None:
        self._clock = clock
        self._ledger = ledger
        self._dice = dice
        self._centre = centre
        self._find = find
        self.rules: Rulebook[Rule] = Rulebook(name="rule", dice=dice)
        self.latencies: dict[str, Latency] = {}
        self._free_at: dict[str, datetime] = {}

    def submit(self, subscriber: Subscriber, offer: Offer, done: Done) -> Timer | None:
        """Take a segment; `done` is told. Cancel the timer to take it back."""
        delay, refusal = self._delay(subscriber)
        air = OnAir()
        if delay <= 0:
            self._settle(offer, subscriber, refusal, done, air)
            return air if air.timer is not None else None
        air.timer = self._clock.call_later(
            delay, lambda: self._settle(offer, subscriber, refusal, done, air)
        )
        return air

    def latency(self, subscriber: Subscriber, kind: str) -> float:
        """How long the card's network takes now; drawn from the card's own row of this kind."""
        carrier = subscriber.carrier
        latency = self.latencies.get(carrier.name) if self.latencies else None
        latency = latency or carrier.latency
        if latency is None:
            return self._centre.times.latency
        return latency.take(subscriber.chance(kind, self._dice).draw)

    def _delay(self, subscriber: Subscriber) -> tuple[float, int | None]:
        """Seconds until the centre decides, and the cause where its queue is full."""
        carrier = subscriber.carrier
        delay = self.latency(subscriber, "latency")
        if not carrier.per_second:
            return delay, None
        now = self._clock.now()
        free_at = max(now, self._free_at.get(carrier.name, now))
        queued = (free_at - now).total_seconds()
        if carrier.queue and queued * carrier.per_second >= carrier.queue:
            return delay, _CONGESTION
        self._free_at[carrier.name] = free_at + timedelta(seconds=1 / carrier.per_second)
        return delay + queued, None

    def _settle(
        self,
        offer: Offer,
        subscriber: Subscriber,
        refusal: int | None,
        done: Done,
        air: OnAir,
    ) -> None:
        rule = self._rule(offer, subscriber) if self.rules else _PLAIN
        air.is_decided = True
        answer = self._decide(offer, subscriber, rule, refusal)
        air.timer = None
        if answer is None:
            # The modem gives up by itself. Source: at-dialects §1.5.
            lost = NotTaken(code=_TIMEOUT)
            air.timer = self._clock.call_later(_SILENCE_SECONDS, lambda: done(lost))
        elif rule.answer_delay <= 0:
            done(answer)
        else:
            air.timer = self._clock.call_later(rule.answer_delay, lambda: done(answer))

    def _decide(
        self, offer: Offer, subscriber: Subscriber, rule: Rule, refusal: int | None
    ) -> Taken | NotTaken | None:
        """Take or refuse it; None = the modem never hears."""
        if rule.outcome is Fate.SILENCE:
            self._ledger.add("refused", **self._facts(offer), outcome="silence")
            return None
        code = refusal if refusal is not None else self._refusal(subscriber, rule)
        if code is not None:
            self._ledger.add("refused", **self._facts(offer), outcome=f"cms:{code}")
            return NotTaken(code=code)
        self._ledger.add("submit", **self._facts(offer), outcome="taken")
        recipient = self._find(offer.submit.destination.number)
        if recipient is not None or offer.submit.wants_report:
            message = Message(offer=offer, rule=rule, sender=subscriber, scts=self._centre.now())
            self._centre.accept(message, recipient)
        match rule.outcome:
            case Fate.TAKEN_SILENCE:
                return None
            case Fate.TAKEN_ERROR:
                return NotTaken(code=_TIMEOUT if rule.cms is None else rule.cms)
        return _TAKEN

    @staticmethod
    def _refusal(subscriber: Subscriber, rule: Rule) -> int | None:
        account = subscriber.account
        # Who is cut off does not get as far as the rules; who is refused pays and counts nothing.
        if account.bar is None and rule.cms is not None and rule.outcome is not Fate.TAKEN_ERROR:
            return rule.cms
        return account.refusal()

    def _rule(self, offer: Offer, subscriber: Subscriber) -> Rule:
        name = subscriber.carrier.name
        return self.rules.pick(lambda rule: rule.fits(offer, name), who=offer.card.iccid) or _PLAIN

    def _facts(self, offer: Offer) -> dict[str, Fact]:
        data = offer.submit.data
        return {
            "time": self._centre.stamp(),
            "modem": offer.modem,
            "iccid": offer.card.iccid,
            "from": offer.card.subscription.number,
            "destination": offer.submit.destination.number,
            "mr": offer.mr,
            "text": data.text,
            "coding": pdu.coding(data.dcs).value,
            "concat": concat(data),
            "wants_report": offer.submit.wants_report,
            "tpdu": offer.tpdu.hex().upper(),
        }
