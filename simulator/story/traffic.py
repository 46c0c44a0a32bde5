"""Traffic by itself: strangers write and call, the bank's cards write to each other, at a rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from simulator import alphabet
from simulator.bank import Bank
from simulator.clock import Timer
from simulator.control.verbs import Source, Traffic
from simulator.dice import Chance
from simulator.modem import Modem
from simulator.phone import CallOutcome, CallPlan
from simulator.story.typist import Typist

GSM7_TEXTS: Final = (
    "Your code is {code}. Do not tell it to anybody.",
    "Hello, are you at home?",
    "Parcel {code} waits at the counter until 18:00.",
    "Meeting moved to 15:30, room {code}",
    "OK",
    "Balance: 12.50 EUR [{code}] ~ see you @ noon",
    "Pay 5% less: call 0800-{code}",
    "STOP",
)
CHINESE_TEXTS: Final = (
    "您的验证码是{code}，请勿告诉他人。",
    "你好，到家了吗？",
    "快递{code}已到，请于18:00前领取。",
    "【示例银行】您尾号{code}的账户收入100.00元。",
    "退订",
    "会议改到15:30，{code}室",
    "收到，谢谢😀",
    "明天见！",
)
_T = TypeVar("_T")
_MANY: Final = 200  # characters that need several segments in either alphabet
_SERVICES: Final = ("10086", "95588", "106900000000", "Bank")
_ENDS: Final = (
    CallOutcome.MISSED,
    CallOutcome.MISSED,
    CallOutcome.ANSWERED,
    CallOutcome.REJECTED,
)


class Flow:
    """One source of traffic over some modems, until ended."""

    def __init__(
        self,
        plan: Traffic,
        modems: Sequence[Modem],
        *,
        bank: Bank,
        typist: Callable[[Modem], Typist],
        chance: Chance,
    ) -> None:
        self._plan = plan
        self._modems = modems
        self._bank = bank
        self._typist = typist
        self._chance = chance
        self._count = 0
        self._timer: Timer | None = None
        self._deeds: dict[Source, Callable[[Modem], None]] = {
            Source.STRANGERS: self._stranger,
            Source.NEIGHBOURS: self._neighbour,
            Source.SENDERS: self._sender,
            Source.CALLERS: self._caller,
        }
        self._wait()

    @property
    def count(self) -> int:
        """How many messages or calls it made."""
        return self._count

    def end(self) -> None:
        """Make no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self) -> None:
        # Arrivals of many who know nothing of each other: gaps fall off exponentially.
        gap = -math.log(1.0 - self._chance.draw()) * 60.0 / self._plan.per_minute
        self._timer = self._bank.clock.call_later(gap, self._happen)

    def _happen(self) -> None:
        self._count += 1
        self._deeds[self._plan.source](self._pick(self._modems))
        if self._plan.limit is None or self._count < self._plan.limit:
            self._wait()

    def _stranger(self, modem: Modem) -> None:
        origin, text = self._stranger_number(), self._text()
        if modem.card is not None:
            self._bank.network.send_text(to=modem.card, origin=origin, text=text)

    def _neighbour(self, modem: Modem) -> None:
        other = self._pick([one for one in self._modems if one is not modem] or [modem])
        if other.card is not None:
            self._send(modem, other.card.subscription.number)

    def _sender(self, modem: Modem) -> None:
        self._send(modem, self._number())

    def _send(self, modem: Modem, to: str) -> None:
        report = self._chance.strikes(self._plan.report)
        self._typist(modem).send(to, self._text(), report=report)

    def _caller(self, modem: Modem) -> None:
        plan = CallPlan(
            number=self._number(),
            outcome=self._pick(_ENDS),
            rings=1 + int(self._chance.draw() * 5),
            seconds=1.0 + int(self._chance.draw() * 60),
        )
        if modem.is_registered:
            modem.phone.ring(plan)

    def _stranger_number(self) -> str:
        is_service = not self._plan.numbers and self._chance.strikes(0.2)
        return self._pick(_SERVICES) if is_service else self._number()

    def _number(self) -> str:
        if self._plan.numbers:
            return self._pick(self._plan.numbers)
        second = self._pick(("3", "5", "7", "8", "9"))
        return f"+861{second}{int(self._chance.draw() * 10**9):09d}"

    def _text(self) -> str:
        plan = self._plan
        if plan.texts:
            text = self._pick(plan.texts).replace("{n}", str(self._count))
        else:
            pool = CHINESE_TEXTS if self._chance.strikes(plan.chinese) else GSM7_TEXTS
            text = self._pick(pool)
            if self._chance.strikes(plan.long):
                gap = " " if alphabet.fits_gsm7(text) else ""
                while len(text) < _MANY:
                    text += gap + self._pick(pool)
        while "{code}" in text:
            text = text.replace("{code}", f"{int(self._chance.draw() * 10**6):06d}", 1)
        return text

    def _pick(self, choices: Sequence[_T]) -> _T:
        return choices[int(self._chance.draw() * len(choices))]
