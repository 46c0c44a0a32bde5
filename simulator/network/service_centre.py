"""The service centre: keeps what was sent until it is delivered or too old, and reports on it.

Source: TS 23.040 §3.2.1 (validity), §3.2.6 (alerting), §9.2.3.15 (TP-ST).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cache, partial
from typing import Final, TypeAlias

from simulator import pdu
from simulator.clock import Clock
from simulator.dice import Dice
from simulator.ledger import Fact, Ledger
from simulator.network import validity
from simulator.network.rules import Offer, ReportFate, Rule
from simulator.network.subscriber import Subscriber, Verdict, Waiting

_EXPIRED: Final = 0x46
_GAVE_UP: Final = 0x62  # no response from the SME, the centre does not try again
_DELETED: Final = 0x48  # by the centre's own decision
_PERMANENT: Final = 0x40

QUEUE_MOST: Final = 5000
"""So many TPDUs may wait for one card; what comes beyond is given up."""

_GivenUp: TypeAlias = Callable[[int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """The network's pace, in seconds, where a carrier has none of its own; `zone` in hours."""

    latency: float = 0.5
    report_delay: float = 1.0
    zone: float = 8.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A segment that was taken at `scts`, by the rule that it fell under."""

    offer: Offer
    rule: Rule
    sender: Subscriber
    scts: datetime

    @property
    def asked(self) -> validity.Validity:
        """The validity that it asks for."""
        return validity.read(self.offer.submit, self.scts)

    @property
    def expires(self) -> datetime:
        """When the centre gives it up."""
        carrier = self.sender.carrier
        default, most = carrier.validity, carrier.validity_most
        return validity.end(self.asked, self.scts, default=default, most=most)


class ServiceCentre:
    """Takes, queues, delivers, retries, expires and reports."""

    def __init__(self, *, clock: Clock, ledger: Ledger, times: Times, dice: Dice) -> None:
        self._clock = clock
        self._ledger = ledger
        self._dice = dice
        self.times = times

    def now(self) -> datetime:
        """The moment as the centre writes it down, in its zone."""
        return self._clock.now().astimezone(_zone(self.times.zone))

    def stamp(self) -> str:
        """The moment as the ledger has it."""
        return self._clock.now().isoformat(timespec="milliseconds")

    # ------------------------------------------------------------ what cards sent

    def accept(self, message: Message, recipient: Subscriber | None) -> None:
        """Send a segment on its way; None = the recipient is somewhere outside."""
        rule = message.rule
        if message.offer.submit.wants_report:
            self._report_before(message)
        if rule.st >= _PERMANENT:
            self._report_end(message, rule.st)
        elif rule.unreachable or rule.unreachable_for is not None:
            self._hold(message, recipient)
        else:
            self._forward(message, recipient)

    def _hold(self, message: Message, recipient: Subscriber | None) -> None:
        left = self._seconds_until(message.expires)
        seconds = message.rule.unreachable_for
        if seconds is not None and seconds < left:
            self._clock.call_later(seconds, lambda: self._forward(message, recipient))
        else:
            self._clock.call_later(left, lambda: self._expire(message))

    def _forward(self, message: Message, recipient: Subscriber | None) -> None:
        if recipient is None:
            self._report_end(message, message.rule.st)
            return
        delivery = message.sender.carrier.delivery
        if delivery is None:
            self._bring(message, recipient)
            return
        seconds = delivery.take(message.sender.chance("delivery", self._dice).draw)
        self._clock.call_later(seconds, lambda: self._bring(message, recipient))

    def _bring(self, message: Message, recipient: Subscriber) -> None:
        submit = message.offer.submit
        deliver = pdu.Deliver(
            origin=pdu.address(message.offer.card.subscription.number),
            pid=submit.pid,
            scts=message.scts,
            data=submit.data,
            report_follows=submit.wants_report,
        )
        waiting = waiting_deliver(deliver)
        waiting.then = lambda: self._report_end(message, message.rule.st)
        given_up = partial(self._expire, message)
        self._put(recipient, waiting, given_up)
        if waiting.is_done:
            return
        if message.asked.single_shot and not recipient.is_awaiting:
            self._give_up(recipient, waiting, partial(given_up, _GAVE_UP))
            return
        self._limit(recipient, waiting, self._seconds_until(message.expires), given_up)

    def _limit(
        self, recipient: Subscriber, waiting: Waiting, seconds: float, given_up: _GivenUp
    ) -> None:
        told = partial(given_up, _EXPIRED)
        waiting.timer = self._clock.call_later(
            seconds, lambda: self._give_up(recipient, waiting, told)
        )

    def _give_up(self, recipient: Subscriber, waiting: Waiting, told: Callable[[], None]) -> None:
        if waiting.is_done:
            return
        if recipient.is_awaiting and recipient.queue[0] is waiting:
            # It may still be acknowledged: then it was in time.
            waiting.over = lambda: self._give_up(recipient, waiting, told)
            return
        waiting.is_done = True
        recipient.queue.remove(waiting)
        told()
        self.pump(recipient)

    def _expire(self, message: Message, st: int = _EXPIRED) -> None:
        offer = message.offer
        self._ledger.add(
            "expired",
            time=self.stamp(),
            modem=offer.modem,
            iccid=offer.card.iccid,
            destination=offer.submit.destination.number,
            mr=offer.mr,
            st=st,
            what="submit",
        )
        self._report_end(message, st)

    # ------------------------------------------------------------ reports

    def _report_before(self, message: Message) -> None:
        delay = 0.0
        for st in message.rule.temporary:
            delay += self._delay(message)
            self._report_after(delay, message, st)

    def _report_end(self, message: Message, st: int) -> None:
        fate = message.rule.report
        if not message.offer.submit.wants_report or fate is ReportFate.LOST:
            return
        delay = self._delay(message) * (1 + len(message.rule.temporary))
        if fate is ReportFate.LATE:
            delay += max(0.0, self._seconds_until(message.expires))
        for _ in range(2 if fate is ReportFate.DOUBLED else 1):
            self._report_after(delay, message, st)

    def _report_after(self, delay: float, message: Message, st: int) -> None:
        self._clock.call_later(delay, lambda: self._report(message, st))

    def _delay(self, message: Message) -> float:
        if message.rule.report_delay is not None:
            return message.rule.report_delay
        latency = message.sender.carrier.report_delay
        if latency is None:
            return self.times.report_delay
        return latency.take(message.sender.chance("report", self._dice).draw)

    def _report(self, message: Message, st: int) -> None:
        offer = message.offer
        report = pdu.StatusReport(
            mr=offer.mr,
            recipient=offer.submit.destination,
            scts=message.scts,
            discharged=self.now(),
            st=st,
        )
        facts: dict[str, Fact] = {
            "destination": offer.submit.destination.number,
            "mr": offer.mr,
            "st": st,
        }
        tpdu = pdu.encode_status_report(report)
        self.bring(message.sender, Waiting(kind="report", tpdu=tpdu, facts=facts))

    # ------------------------------------------------------------ to the cards

    def bring(self, subscriber: Subscriber, waiting: Waiting) -> None:
        """Bring a TPDU that no card sent, for as long as the recipient's carrier tries."""
        given_up = partial(self._lapse, subscriber, waiting)
        self._put(subscriber, waiting, given_up)
        if not waiting.is_done:
            carrier = subscriber.carrier
            seconds = min(carrier.validity, carrier.validity_most)
            self._limit(subscriber, waiting, seconds, given_up)

    def _put(self, subscriber: Subscriber, waiting: Waiting, given_up: _GivenUp) -> None:
        """Queue it, and bring it where the card can be reached."""
        if len(subscriber.queue) >= QUEUE_MOST:
            waiting.is_done = True
            given_up(_DELETED)
            return
        subscriber.queue.append(waiting)
        self.pump(subscriber)

    def _lapse(self, subscriber: Subscriber, waiting: Waiting, st: int) -> None:
        facts: dict[str, Fact] = {**waiting.facts, "st": st, "what": waiting.kind}
        self._ledger.add(
            "expired",
            time=self.stamp(),
            modem=None,
            iccid=subscriber.card.iccid,
            **facts,
            tpdu=waiting.tpdu.hex().upper(),
        )

    def pump(self, subscriber: Subscriber) -> None:
        """Bring what waits, as far as the modem takes it; try again later where it does not."""
        while subscriber.queue and not subscriber.is_awaiting:
            receiver = subscriber.receiver
            if receiver is None:
                return
            match receiver.take_delivery(subscriber.queue[0].tpdu):
                case Verdict.TAKEN:
                    self._delivered(subscriber)
                case Verdict.AWAITED:
                    subscriber.is_awaiting = True
                case Verdict.NOT_NOW:
                    self._retry(subscriber)
                    return

    def acknowledge(self, subscriber: Subscriber, *, is_taken: bool) -> None:
        """The client acknowledged (or refused) the delivery that waits for it."""
        if not subscriber.is_awaiting:
            return
        if is_taken:
            subscriber.is_awaiting = False
            self._delivered(subscriber)
            self.pump(subscriber)
        else:
            self.unacknowledged(subscriber)
            self._retry(subscriber)

    def unacknowledged(self, subscriber: Subscriber) -> None:
        """What was shown waits again, unless its time is over."""
        was_awaiting, subscriber.is_awaiting = subscriber.is_awaiting, False
        over = subscriber.queue[0].over if was_awaiting else None
        if over is not None:
            over()

    def _retry(self, subscriber: Subscriber) -> None:
        seconds = subscriber.carrier.retry
        if subscriber.retry is None and seconds:
            subscriber.retry = self._clock.call_later(seconds, lambda: self._again(subscriber))

    def _again(self, subscriber: Subscriber) -> None:
        subscriber.retry = None
        self.pump(subscriber)

    def _delivered(self, subscriber: Subscriber) -> None:
        waiting = subscriber.queue.popleft()
        waiting.is_done = True
        if waiting.timer is not None:
            waiting.timer.cancel()
        receiver = subscriber.receiver
        self._ledger.add(
            waiting.kind,
            time=self.stamp(),
            modem=receiver.name if receiver is not None else None,
            iccid=subscriber.card.iccid,
            **waiting.facts,
            tpdu=waiting.tpdu.hex().upper(),
            outcome="taken",
        )
        if waiting.then is not None:
            waiting.then()

    def _seconds_until(self, moment: datetime) -> float:
        return max(0.0, (moment - self._clock.now()).total_seconds())


@cache
def _zone(hours: float) -> timezone:
    return timezone(timedelta(hours=hours))


def waiting_deliver(deliver: pdu.Deliver) -> Waiting:
    """A DELIVER on its way to a card."""
    facts: dict[str, Fact] = {
        "from": deliver.origin.number,
        "text": deliver.data.text,
        "concat": concat(deliver.data),
    }
    return Waiting(kind="deliver", tpdu=pdu.encode_deliver(deliver), facts=facts)


def concat(data: pdu.UserData) -> Fact:
    """Where a segment belongs, as the ledger has it; None where it is alone."""
    found = data.concat
    if found is None:
        return None
    return {"ref": found.reference, "total": found.total, "seq": found.sequence}
