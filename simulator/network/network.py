"""The pretend network: carriers let cards in, take what they send, and bring what is for them.

A closed world: what is sent to a card of the bank arrives at that card, who calls it makes it
ring; anything else is taken, and reported on, by rules. Randomness is each card's own.
Source: TS 23.040 §3.2 (service elements); at-dialects §4, §6.8 rows 10, 13, 14, 15.
"""

from __future__ import annotations

from collections.abc import Iterable

from simulator import pdu
from simulator.cards.card import Card
from simulator.clock import Clock, Timer
from simulator.dice import Dice
from simulator.ledger import Fact, Ledger
from simulator.network.carriers import CMCC, Carrier, Coverage, Place
from simulator.network.exchange import Caller, CallRule, Exchange
from simulator.network.intake import Done, Intake, NotTaken, Taken
from simulator.network.latency import Latency
from simulator.network.numbers import national
from simulator.network.rules import Fate, Offer, ReportFate, Rule
from simulator.network.service_centre import ServiceCentre, Times, waiting_deliver
from simulator.network.subscriber import Account, Receiver, Subscriber, Verdict, Waiting
from simulator.network.ussd import Menu, Party, Progress, Reply, UssdDesk

__all__ = (
    "Fate",
    "Network",
    "NotTaken",
    "Offer",
    "Receiver",
    "ReportFate",
    "Rule",
    "Taken",
    "Times",
    "Verdict",
)

_REGISTERED = frozenset({1, 5, 6, 7, 9, 10})
_LOST = 41  # the Q.850 cause of a call whose radio link is gone


class Network:
    """Carries SMS, calls and USSD between cards and the world, and writes the ledger."""

    def __init__(
        self,
        *,
        clock: Clock,
        ledger: Ledger,
        times: Times,
        dice: Dice | None = None,
        carriers: Iterable[Carrier] = (CMCC,),
    ) -> None:
        self._clock = clock
        self._ledger = ledger
        self._dice = dice or Dice(0)
        self._centre = ServiceCentre(clock=clock, ledger=ledger, times=times, dice=self._dice)
        self._coverage = Coverage(carriers)
        self._subscribers: dict[str, Subscriber] = {}
        self._by_number: dict[str, Subscriber] = {}
        self._intake = Intake(
            clock=clock, ledger=ledger, dice=self._dice, centre=self._centre, find=self._of_number
        )
        self._ussd = UssdDesk(clock=clock, ledger=ledger)
        self._exchange = Exchange(clock=clock, dice=self._dice, find=self._of_number)

    @property
    def times(self) -> Times:
        """The pace where a carrier has none of its own."""
        return self._centre.times

    @times.setter
    def times(self, times: Times) -> None:
        self._centre.times = times

    # ------------------------------------------------------------ subscribers

    def subscribe(self, card: Card) -> None:
        """Make a card known; its number now belongs to the closed world."""
        home = self._coverage.home(card.subscription.imsi)
        account = Account(
            home, clock=self._clock, changed=lambda: self._account_changed(subscriber)
        )
        subscriber = Subscriber(card=card, account=account)
        self._subscribers[card.iccid] = subscriber
        self._by_number[national(card.subscription.number)] = subscriber

    def admission(self, card: Card, seeker: Receiver | None = None) -> int:
        """The `+CREG` status that this card gets at this modem."""
        subscriber = self._subscribers[card.iccid]
        place = self._place(subscriber, seeker)
        subscriber.seeker = seeker
        subscriber.serving = place.carrier
        self._note_stat(subscriber, place.stat, seeker)
        return place.stat

    def attach(self, card: Card, receiver: Receiver) -> None:
        """The card is registered through this modem: what waits for it arrives."""
        subscriber = self._subscribers[card.iccid]
        self._centre.unacknowledged(subscriber)
        subscriber.receiver = subscriber.seeker = receiver
        self._centre.pump(subscriber)

    def detach(self, card: Card) -> None:
        """The card is not reachable any more; what was not acknowledged waits again."""
        subscriber = self._subscribers[card.iccid]
        self._note_stat(subscriber, 0, subscriber.seeker)
        subscriber.receiver = subscriber.seeker = subscriber.serving = None
        self._centre.unacknowledged(subscriber)
        self._ussd.cancel(card.iccid)

    def waiting(self, card: Card) -> int:
        """How many TPDUs wait for this card."""
        return len(self._subscribers[card.iccid].queue)

    # ------------------------------------------------------------ registration and coverage

    @property
    def carriers(self) -> tuple[Carrier, ...]:
        """All carriers."""
        return self._coverage.carriers

    def operator(self, card: Card) -> Carrier | None:
        """Who serves this card now; None while it is not registered."""
        subscriber = self._subscribers[card.iccid]
        return subscriber.serving if subscriber.stat in _REGISTERED else None

    def signal(self, modem: str, card: Card | None) -> int | None:
        """What a modem with this card hears, 0–31 as in `+CSQ`; None where it hears nobody."""
        carrier = self._subscribers[card.iccid].serving if card is not None else None
        if carrier is None:
            carrier = next(iter(self._coverage.heard(modem)), None)
        found = self._coverage.signal(carrier, modem) if carrier is not None else -1
        return found if found >= 0 else None

    def carrier(self, name: str) -> Carrier:
        """A carrier by its long or short name or its numeric code.

        Raises:
            LookupError: there is none.
        """
        return self._coverage.find(name)

    def heard(self, modem: str) -> list[Carrier]:
        """What `+COPS=?` finds there, the strongest first."""
        return self._coverage.heard(modem)

    def may_use(self, card: Card, carrier: Carrier) -> bool:
        """True where this carrier lets the card in."""
        imsi = card.subscription.imsi
        return carrier.owns(imsi) or (bool(carrier.guests) and imsi.startswith(carrier.guests))

    def force_registration(self, card: Card, stat: int | None) -> None:
        """Give this card another status from its next search on; None = normal again."""
        self._subscribers[card.iccid].forced = stat

    def lose_coverage(self, *, carrier: str = "", modem: str = "") -> None:
        """A carrier, a place or (both empty) everything falls silent; calls there are cut.

        Raises:
            LookupError: there is no such carrier.
        """
        self._coverage.lose(self._name_of(carrier), modem)
        self._coverage_changed(modem)

    def restore_coverage(self, *, carrier: str = "", modem: str = "") -> None:
        """It is heard again; empty stands for all.

        Raises:
            LookupError: there is no such carrier.
        """
        self._coverage.restore(self._name_of(carrier), modem)
        self._coverage_changed(modem)

    def set_signal(self, signal: int | None, *, carrier: str = "", modem: str = "") -> None:
        """Another signal, 0–31, negative = none, None = as configured; empty stands for all.

        Raises:
            LookupError: there is no such carrier.
        """
        self._coverage.set_signal(self._name_of(carrier), modem, signal)
        self._coverage_changed(modem)

    # ------------------------------------------------------------ rules, limits, money

    def set_rules(self, rules: Iterable[Rule]) -> None:
        """Replace the list of rules."""
        self._intake.rules.set(rules)

    def add_rule(self, rule: Rule) -> None:
        """Put a rule in front of the others."""
        self._intake.rules.add(rule)

    def remove_rule(self, rule: Rule) -> bool:
        """Take a rule out; False where it is not there, or worn out."""
        return self._intake.rules.remove(rule)

    @property
    def rules(self) -> list[Rule]:
        """The rules that are not worn out, in their order."""
        return self._intake.rules.rules

    def set_call_rules(self, rules: Iterable[CallRule]) -> None:
        """Replace the call plan for numbers outside."""
        self._exchange.rules.set(rules)

    def add_call_rule(self, rule: CallRule) -> None:
        """Put a rule in front of the call plan."""
        self._exchange.rules.add(rule)

    def set_carrier_latency(self, carrier: str, latency: Latency | None) -> None:
        """Another latency of submits from now on; None = as configured.

        Raises:
            LookupError: there is no such carrier.
        """
        name = self._coverage.find(carrier).name
        if latency is None:
            self._intake.latencies.pop(name, None)
        else:
            self._intake.latencies[name] = latency

    def account(self, card: Card) -> Account:
        """What the card's carrier keeps on it: `balance`, `cut_off`, `lift`."""
        return self._subscribers[card.iccid].account

    # ------------------------------------------------------------ from the modems

    def submit(self, offer: Offer, done: Done) -> Timer | None:
        """Offer a segment; `done` is told after the latency. Cancel the timer to take it back."""
        subscriber = self._subscribers[offer.card.iccid]
        return self._intake.submit(subscriber, offer, done)

    def acknowledge(self, card: Card, *, is_taken: bool) -> None:
        """The client acknowledged (or refused) the delivery that waits for it."""
        self._centre.acknowledge(self._subscribers[card.iccid], is_taken=is_taken)

    def memory_available(self, card: Card) -> None:
        """There is room again: try what waits. Source: TS 23.040 §3.2.6 (alerting)."""
        subscriber = self._subscribers[card.iccid]
        if subscriber.queue:
            self._centre.pump(subscriber)

    def call(self, card: Card, caller: Caller, number: str, *, is_withheld: bool = False) -> bool:
        """A client dials; a number of the bank rings there. False where its line is taken."""
        subscriber = self._subscribers[card.iccid]
        return self._exchange.dial(caller, subscriber, number, is_withheld=is_withheld)

    def ussd(self, card: Card, receiver: Receiver, text: str) -> bool:
        """A code, or the answer to a menu; False while one is on its way."""
        return self._ussd.request(self._party(self._subscribers[card.iccid], receiver), text)

    def cancel_ussd(self, card: Card) -> bool:
        """The client ends the session; False where there is none."""
        return self._ussd.cancel(card.iccid)

    # ------------------------------------------------------------ from outside

    def send_text(
        self, *, to: Card, origin: str, text: str, dcs: int | None = None, pid: int = 0
    ) -> int:
        """Send a text to a card as a stranger would; returns the number of segments.

        Raises:
            PduError: the sender's address or the text cannot be coded.
        """
        subscriber = self._subscribers[to.iccid]
        reference = subscriber.reference % 255 + 1
        parts = pdu.segments(text, reference=reference, dcs=dcs)
        source = pdu.address(origin)
        subscriber.reference = reference
        for data in parts:
            deliver = pdu.Deliver(origin=source, pid=pid, scts=self._centre.now(), data=data)
            self._centre.bring(subscriber, waiting_deliver(deliver))
        return len(parts)

    def send_raw(self, *, to: Card, tpdu: bytes) -> None:
        """Send octets to a card as they are, whatever they hold.

        Raises:
            ValueError: there are none.
        """
        if not tpdu:
            raise ValueError("a TPDU has at least one octet")
        facts: dict[str, Fact] = {"from": None, "text": None}
        waiting = Waiting(kind="deliver", tpdu=tpdu, facts=facts)
        self._centre.bring(self._subscribers[to.iccid], waiting)

    def send_ussd(self, *, to: Card, menu: Menu) -> bool:
        """The network begins a session; False where the card is away or has one."""
        subscriber = self._subscribers[to.iccid]
        if subscriber.receiver is None:
            return False
        return self._ussd.push(self._party(subscriber, subscriber.receiver), menu)

    # ------------------------------------------------------------ inside

    def _place(self, subscriber: Subscriber, seeker: Receiver | None) -> Place:
        imsi = subscriber.card.subscription.imsi
        modem, wanted = ("", "") if seeker is None else (seeker.name, seeker.wanted_carrier)
        place = self._coverage.place(imsi, modem, wanted=wanted)
        bar = subscriber.account.bar
        if subscriber.forced is not None:
            is_in = subscriber.forced in _REGISTERED
            serving = place.carrier or subscriber.account.carrier
            return Place(stat=subscriber.forced, carrier=serving if is_in else None)
        if bar is not None and bar.is_denied and place.carrier is not None:
            return Place(stat=3, carrier=None)
        return place

    def _coverage_changed(self, modem: str) -> None:
        for subscriber in self._subscribers.values():
            if subscriber.seeker is not None and modem in {"", subscriber.seeker.name}:
                self._look_again(subscriber)

    def _look_again(self, subscriber: Subscriber) -> None:
        """Send a card searching that would end up elsewhere now."""
        seeker = subscriber.seeker
        if seeker is None:
            return
        place = self._place(subscriber, seeker)
        if (place.stat, place.carrier) == (subscriber.stat, subscriber.serving):
            return
        if subscriber.receiver is not None:
            seeker.phone.cut(_LOST)
            if self._ussd.cancel(subscriber.card.iccid):
                seeker.take_ussd(Reply(progress=Progress.TERMINATED))
        seeker.search_again()

    def _account_changed(self, subscriber: Subscriber) -> None:
        bar = subscriber.account.bar
        self._ledger.add(
            "account",
            time=self._centre.stamp(),
            iccid=subscriber.card.iccid,
            carrier=subscriber.account.carrier.name,
            outcome="lifted" if bar is None else "cut_off",
            cms=bar.cms if bar is not None else None,
            is_denied=bar is not None and bar.is_denied,
        )
        self._look_again(subscriber)

    def _note_stat(self, subscriber: Subscriber, stat: int, seeker: Receiver | None) -> None:
        if stat == subscriber.stat:
            return
        subscriber.stat = stat
        self._ledger.add(
            "registration",
            time=self._centre.stamp(),
            modem=seeker.name if seeker is not None else None,
            iccid=subscriber.card.iccid,
            stat=stat,
            carrier=subscriber.serving.name if stat and subscriber.serving is not None else None,
        )

    def _name_of(self, carrier: str) -> str:
        return self._coverage.find(carrier).name if carrier else ""

    def _of_number(self, number: str) -> Subscriber | None:
        return self._by_number.get(national(number))

    def _party(self, subscriber: Subscriber, receiver: Receiver) -> Party:
        account = subscriber.account
        carrier = account.carrier
        latency = self._intake.latency(subscriber, "ussd")
        return Party(
            modem=receiver.name,
            iccid=subscriber.card.iccid,
            menus=carrier.ussd,
            idle=carrier.ussd_idle,
            delay=latency or 0.05,
            values={
                "balance": f"{account.balance:.2f}",
                "currency": carrier.currency,
                "number": subscriber.card.subscription.number,
            },
            show=receiver.take_ussd,
        )
