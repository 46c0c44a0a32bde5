"""What cards cost by tariff (SIM-15), in hundredths of the currency, halves rounded up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

_CENTS: Final = Decimal(100)
_FREE: Final = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tariff:
    """Prices of one carrier in units of the currency: a segment, a begun minute, rent a month."""

    segment: Decimal = _FREE
    minute: Decimal = _FREE
    rent: Decimal = _FREE


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one card cost in one month, each in hundredths."""

    segments: int
    minutes: int
    rent: int

    @property
    def total(self) -> int:
        """All together."""
        return self.segments + self.minutes + self.rent


def cost_of(tariff: Tariff, *, n_segments: int, n_minutes: int, is_rented: bool) -> Cost:
    """What a card's month cost; the segments' sum is rounded, not each of them."""
    return Cost(
        segments=_hundredths(tariff.segment * n_segments),
        minutes=_hundredths(tariff.minute * n_minutes),
        rent=_hundredths(tariff.rent) if is_rented else 0,
    )


def tariff_of(tariffs: Mapping[str, Tariff], carrier: str | None) -> Tariff:
    """The tariff of a carrier as the register names it; else that of `default`, else free."""
    return tariffs.get(carrier or "default") or tariffs.get("default") or Tariff()


def _hundredths(amount: Decimal) -> int:
    return int((amount * _CENTS).quantize(Decimal(1), rounding=ROUND_HALF_UP))
