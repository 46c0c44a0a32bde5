"""The ladder's own rules: order, budget, back-off, and what is forgotten when."""

from modemctl.fleet.ladder import ORDER, TABLE, Ladder, Ladders, Step
from modemctl.model import Bay

ALL = frozenset(Step)
BAY, OTHER = Bay("one"), Bay("other")


def climbed(ladder: Ladder, now: float, offered=ALL) -> list[Step]:
    found = []
    while (step := ladder.climb(now, offered=offered)) is not None:
        found.append(step)
    return found


def test_each_step_has_its_row_and_they_go_from_gentle_to_harsh():
    assert set(TABLE) == set(Step)
    assert climbed(Ladder(), 0.0) == list(ORDER)
    assert [step.value for step in ORDER] == ["realign", "reopen", "reset", "rebind", "power"]


def test_steps_that_are_not_possible_here_are_passed_over():
    assert climbed(Ladder(), 0.0, {Step.RESET, Step.REBIND}) == [Step.RESET, Step.REBIND]


def test_a_step_that_helped_for_a_moment_is_not_taken_twice_one_that_helped_an_hour_is():
    ladder = Ladder()
    assert ladder.climb(0.0, offered=ALL) is Step.REALIGN
    assert ladder.climb(60.0, offered=ALL) is Step.REOPEN
    assert ladder.climb(60.0 + 3_600.0, offered=ALL) is Step.REALIGN


def test_who_sent_a_message_begins_with_the_lowest_step_again():
    ladder = Ladder()
    climbed(ladder, 0.0)
    ladder.climb(1.0, offered=ALL)
    ladder.rest()
    assert ladder.climb(2.0, offered=ALL) is Step.REALIGN


def test_the_cool_down_doubles_each_time_that_the_ladder_was_spent():
    ladder, seconds = Ladder(), []
    for n in range(6):
        climbed(ladder, float(n))
        seconds.append(ladder.cool_down)
    assert seconds == [900, 1_800, 3_600, 7_200, 7_200, 7_200]
    ladder.rest()
    assert ladder.cool_down == 900


def test_the_budget_of_a_bay_and_of_a_hub_is_for_an_hour():
    ladders = Ladders()
    row = TABLE[Step.REBIND]
    for n in range(row.per_bay):
        assert ladders.refusal(Step.REBIND, BAY, "1-1", float(n)) is None
        ladders.note(Step.REBIND, BAY, "1-1", float(n))
    assert "the bay's budget" in str(ladders.refusal(Step.REBIND, BAY, "1-1", 10.0))
    assert ladders.refusal(Step.RESET, BAY, "1-1", 10.0) is None
    for n in range(row.per_hub - row.per_bay):
        assert ladders.refusal(Step.REBIND, OTHER, "1-1", 10.0 + n) is None
        ladders.note(Step.REBIND, OTHER, "1-1", 10.0 + n)
    third = Bay("third")
    assert "budget of hub 1-1" in str(ladders.refusal(Step.REBIND, third, "1-1", 20.0))
    assert ladders.refusal(Step.REBIND, third, "1-2", 20.0) is None
    assert ladders.refusal(Step.REBIND, BAY, "1-1", 3_600.0 + 20.0) is None


def test_the_same_step_waits_longer_each_time_and_a_minute_at_most():
    ladders, pauses = Ladders(), []
    for n in range(8):
        pauses.append(ladders.pause(Step.RESET, BAY, float(n)))
        ladders.note(Step.RESET, BAY, None, float(n))
    assert pauses == [5, 10, 20, 40, 60, 60, 60, 60]
    assert ladders.pause(Step.RESET, BAY, 3_700.0) == 5


def test_a_bays_ladder_outlives_its_actor():
    ladders = Ladders()
    ladders.of(BAY).climb(0.0, offered=ALL)
    assert ladders.of(BAY).climb(1.0, offered=ALL) is Step.REOPEN
    assert ladders.of(OTHER).climb(1.0, offered=ALL) is Step.REALIGN


def test_a_lack_of_rights_is_said_once():
    ladders = Ladders()
    assert [ladders.is_first_lack(Step.REBIND) for _ in range(3)] == [True, False, False]
    assert ladders.is_first_lack(Step.POWER)
