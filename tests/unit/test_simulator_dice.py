"""Chance that repeats."""

from __future__ import annotations

from simulator.dice import Chance, Dice


def test_a_draw_depends_on_seed_entity_and_count_only() -> None:
    one, same = Dice(7), Dice(7)
    first = [one.draw("modem01", n) for n in range(100)]
    # The other one is asked backwards, and about others in between.
    later = [(same.draw("modem02", n), same.draw("modem01", n))[1] for n in reversed(range(100))]
    assert first == later[::-1]
    assert first != [Dice(8).draw("modem01", n) for n in range(100)]


def test_draws_are_spread_evenly_over_zero_to_one() -> None:
    dice = Dice(1)
    drawn = [dice.draw("even", n) for n in range(10_000)]
    assert all(0 <= value < 1 for value in drawn)
    tenths = [sum(int(value * 10) == tenth for value in drawn) for tenth in range(10)]
    assert min(tenths) > 850
    assert max(tenths) < 1150


def test_a_chance_strikes_about_as_often_as_its_rate_says() -> None:
    chance = Chance(Dice(3), "modem01/silence")
    assert 250 < sum(chance.strikes(0.3) for _ in range(1000)) < 350
    assert not any(chance.strikes(0) for _ in range(100))
    assert all(chance.strikes(1) for _ in range(100))
