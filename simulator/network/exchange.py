"""The exchange: calls between cards of the bank, and the call plan for numbers outside.

Source: TS 24.008 §5.2 (call control); Q.850 (causes); at-dialects §3.7.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from simulator.clock import Clock, Timer
from simulator.dice import Dice
from simulator.network.rules import Rulebook
from simulator.network.subscriber import Subscriber
from simulator.persona import Persona
from simulator.phone import CallOutcome, CallPlan, Phone
from simulator.reading import Seconds

BARRED: Final = 8
BUSY: Final = 17
NO_ANSWER: Final = 19
ABSENT: Final = 20
REJECTED: Final = 21
NORMAL: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRule:
    """How calls to numbers outside go. Times in seconds.

    It fits by `number` (its beginning), `iccid`, `modem` and `carrier`; it strikes `count` times,
    after letting `skip` pass, with the probability `rate`. `cause` is a Q.850 value.
    """

    number: str = ""
    iccid: str = ""
    modem: str = ""
    carrier: str = ""
    outcome: CallOutcome = CallOutcome.ANSWERED
    rings: int = 1
    seconds: Seconds = 10.0
    cause: int | None = None
    count: int | None = None
    skip: int = 0
    rate: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.rate <= 1:
            raise ValueError("rate: between 0 and 1")
        if min(self.rings, self.seconds) < 0:
            raise ValueError("rings, seconds: not below 0")


class Caller(Protocol):
    """The modem that dials."""

    name: str
    phone: Phone
    persona: Persona


class Exchange:
    """Connects calls. `find` gives the card of a number, None where it is outside."""

    def __init__(
        self, *, clock: Clock, dice: Dice, find: Callable[[str], Subscriber | None]
    ) -> None:
        self._clock = clock
        self._find = find
        self.rules: Rulebook[CallRule] = Rulebook(name="call", dice=dice)
        self.no_answer_seconds = 60.0

    def dial(
        self, caller: Caller, card: Subscriber, number: str, *, is_withheld: bool = False
    ) -> bool:
        """A client dials; False where its line is taken."""
        ring_seconds = caller.persona.ring_seconds
        if card.account.bar is not None:
            plan = self._plan(number, CallRule(outcome=CallOutcome.FAILED, cause=BARRED), 5.0)
            return caller.phone.dial(plan, is_client=True)
        callee = self._find(number)
        if callee is None:
            rule = self._rule(caller.name, card, number)
            return caller.phone.dial(self._plan(number, rule, ring_seconds), is_client=True)
        shown = "" if is_withheld else card.card.subscription.number
        link = _Link(self._clock, caller.phone, callee, shown, self.no_answer_seconds)
        plan = CallPlan(number=number, outcome=CallOutcome.ANSWERED, ring_seconds=ring_seconds)
        return caller.phone.dial(plan, is_client=True, far=link)

    def _rule(self, modem: str, card: Subscriber, number: str) -> CallRule:
        if not self.rules:
            return CallRule()

        def fits(rule: CallRule) -> bool:
            wanted = (
                (rule.iccid, card.card.iccid),
                (rule.modem, modem),
                (rule.carrier, card.carrier.name),
            )
            return number.startswith(rule.number) and all(
                want in {"", found} for want, found in wanted
            )

        return self.rules.pick(fits, who=card.card.iccid) or CallRule()

    @staticmethod
    def _plan(number: str, rule: CallRule, ring_seconds: float) -> CallPlan:
        return CallPlan(
            number=number,
            outcome=rule.outcome,
            rings=rule.rings,
            seconds=rule.seconds,
            ring_seconds=ring_seconds,
            cause=rule.cause,
        )


class _Link:
    """A call between two cards: what one side does, the other hears."""

    def __init__(
        self,
        clock: Clock,
        caller: Phone,
        callee: Subscriber,
        shown: str,
        no_answer_seconds: float,
    ) -> None:
        self._clock = clock
        self._caller = caller
        self._subscriber = callee
        self._shown = shown
        self._no_answer_seconds = no_answer_seconds
        self._callee: Phone | None = None
        self._timer: Timer | None = None
        self._is_answered = False

    def reach(self) -> None:
        """Look for the card where it is now."""
        receiver = self._subscriber.receiver
        if receiver is None:
            self._caller.far_left(ABSENT)
            return
        callee = receiver.phone
        plan = CallPlan(
            number=self._shown,
            outcome=CallOutcome.MISSED,
            ring_seconds=receiver.persona.ring_seconds,
        )
        if not callee.ring(plan, far=self):
            self._caller.far_left(BUSY)
            return
        self._callee = callee
        self._caller.far_rings()
        self._timer = self._clock.call_later(self._no_answer_seconds, self._nobody_answers)

    def answered(self) -> None:
        """The talk begins."""
        self._is_answered = True
        self._stop()
        self._caller.far_answered()

    def left(self, phone: Phone, cause: int) -> None:
        """One side ended it: the other is told, and why."""
        self._stop()
        callee, self._callee = self._callee, None
        if phone is self._caller:
            if callee is not None:
                callee.far_left(cause)
        elif callee is not None:
            is_rejected = not self._is_answered and cause == NORMAL
            self._caller.far_left(REJECTED if is_rejected else cause)

    def _nobody_answers(self) -> None:
        callee, self._callee = self._callee, None
        if callee is not None:
            callee.far_left(NORMAL)
        self._caller.far_left(NO_ANSWER)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
