"""One card as the network knows it: where it is, what waits for it, what its carrier allows it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Protocol

from simulator.cards.card import Card
from simulator.clock import Clock, Timer
from simulator.dice import Chance, Dice
from simulator.ledger import Fact
from simulator.network.carriers import Beyond, Carrier
from simulator.network.ussd import Reply
from simulator.persona import Persona
from simulator.phone import Phone


class Verdict(StrEnum):
    """What a modem does with a TPDU that the network hands to it."""

    TAKEN = "taken"
    AWAITED = "awaited"  # shown to the client, which has to acknowledge
    NOT_NOW = "not_now"  # memory full or card not ready: the network keeps it


class Receiver(Protocol):
    """A modem, as the network sees it."""

    name: str
    phone: Phone
    persona: Persona

    @property
    def wanted_carrier(self) -> str:
        """The numeric code of the carrier that it insists on; empty = any."""
        ...

    def take_delivery(self, tpdu: bytes) -> Verdict:
        """Take a DELIVER or STATUS-REPORT."""
        ...

    def take_ussd(self, reply: Reply) -> None:
        """Show what the network says."""
        ...

    def search_again(self) -> None:
        """Look for the network anew."""
        ...


@dataclass(slots=True, kw_only=True, eq=False)
class Waiting:
    """A TPDU on its way to a card. `then` is done once it is there.

    `over`: its validity ended while the client had it to acknowledge.
    """

    kind: str
    tpdu: bytes
    facts: dict[str, Fact]
    then: Callable[[], None] | None = None
    timer: Timer | None = None
    over: Callable[[], None] | None = None
    is_done: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A card is cut off. `is_denied`: also thrown out of the network."""

    cms: int
    is_denied: bool
    timer: Timer | None = None


class Account:
    """What the card's own carrier keeps on it: money, counts, whether it is cut off.

    `changed` is told when the card is cut off and when it may send again.
    """

    def __init__(self, carrier: Carrier, *, clock: Clock, changed: Callable[[], None]) -> None:
        self.carrier = carrier
        self.balance: Decimal = carrier.balance
        self.bar: Bar | None = None
        self._clock = clock
        self._changed = changed
        self._counts: list[tuple[datetime, int]] = []

    def refusal(self) -> int | None:
        """The CMS code for one more segment; None = it may go, and is counted and paid for."""
        if self.bar is not None:
            return self.bar.cms
        carrier = self.carrier
        if carrier.price > self.balance:
            return carrier.no_credit_cms
        if carrier.limits:
            code = self._over()
            if code is not None:
                return code
        if carrier.price:
            self.balance -= carrier.price
        return None

    def cut_off(self, *, cms: int, is_denied: bool, lasts: float | None) -> None:
        """Let the card send nothing any more, for `lasts` seconds or until it is lifted."""
        self._forget_bar()
        timer = None if lasts is None else self._clock.call_later(lasts, self.lift)
        self.bar = Bar(cms=cms, is_denied=is_denied, timer=timer)
        self._changed()

    def lift(self) -> None:
        """Let the card send again; its counts begin anew."""
        self._counts.clear()
        if self.bar is not None:
            self._forget_bar()
            self._changed()

    def _forget_bar(self) -> None:
        bar, self.bar = self.bar, None
        if bar is not None and bar.timer is not None:
            bar.timer.cancel()

    def _over(self) -> int | None:
        now = self._clock.now()
        limits = self.carrier.limits
        counts = self._counts or [(now, 0)] * len(limits)
        for place, limit in enumerate(limits):
            started, count = counts[place]
            if now - started >= timedelta(seconds=limit.per.seconds):
                counts[place] = (now, count := 0)
            if count >= limit.count:
                self._counts = counts
                return self._strike(place)
        self._counts = [(started, count + 1) for started, count in counts]
        return None

    def _strike(self, place: int) -> int:
        limit = self.carrier.limits[place]
        match limit.beyond:
            case Beyond.REFUSE:
                pass
            case Beyond.ONCE:
                self._counts[place] = (self._clock.now(), 0)
            case Beyond.CUT_OFF | Beyond.DENIED:
                is_denied = limit.beyond is Beyond.DENIED
                self.cut_off(cms=limit.cms, is_denied=is_denied, lasts=limit.lasts)
        return limit.cms


@dataclass(slots=True, kw_only=True, eq=False)
class Subscriber:
    """One card. `seeker` is the modem that looks for or has the network; `receiver` has it."""

    card: Card
    account: Account
    stat: int = 0
    forced: int | None = None
    serving: Carrier | None = None
    seeker: Receiver | None = None
    receiver: Receiver | None = None
    queue: deque[Waiting] = field(default_factory=deque)
    is_awaiting: bool = False
    retry: Timer | None = None
    reference: int = 0
    chances: dict[str, Chance] = field(default_factory=dict)

    @property
    def carrier(self) -> Carrier:
        """Who serves it now, or whose it is."""
        return self.serving or self.account.carrier

    def chance(self, kind: str, dice: Dice) -> Chance:
        """The card's own row of draws for one kind of thing."""
        found = self.chances.get(kind)
        if found is None:
            found = self.chances[kind] = Chance(dice, f"{kind}/{self.card.iccid}")
        return found
