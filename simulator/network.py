"""The pretend network: a service centre that takes, queues, delivers and reports; a closed world.

What is sent to a card of the bank arrives at that card; anything else is taken and reported on.
Source: TS 23.040 §3.2 (service elements); at-dialects §4, §6.8 rows 10, 13.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from enum import StrEnum
from typing import Protocol

from simulator import pdu
from simulator.card import Card
from simulator.clock import Clock, Timer
from simulator.ledger import Fact, Ledger


class Verdict(StrEnum):
    """What a modem does with a TPDU that the network hands to it."""

    TAKEN = "taken"
    AWAITED = "awaited"  # shown to the client, which has to acknowledge
    NOT_NOW = "not_now"  # memory full or card not ready: the network keeps it


class Receiver(Protocol):
    """A registered modem, as the network sees it."""

    name: str

    def take_delivery(self, tpdu: bytes) -> Verdict:
        """Take a DELIVER or STATUS-REPORT."""
        ...


class ReportFate(StrEnum):
    """What becomes of a delivery report."""

    NORMAL = "normal"
    LOST = "lost"
    DOUBLED = "doubled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What the network does with matching submits; the first match of a list rules.

    `cms` refuses with that cause, `st` is the report's TP-ST, `count` strikes that often.
    """

    destination: str = ""
    iccid: str = ""
    cms: int | None = None
    st: int = 0
    report: ReportFate = ReportFate.NORMAL
    report_delay: float | None = None
    count: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """The network's pace, in seconds; `zone` is the service centre's, in hours."""

    latency: float = 0.5
    report_delay: float = 1.0
    zone: float = 8.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """The network took the segment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotTaken:
    """The network refused the segment: `+CMS ERROR: code`."""

    code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One segment on its way to the service centre."""

    modem: str
    card: Card
    mr: int
    tpdu: bytes
    submit: pdu.Submit


@dataclass(slots=True, kw_only=True)
class _Waiting:
    kind: str
    tpdu: bytes
    facts: dict[str, Fact]
    then: Callable[[], None] | None = None


@dataclass(slots=True, kw_only=True)
class _Subscriber:
    card: Card
    receiver: Receiver | None = None
    queue: deque[_Waiting] = field(default_factory=deque)
    is_awaiting: bool = False


class Network:
    """Carries SMS between cards and the world, and writes the ledger."""

    def __init__(self, *, clock: Clock, ledger: Ledger, times: Times) -> None:
        self._clock = clock
        self._ledger = ledger
        self.times = times
        self._rules: list[Rule] = []
        self._subscribers: dict[str, _Subscriber] = {}
        self._by_number: dict[str, _Subscriber] = {}
        self._forced: dict[str, int] = {}
        self._reference = 0

    # ------------------------------------------------------------ subscribers

    def subscribe(self, card: Card) -> None:
        """Make a card known; its number now belongs to the closed world."""
        subscriber = _Subscriber(card=card)
        self._subscribers[card.iccid] = subscriber
        self._by_number[_national(card.subscription.number)] = subscriber

    def attach(self, card: Card, receiver: Receiver) -> None:
        """The card is registered through this modem: what waits for it arrives."""
        subscriber = self._subscribers[card.iccid]
        subscriber.receiver = receiver
        subscriber.is_awaiting = False
        self._pump(subscriber)

    def detach(self, card: Card) -> None:
        """The card is not reachable any more; what was not acknowledged waits again."""
        subscriber = self._subscribers[card.iccid]
        subscriber.receiver = None
        subscriber.is_awaiting = False

    def admission(self, card: Card) -> int:
        """The `+CREG` status that this card gets: 1 unless forced."""
        return self._forced.get(card.iccid, 1)

    def force_registration(self, card: Card, stat: int | None) -> None:
        """Give this card another status from its next search on; None = normal again."""
        if stat is None:
            self._forced.pop(card.iccid, None)
        else:
            self._forced[card.iccid] = stat

    def set_rules(self, rules: Iterable[Rule]) -> None:
        """Replace the list of rules."""
        self._rules = list(rules)

    def add_rule(self, rule: Rule) -> None:
        """Put a rule in front of the others."""
        self._rules.insert(0, rule)

    def waiting(self, card: Card) -> int:
        """How many TPDUs wait for this card."""
        return len(self._subscribers[card.iccid].queue)

    # ------------------------------------------------------------ from the modems

    def submit(self, offer: Offer, done: Callable[[Taken | NotTaken], None]) -> Timer | None:
        """Offer a segment; `done` is told after the latency. Cancel the timer to take it back."""
        if self.times.latency <= 0:
            done(self._decide(offer))
            return None
        return self._clock.call_later(self.times.latency, lambda: done(self._decide(offer)))

    def acknowledge(self, card: Card, *, is_taken: bool) -> None:
        """The client acknowledged (or refused) the delivery that waits for it."""
        subscriber = self._subscribers[card.iccid]
        if not subscriber.is_awaiting:
            return
        subscriber.is_awaiting = False
        if is_taken:
            self._delivered(subscriber, subscriber.queue.popleft())
            self._pump(subscriber)

    def memory_available(self, card: Card) -> None:
        """There is room again: try what waits. Source: TS 23.040 §3.2.6 (alerting)."""
        subscriber = self._subscribers[card.iccid]
        if subscriber.queue:
            self._pump(subscriber)

    # ------------------------------------------------------------ from outside

    def send_text(
        self, *, to: Card, origin: str, text: str, dcs: int | None = None, pid: int = 0
    ) -> int:
        """Send a text to a card as a stranger would; returns the number of segments.

        Raises:
            PduError: the sender's address or the text cannot be coded.
        """
        self._reference = self._reference % 255 + 1
        parts = pdu.segments(text, reference=self._reference, dcs=dcs)
        source = pdu.address(origin)
        for data in parts:
            deliver = pdu.Deliver(origin=source, pid=pid, scts=self._local(), data=data)
            self._queue_deliver(to, deliver)
        return len(parts)

    def send_raw(self, *, to: Card, tpdu: bytes) -> None:
        """Send octets to a card as they are, whatever they hold."""
        subscriber = self._subscribers[to.iccid]
        facts: dict[str, Fact] = {"from": None, "text": None}
        subscriber.queue.append(_Waiting(kind="deliver", tpdu=tpdu, facts=facts))
        self._pump(subscriber)

    # ------------------------------------------------------------ the service centre

    def _decide(self, offer: Offer) -> Taken | NotTaken:
        rule = self._rule(offer)
        facts = self._facts(offer)
        if rule.cms is not None:
            self._ledger.add("refused", **facts, outcome=f"cms:{rule.cms}")
            return NotTaken(code=rule.cms)
        self._ledger.add("submit", **facts, outcome="taken")
        scts = self._local()
        report = self._reporter(offer, rule, scts)
        subscriber = self._by_number.get(_national(offer.submit.destination.number))
        if subscriber is not None:
            deliver = pdu.Deliver(
                origin=pdu.address(offer.card.subscription.number),
                pid=offer.submit.pid,
                scts=scts,
                data=offer.submit.data,
                report_follows=offer.submit.wants_report,
            )
            self._queue_deliver(subscriber.card, deliver, then=report)
        elif report is not None:
            report()
        return Taken()

    def _rule(self, offer: Offer) -> Rule:
        for index, rule in enumerate(self._rules):
            if not offer.submit.destination.number.startswith(rule.destination):
                continue
            if rule.iccid not in {"", offer.card.iccid}:
                continue
            if rule.count is not None:
                if rule.count <= 1:
                    del self._rules[index]
                else:
                    self._rules[index] = replace(rule, count=rule.count - 1)
            return rule
        return Rule()

    def _reporter(self, offer: Offer, rule: Rule, scts: datetime) -> Callable[[], None] | None:
        if not offer.submit.wants_report or rule.report is ReportFate.LOST:
            return None
        delay = self.times.report_delay if rule.report_delay is None else rule.report_delay
        times = 2 if rule.report is ReportFate.DOUBLED else 1

        def report() -> None:
            for _ in range(times):
                self._clock.call_later(delay, lambda: self._report(offer, rule.st, scts))

        return report

    def _report(self, offer: Offer, st: int, scts: datetime) -> None:
        report = pdu.StatusReport(
            mr=offer.mr,
            recipient=offer.submit.destination,
            scts=scts,
            discharged=self._local(),
            st=st,
        )
        subscriber = self._subscribers[offer.card.iccid]
        facts: dict[str, Fact] = {
            "destination": offer.submit.destination.number,
            "mr": offer.mr,
            "st": st,
        }
        tpdu = pdu.encode_status_report(report)
        subscriber.queue.append(_Waiting(kind="report", tpdu=tpdu, facts=facts))
        self._pump(subscriber)

    def _queue_deliver(
        self, card: Card, deliver: pdu.Deliver, *, then: Callable[[], None] | None = None
    ) -> None:
        subscriber = self._subscribers[card.iccid]
        facts: dict[str, Fact] = {
            "from": deliver.origin.number,
            "text": deliver.data.text,
            "concat": _concat(deliver.data),
        }
        tpdu = pdu.encode_deliver(deliver)
        subscriber.queue.append(_Waiting(kind="deliver", tpdu=tpdu, facts=facts, then=then))
        self._pump(subscriber)

    def _pump(self, subscriber: _Subscriber) -> None:
        while subscriber.queue and not subscriber.is_awaiting:
            receiver = subscriber.receiver
            if receiver is None:
                return
            match receiver.take_delivery(subscriber.queue[0].tpdu):
                case Verdict.TAKEN:
                    self._delivered(subscriber, subscriber.queue.popleft())
                case Verdict.AWAITED:
                    subscriber.is_awaiting = True
                case Verdict.NOT_NOW:
                    return

    def _delivered(self, subscriber: _Subscriber, waiting: _Waiting) -> None:
        receiver = subscriber.receiver
        self._ledger.add(
            waiting.kind,
            time=self._stamp(),
            modem=receiver.name if receiver is not None else None,
            iccid=subscriber.card.iccid,
            **waiting.facts,
            tpdu=waiting.tpdu.hex().upper(),
            outcome="taken",
        )
        if waiting.then is not None:
            waiting.then()

    def _facts(self, offer: Offer) -> dict[str, Fact]:
        data = offer.submit.data
        return {
            "time": self._stamp(),
            "modem": offer.modem,
            "iccid": offer.card.iccid,
            "from": offer.card.subscription.number,
            "destination": offer.submit.destination.number,
            "mr": offer.mr,
            "text": data.text,
            "coding": pdu.coding(data.dcs).value,
            "concat": _concat(data),
            "wants_report": offer.submit.wants_report,
            "tpdu": offer.tpdu.hex().upper(),
        }

    def _stamp(self) -> str:
        return self._clock.now().isoformat(timespec="milliseconds")

    def _local(self) -> datetime:
        return self._clock.now().astimezone(timezone(timedelta(hours=self.times.zone)))


def _concat(data: pdu.UserData) -> Fact:
    concat = data.concat
    if concat is None:
        return None
    return {"ref": concat.reference, "total": concat.total, "seq": concat.sequence}


def _national(number: str) -> str:
    # A person dials +8613…, 008613… or 13…: all are the same subscriber.
    digits = number.removeprefix("+").removeprefix("00")
    return digits[2:] if digits.startswith("86") and len(digits) == 13 else digits
