"""Breakers over any history: who is not to blame is never stopped; a trial lets others back."""

import os
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modemctl.policy.breakers import (
    BLAMED,
    HORIZON,
    RECENT,
    RULES,
    WINDOW,
    Breaker,
    BreakerState,
    CarrierWatch,
    Rule,
    Target,
    begin_trial,
    carrier_fault,
    carrier_success,
    end_trial,
    fault,
    is_shared,
    success,
)

MANY = settings(max_examples=10_000 if os.environ.get("MODEMCTL_LONG") == "1" else 300)
SHARING = Rule(n_faults=4, n_share=5, first=10.0, longest=100.0, n_calm=4)
RULE = Rule(n_faults=3, first=10.0, longest=100.0, n_calm=4)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["fault", "success", "begin", "end"]),
        st.one_of(st.sampled_from([0.0, 9.999, 10.0, 100.0]), st.floats(0, 200)),
    ),
    max_size=60,
)


def walk(steps, rule=RULE):
    """The breaker before and after each step, and when."""
    now, breaker = 0.0, Breaker()
    for what, pause in steps:
        now += pause
        before = breaker
        match what:
            case "fault":
                breaker = fault(breaker, rule, now)
            case "success":
                breaker = success(breaker, rule, now)
            case "begin":
                breaker = begin_trial(breaker, now)
            case _:
                breaker = end_trial(breaker)
        yield what, now, before, breaker


@MANY
@given(STEPS)
def test_only_a_fault_opens(steps):
    for what, now, before, after in walk(steps):
        if after.state(now) is BreakerState.OPEN and before.state(now) is not BreakerState.OPEN:
            assert what == "fault"


@MANY
@given(STEPS)
def test_it_opens_from_closed_after_so_many_in_a_row_or_of_the_latest_and_no_earlier(steps):
    n, told = 0, []
    for what, now, before, after in walk(steps, SHARING):
        is_counted = what == "success" or (
            what == "fault" and before.state(now) is not BreakerState.OPEN
        )
        if is_counted:
            told.append((now, what == "fault"))
        if before.until is not None or what == "success":
            n = 0
        if before.until is None and what == "fault":
            n += 1
            latest = [failed for at, failed in told[-RECENT:] if at > now - HORIZON]
            is_due = n >= SHARING.n_faults or sum(latest) >= SHARING.n_share
            assert (after.until is not None) == is_due
        assert after.state(now) is not BreakerState.OPEN or not after.lets_pass(now)


@MANY
@given(STEPS)
def test_it_is_never_open_for_longer_than_the_rule_says(steps):
    for _, now, _, after in walk(steps):
        if after.until is not None:
            assert after.until <= now + RULE.longest
            assert after.lets_pass(after.until) or after.is_tried


@MANY
@given(STEPS)
def test_of_a_half_open_breaker_one_message_passes_until_its_trial_ends(steps):
    for what, now, before, after in walk(steps):
        if before.state(now) is BreakerState.HALF_OPEN and what == "begin":
            assert not after.lets_pass(now)
        if before.is_tried and what == "end":
            assert after.lets_pass(now)


@MANY
@given(STEPS)
def test_a_success_closes_whatever_was(steps):
    for what, now, _, after in walk(steps):
        if what == "success":
            assert after.state(now) is BreakerState.CLOSED
            assert after.lets_pass(now)


@MANY
@given(st.integers(1, 12))
def test_each_failed_trial_doubles_the_rest_up_to_the_longest(n_trials):
    breaker, now, rests = Breaker(n_faults=RULE.n_faults - 1), 0.0, []
    for _ in range(n_trials):
        breaker = fault(breaker, RULE, now)
        assert breaker.until is not None
        rests.append(breaker.until - now)
        now = breaker.until
    assert rests == [min(10.0 * 2**i, 100.0) for i in range(n_trials)]


def test_only_a_calm_time_makes_it_forget_how_often_it_opened():
    breaker = Breaker(n_faults=2)
    breaker = fault(breaker, RULE, 0.0)
    for n in range(RULE.n_calm):
        assert breaker.n_trips == 1, n
        breaker = success(breaker, RULE, 0.0)
    assert breaker.n_trips == 0


def shares(pattern, rule=RULES[Target.MODEM], pause=1.0):
    """How often it opens when messages fare as the pattern says (True = failed)."""
    breaker, now, n_trips = Breaker(), 0.0, 0
    for has_failed in pattern:
        now = max(now + pause, breaker.until or 0.0)
        before = breaker.state(now)
        breaker = fault(breaker, rule, now) if has_failed else success(breaker, rule, now)
        is_open = breaker.state(now) is BreakerState.OPEN
        n_trips += is_open and before is not BreakerState.OPEN
    return n_trips


@pytest.mark.parametrize("nth", [1, 2, 3, 4])
def test_a_modem_that_fails_each_nth_message_is_stopped_and_stays_away_ever_longer(nth):
    assert shares([i % nth == nth - 1 for i in range(20)]) >= 1
    assert shares([i % nth == nth - 1 for i in range(60)]) >= 5


def test_a_modem_that_fails_two_in_a_hundred_by_chance_is_left_alone():
    seed = 20261122
    chance = random.Random(seed)
    assert shares(chance.random() < 0.02 for _ in range(20_000)) <= 2, seed


def test_old_failures_open_nothing():
    assert shares([True, False] * 50, pause=HORIZON / 8) == 0


def test_a_card_of_which_a_fifth_is_refused_by_recipients_is_left_alone():
    assert shares([i % 5 == 4 for i in range(1_000)], RULES[Target.SIM]) == 0
    assert shares([i % 2 == 1 for i in range(40)], RULES[Target.SIM]) >= 1


def told_of(n_failed, n_taken):
    told = [*((1.0, True) for _ in range(n_failed)), *((2.0, False) for _ in range(n_taken))]
    return Breaker(recent=tuple(told))


@pytest.mark.parametrize(
    ("modems", "expected"),
    [
        ([(4, 0), (4, 0), (3, 0)], True),
        ([(4, 4), (3, 5), (3, 3), (0, 9)], False),  # three sick ones and a healthy one
        ([(4, 4), (3, 5), (3, 3), (4, 2), (0, 9)], True),
        ([(4, 0), (4, 0)], False),  # two tell nothing of a carrier
        ([(4, 0), (2, 9), (1, 9), (0, 9)], False),
    ],
)
def test_what_almost_all_modems_of_a_carrier_suffer_is_its_fault(modems, expected):
    breakers = [told_of(*modem) for modem in modems]
    assert is_shared(breakers, RULES[Target.MODEM], 10.0) is expected
    assert not is_shared(breakers, RULES[Target.MODEM], 10.0 + WINDOW), "long ago"


# ---------------------------------------------------------------- carriers

TOLD = st.lists(
    st.tuples(st.sampled_from("abcdefgh"), st.booleans(), st.floats(0, 150)), max_size=60
)


@MANY
@given(TOLD)
def test_a_carrier_is_paused_only_where_many_modems_and_most_of_them_fail(told):
    watch, now, heard = CarrierWatch(), 0.0, {}
    for modem, has_failed, pause in told:
        now += pause
        heard[modem] = (now, has_failed)
        before = watch.breaker.state(now)
        change = carrier_fault if has_failed else carrier_success
        watch = change(watch, modem, RULE, now)
        recent = [failed for at, failed in heard.values() if at > now - WINDOW]
        if before is BreakerState.CLOSED and watch.breaker.state(now) is BreakerState.OPEN:
            assert sum(recent) >= RULE.n_faults
            assert 2 * sum(recent) > len(recent)
        if not has_failed:
            assert watch.breaker.state(now) is BreakerState.CLOSED


@MANY
@given(st.lists(st.floats(0, 100), max_size=100))
def test_one_modem_alone_never_pauses_its_carrier(pauses):
    watch, now = CarrierWatch(), 0.0
    for pause in pauses:
        now += pause
        watch = carrier_fault(watch, "a", RULE, now)
        assert watch.breaker.state(now) is BreakerState.CLOSED


def test_messages_and_hosts_are_nobodys_blame():
    assert BLAMED == {"modem": Target.MODEM, "sim": Target.SIM, "network": Target.CARRIER}
    assert set(RULES) == set(Target)
