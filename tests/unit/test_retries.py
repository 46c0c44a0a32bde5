"""Where a segment that provably did not leave goes next."""

import pytest

from modemctl.policy.retries import Verdict, next_try


def verdicts(action: str, blame: str, *, is_bound: bool = False) -> list[Verdict]:
    """Of the first, second and third try."""
    return [
        next_try(action, blame, n_tries=n, is_bound=is_bound, spread=0.0).verdict for n in (1, 2, 3)
    ]


def test_only_the_message_fails_at_once():
    failing = {
        blame
        for blame in ("message", "modem", "sim", "network", "host")
        if verdicts("stop", blame)[0] is Verdict.NEVER
    }
    assert failing == {"message"}


@pytest.mark.parametrize("blame", ["modem", "sim", "network", "host"])
def test_what_is_not_the_messages_fault_gets_three_cards(blame):
    assert verdicts("stop", blame) == [Verdict.OTHER_CARD, Verdict.OTHER_CARD, Verdict.NEVER]


def test_a_message_that_partly_left_waits_for_its_card():
    found = next_try("stop", "host", n_tries=1, is_bound=True, spread=0.0)
    assert found.verdict is Verdict.AGAIN
    assert found.after >= 30


def test_what_was_refused_by_nobody_goes_again_at_once():
    found = next_try("again", "host", n_tries=9, is_bound=False, spread=1.0)
    assert (found.verdict, found.after) == (Verdict.AGAIN, 0.0)


def test_the_back_off_grows_and_is_spread():
    waits = [
        next_try("back", "network", n_tries=n, is_bound=False, spread=0.0).after
        for n in range(1, 8)
    ]
    assert waits == sorted(waits)
    assert waits[-1] == waits[-2] == 7_200
    assert next_try("back", "network", n_tries=1, is_bound=False, spread=1.0).after == 36.0
