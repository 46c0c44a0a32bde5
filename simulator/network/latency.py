"""How long the network takes: a fixed time, or one drawn from a distribution."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from math import exp, log
from statistics import NormalDist
from typing import Final

from simulator.reading import Seconds

_NORMAL: Final = NormalDist()
_TINY: Final = 2.0**-54


class Shape(StrEnum):
    """The distribution that a time is drawn from."""

    FIXED = "fixed"  # always `seconds`
    UNIFORM = "uniform"  # anything between `least` and `most`
    EXPONENTIAL = "exponential"  # `seconds` in the mean
    LOGNORMAL = "lognormal"  # `seconds` in the median, `sigma` wide


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """A time in seconds; what is drawn is never below `least` nor above `most`."""

    shape: Shape = Shape.FIXED
    seconds: Seconds = 0.5
    least: Seconds = 0.0
    most: Seconds = 60.0
    sigma: float = 0.5

    def __post_init__(self) -> None:
        if min(self.seconds, self.least, self.sigma) < 0:
            raise ValueError("seconds, least, sigma: not below 0")
        if self.most < self.least:
            raise ValueError("most: not below least")

    def take(self, draw: Callable[[], float]) -> float:
        """One time; `draw` gives a number in [0, 1) and is not asked for a fixed time."""
        match self.shape:
            case Shape.FIXED:
                return self.seconds
            case Shape.UNIFORM:
                return self.least + (self.most - self.least) * draw()
            case Shape.EXPONENTIAL:
                found = -self.seconds * log(1.0 - draw())
            case Shape.LOGNORMAL:
                found = self.seconds * exp(self.sigma * _NORMAL.inv_cdf(max(draw(), _TINY)))
        return min(max(found, self.least), self.most)
