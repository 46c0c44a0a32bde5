"""Latency distributions: what they draw, and that they draw nothing without need."""

import math
from statistics import fmean, median

import pytest

from simulator.dice import Chance, Dice
from simulator.network.latency import Latency, Shape


def sample(latency: Latency, n: int = 4000) -> list[float]:
    chance = Chance(Dice(7), "latency/x")
    return [latency.take(chance.draw) for _ in range(n)]


def never() -> float:
    raise AssertionError("a fixed time needs no chance")


def test_fixed_time_needs_no_chance() -> None:
    assert Latency(seconds=0.25).take(never) == 0.25


def test_uniform_lies_between_least_and_most() -> None:
    found = sample(Latency(shape=Shape.UNIFORM, least=1.0, most=3.0))
    assert 1.0 <= min(found) < 1.05
    assert 2.95 < max(found) < 3.0
    assert math.isclose(fmean(found), 2.0, abs_tol=0.05)


def test_exponential_has_its_mean_and_its_cap() -> None:
    found = sample(Latency(shape=Shape.EXPONENTIAL, seconds=2.0, most=1000.0))
    assert math.isclose(fmean(found), 2.0, rel_tol=0.08)
    assert max(sample(Latency(shape=Shape.EXPONENTIAL, seconds=2.0, most=3.0))) == 3.0


def test_lognormal_has_its_median_its_floor_and_its_cap() -> None:
    found = sample(Latency(shape=Shape.LOGNORMAL, seconds=0.8, sigma=0.6, most=1000.0))
    assert math.isclose(median(found), 0.8, rel_tol=0.05)
    capped = sample(Latency(shape=Shape.LOGNORMAL, seconds=0.8, sigma=2.0, least=0.5, most=2.0))
    assert (min(capped), max(capped)) == (0.5, 2.0)


def test_the_lowest_draw_is_no_accident() -> None:
    latency = Latency(shape=Shape.LOGNORMAL, seconds=1.0, sigma=1.0)
    assert 0 <= latency.take(lambda: 0.0) < 0.001


@pytest.mark.parametrize("wrong", [{"seconds": -1.0}, {"least": 2.0, "most": 1.0}, {"sigma": -0.1}])
def test_senseless_times_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="not below"):
        Latency(**wrong)
