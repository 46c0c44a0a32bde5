"""Rules: what becomes of a segment that is offered to the network, by destination, card, chance.

The first rule of the list that fits and strikes decides.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Generic, Protocol, TypeVar

from pydantic import Field

from simulator import pdu
from simulator.cards.card import Card
from simulator.dice import Chance, Dice
from simulator.reading import Octet, Seconds


class ReportFate(StrEnum):
    """What becomes of a delivery report."""

    NORMAL = "normal"
    LOST = "lost"
    DOUBLED = "doubled"
    LATE = "late"  # comes when the validity is over


class Fate(StrEnum):
    """What becomes of the submit and of its answer."""

    NORMAL = "normal"  # taken and answered; with `cms` refused
    SILENCE = "silence"  # not taken, never answered
    TAKEN_SILENCE = "taken_silence"  # taken, never answered
    TAKEN_ERROR = "taken_error"  # taken, answered with `cms` (332 where none is given)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One segment on its way to the service centre."""

    modem: str
    card: Card
    mr: int
    tpdu: bytes
    submit: pdu.Submit


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What the network does with matching submits. Times in seconds.

    It fits by `destination` (its beginning), `iccid`, `modem`, `carrier` (name of the one that
    serves) and `text` (a regular expression); it strikes `count` times, after letting `skip` pass,
    with the probability `rate`. `cms` refuses with that cause; `answer_delay` holds the answer
    back. `st` is the report's TP-ST, from 0x40 on the message is not delivered; `temporary` are
    reports before it, `report_delay` apart. `unreachable`: the recipient cannot be reached, for
    ever or `unreachable_for` so long; the message expires when its validity ends first.
    """

    destination: str = ""
    iccid: str = ""
    modem: str = ""
    carrier: str = ""
    text: str = ""
    cms: Annotated[int, Field(ge=0, le=999)] | None = None
    outcome: Fate = Fate.NORMAL
    answer_delay: Seconds = 0.0
    st: Octet = 0
    temporary: tuple[Octet, ...] = ()
    report: ReportFate = ReportFate.NORMAL
    report_delay: Seconds | None = None
    unreachable: bool = False
    unreachable_for: Seconds | None = None
    count: int | None = None
    skip: int = 0
    rate: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.rate <= 1:
            raise ValueError("rate: between 0 and 1")
        if min(self.answer_delay, self.report_delay or 0, self.unreachable_for or 0) < 0:
            raise ValueError("answer_delay, report_delay, unreachable_for: not below 0")
        try:
            re.compile(self.text)
        except re.error as error:
            raise ValueError(f"text: no regular expression: {error}") from error

    def fits(self, offer: Offer, carrier: str) -> bool:
        """True where the rule is about this segment."""
        if not offer.submit.destination.number.startswith(self.destination):
            return False
        wanted = ((self.iccid, offer.card.iccid), (self.modem, offer.modem))
        if any(want not in {"", found} for want, found in (*wanted, (self.carrier, carrier))):
            return False
        if not self.text:
            return True
        text = offer.submit.data.text
        return text is not None and re.search(self.text, text) is not None


class Counted(Protocol):
    """A rule that strikes a number of times, after a number of chances, or by chance."""

    @property
    def count(self) -> int | None:
        """How often; None = always."""
        ...

    @property
    def skip(self) -> int:
        """How many pass first."""
        ...

    @property
    def rate(self) -> float:
        """With which probability."""
        ...


_R = TypeVar("_R", bound=Counted)


@dataclass(slots=True)
class _Entry(Generic[_R]):
    rule: _R
    name: str
    left: int | None
    skip: int
    chances: dict[str, Chance] = field(default_factory=dict)


class Rulebook(Generic[_R]):
    """A list of rules that wear out; chance is drawn per rule and card, whatever others send."""

    def __init__(self, *, name: str, dice: Dice) -> None:
        self._name = name
        self._dice = dice
        self._added = 0
        self._entries: list[_Entry[_R]] = []

    def __bool__(self) -> bool:
        return bool(self._entries)

    @property
    def rules(self) -> list[_R]:
        """Those that are not worn out, in their order."""
        return [entry.rule for entry in self._entries]

    def set(self, rules: Iterable[_R]) -> None:
        """Replace all."""
        self._entries = [self._entry(rule) for rule in rules]

    def add(self, rule: _R) -> None:
        """Put one in front of the others."""
        self._entries.insert(0, self._entry(rule))

    def remove(self, rule: _R) -> bool:
        """Take one out; False where it is not there, or worn out."""
        for entry in self._entries:
            if entry.rule == rule:
                self._entries.remove(entry)
                return True
        return False

    def pick(self, fits: Callable[[_R], bool], *, who: str) -> _R | None:
        """The first that fits and strikes; counts it down. `who` is the card that it is about."""
        for entry in self._entries:
            if fits(entry.rule) and self._strikes(entry, who):
                return entry.rule
        return None

    def _entry(self, rule: _R) -> _Entry[_R]:
        self._added += 1
        name = f"{self._name}/{self._added}"
        return _Entry(rule=rule, name=name, left=rule.count, skip=rule.skip)

    def _strikes(self, entry: _Entry[_R], who: str) -> bool:
        rate = entry.rule.rate
        if rate < 1:
            chance = entry.chances.get(who)
            if chance is None:
                chance = entry.chances[who] = Chance(self._dice, f"{entry.name}/{who}")
            if not chance.strikes(rate):
                return False
        if entry.skip:
            entry.skip -= 1
            return False
        if entry.left is not None:
            entry.left -= 1
            if entry.left <= 0:
                self._entries.remove(entry)
        return True
