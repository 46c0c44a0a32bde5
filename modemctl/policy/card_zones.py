"""In whose days and months a card's limits run: its own zone's, else the site's (SIM-08).

A zone that a card leaves binds it further, until the day (of a day's limits) and the month (of a
month's) in which it left have ended in both zones, by both clocks: no change of zones ever lets
more through than either zone alone would.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

from modemctl.policy.quotas import Span, Zones, next_start
from modemctl.policy.zones import zone_named

MOST_LEFT: Final = 3
"""Zones that bind at a time beside a card's own."""

_SITE: Final = "-"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftZone:
    """A zone that a card had; `name` None: the site's. Its days and months count until then."""

    name: str | None
    day_until: datetime
    month_until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CardZones:
    """A card's zone (None: the site's), and those that it left lately."""

    own: str | None
    left: tuple[LeftZone, ...] = ()

    @classmethod
    def of(cls, own: str | None, left: str | None) -> CardZones:
        """As a card's row tells it.

        Raises:
            ValueError: it was not written by `text`.
        """
        return cls(own=own, left=tuple(_read(one) for one in (left or "").split()))

    def text(self) -> str | None:
        """The zones it left, for its row."""
        words = [
            f"{one.name or _SITE}|{_ms(one.day_until)}|{_ms(one.month_until)}" for one in self.left
        ]
        return " ".join(words) or None

    def binding(self, *, steady: datetime, wall: datetime) -> Zones:
        """The zones that bind now, and which calendars of each."""
        moment = min(steady, wall)
        found = {self.own: frozenset({Span.DAY, Span.MONTH})}
        for one in self.left:
            ends = ((Span.DAY, one.day_until), (Span.MONTH, one.month_until))
            if spans := frozenset(span for span, until in ends if moment < until):
                found[one.name] = found.get(one.name, frozenset()) | spans
        return found

    def moved(
        self, to: str | None, *, site: tzinfo, steady: datetime, wall: datetime
    ) -> CardZones | None:
        """The card's zones once it is given another one now; None: it has left too many lately."""
        zones = [site if name is None else zone_named(name) for name in (self.own, to)]
        day, month = (
            max(next_start(span, at, zone) for at in (steady, wall) for zone in zones)
            for span in (Span.DAY, Span.MONTH)
        )
        moment = min(steady, wall)
        left = [one for one in self.left if one.name != to and moment < one.month_until]
        left.append(LeftZone(name=self.own, day_until=day, month_until=month))
        return CardZones(own=to, left=tuple(left)) if len(left) <= MOST_LEFT else None


def _read(word: str) -> LeftZone:
    name, day, month = word.split("|")
    return LeftZone(
        name=None if name == _SITE else name,
        day_until=_EPOCH + int(day) * _MS,
        month_until=_EPOCH + int(month) * _MS,
    )


def _ms(at: datetime) -> int:
    return (at - _EPOCH) // _MS
