"""A model of cards, a network and its service centre: what left, and what is told of it, by time.

Pure: no modem and no store. Each card submits one segment after the other under references that
wrap at 256; the plan says who was told what, and which segment each report is truly about.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """A segment leaves."""

    at: datetime
    segment: int
    card: str
    to: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """The modem's answer to a submit; `mr` is None where it never came."""

    at: datetime
    segment: int
    card: str
    mr: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """A report reaches us; `segment` is what it is truly about."""

    at: datetime
    segment: int
    card: str
    to: str
    mr: int
    scts: datetime
    discharged_at: datetime
    number: int


Fact = Submitted | Answered | Reported


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """How often what goes wrong; each a probability."""

    lost: float = 0.05
    late: float = 0.05
    doubled: float = 0.05
    withheld: float = 0.02
    overtaking: float = 0.02
    """The report is there before the modem's answer."""


@dataclass(kw_only=True)
class Model:
    """`facts` tells everything, by time."""

    seed: int
    start: datetime
    n_segments: int
    n_cards: int
    n_recipients: int
    habits: Habits = field(default_factory=Habits)

    def facts(self) -> list[Fact]:
        """All that happens, the earliest first."""
        dice = random.Random(self.seed)
        numbers = count()
        found: list[Fact] = []
        share, rest = divmod(self.n_segments, self.n_cards)
        first = 0
        for place in range(self.n_cards):
            n = share + (place < rest)
            found += self._card(place, range(first, first + n), dice, numbers)
            first += n
        order = {Submitted: 0, Answered: 1, Reported: 2}
        return sorted(found, key=lambda one: (one.at, order[type(one)]))

    def _card(
        self, place: int, segments: range, dice: random.Random, numbers: Iterator[int]
    ) -> Iterator[Fact]:
        card = f"8986{place:016d}"
        at = self.start + timedelta(seconds=dice.uniform(0, 5))
        pace = dice.choice([1.0, 2.0, 6.0])  # 256 references in 4, 9 or 26 minutes
        is_forgetful = place % 3 == 0  # a restart begins with reference 0 again
        skew = timedelta(seconds=dice.uniform(-120, 120))  # the centre's clock
        mr = dice.randrange(256)
        for segment in segments:
            to = f"+86138{dice.randrange(self.n_recipients):08d}"
            yield Submitted(at=at, segment=segment, card=card, to=to)
            is_withheld = dice.random() < self.habits.withheld
            took = at + timedelta(seconds=dice.uniform(0.1, 0.7) * pace)
            until = at + timedelta(seconds=30) if is_withheld else took
            told = None if is_withheld else mr
            yield from self._reports(dice, numbers, segment, card, to, mr, took, skew)
            if not is_withheld and dice.random() < self.habits.overtaking:
                until += timedelta(seconds=2)
            yield Answered(at=until, segment=segment, card=card, mr=told)
            at = max(until, at + timedelta(seconds=pace)) + timedelta(seconds=0.01)
            mr = 0 if is_withheld and is_forgetful else (mr + 1) % 256

    def _reports(
        self,
        dice: random.Random,
        numbers: Iterator[int],
        segment: int,
        card: str,
        to: str,
        mr: int,
        took: datetime,
        skew: timedelta,
    ) -> Iterator[Reported]:
        if dice.random() < self.habits.lost:
            return
        wait = dice.expovariate(1 / 8)
        if dice.random() < self.habits.late:
            wait = dice.uniform(3_600, 3 * 86_400)
        came = took + timedelta(seconds=0.2 + wait)
        report = Reported(
            at=came, segment=segment, card=card, to=to, mr=mr,
            scts=(took + skew).replace(microsecond=0),
            discharged_at=(came + skew).replace(microsecond=0), number=next(numbers),
        )  # fmt: skip
        yield report
        if dice.random() < self.habits.doubled:
            yield Reported(
                at=came + timedelta(seconds=dice.uniform(0.5, 600)), segment=segment, card=card,
                to=to, mr=mr, scts=report.scts, discharged_at=report.discharged_at,
                number=report.number,
            )  # fmt: skip
