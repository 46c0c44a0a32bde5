"""Calls between cards of the bank, and the call plan for numbers outside: §6.8 row 15."""

from pathlib import Path

import pytest

from simulator.network.exchange import CallRule
from simulator.phone import CallOutcome, CallPlan
from tests.support.closed_world import OUTSIDE, ClosedWorld

OURS = ("+8613800000001", "+8613800000002")


@pytest.fixture
def world(tmp_path: Path) -> ClosedWorld:
    world = ClosedWorld(tmp_path, personas=("generic", "generic", "generic"))
    for seat in world.seats:
        assert seat.say("AT+CLIP=1") == ["OK"]
    return world


def calls(world: ClosedWorld) -> list[tuple[object, ...]]:
    """Modem, direction, number, outcome, cause, seconds; the one that ended first is first."""
    names = ("modem", "direction", "number", "outcome", "cause", "seconds")
    return [tuple(line[name] for name in names) for line in world.lines("call")]


def ringing(world: ClosedWorld) -> None:
    assert world[0].say(f"ATD{OURS[1]};") == ["OK"]
    assert world[1].heard() == []
    world.wait(0.6)
    assert world[1].heard() == ["RING", f'+CLIP: "{OURS[0]}",145,,,,0']
    assert world[0].say("AT+CLCC")[0] == f'+CLCC: 1,0,3,0,0,"{OURS[1]}",145,""'
    assert world[1].say("AT+CLCC")[0] == f'+CLCC: 1,1,4,0,0,"{OURS[0]}",145,""'


def talking(world: ClosedWorld) -> None:
    ringing(world)
    assert world[1].say("ATA") == ["OK"]
    for seat in world.seats[:2]:
        assert seat.say("AT+CLCC")[0].split(",")[2] == "0"


@pytest.mark.parametrize("form", ["+8613800000002", "13800000002", "008613800000002"])
def test_a_number_of_the_bank_rings_there(world: ClosedWorld, form: str) -> None:
    world[0].say(f"ATD{form};")
    world.wait(1)
    assert world[1].heard()[0] == "RING"
    assert world[2].heard() == []


def test_it_rings_on_and_nobody_answers(world: ClosedWorld) -> None:
    ringing(world)
    world.wait(59)
    assert world[1].heard().count("RING") == 11
    world.wait(1.5)
    assert world[1].heard()[-1] == "NO CARRIER"
    assert world[0].heard() == ["NO ANSWER"]
    assert calls(world) == [
        ("modem02", "in", OURS[0], "missed", 16, 0),
        ("modem01", "out", OURS[1], "no_answer", 19, 0),
    ]


@pytest.mark.parametrize("ender", [0, 1])
def test_either_side_hangs_up_and_the_other_hears_it(world: ClosedWorld, ender: int) -> None:
    talking(world)
    world.wait(33)
    assert world[ender].say("AT+CHUP") == ["OK"]
    assert world[ender].heard() == []
    assert world[1 - ender].heard() == ["NO CARRIER"]
    assert sorted(calls(world)) == [
        ("modem01", "out", OURS[1], "answered", 16, 33),
        ("modem02", "in", OURS[0], "answered", 16, 33),
    ]
    assert world[0].say("AT+CLCC") == ["OK"]


def test_a_talk_has_no_script(world: ClosedWorld) -> None:
    talking(world)
    world.wait(7200)
    assert (world[0].heard(), world[1].heard(), calls(world)) == ([], [], [])


@pytest.mark.parametrize("command", ["ATH", "AT+CHUP"])
def test_the_callee_rejects(world: ClosedWorld, command: str) -> None:
    ringing(world)
    assert world[1].say(command) == ["OK"]
    assert world[0].heard() == ["NO CARRIER"]
    assert world[0].say("AT+CEER")[0] == "+CEER: Call rejected"
    assert [(call[0], *call[3:5]) for call in calls(world)] == [
        ("modem02", "rejected", 16),
        ("modem01", "rejected", 21),
    ]
    world.wait(100)
    assert (world[0].heard(), world[1].heard()) == ([], [])


def test_the_caller_gives_up_while_it_rings(world: ClosedWorld) -> None:
    ringing(world)
    assert world[0].say("ATH") == ["OK"]
    assert world[1].heard() == ["NO CARRIER"]
    assert [call[3] for call in calls(world)] == ["cancelled", "missed"]
    world.wait(100)
    assert world[1].heard() == []


def test_the_caller_gives_up_before_it_rings(world: ClosedWorld) -> None:
    world[0].say(f"ATD{OURS[1]};")
    world[0].say("ATH")
    world.wait(100)
    assert world[1].heard() == []
    assert [call[3] for call in calls(world)] == ["cancelled"]


def test_a_third_finds_the_line_busy(world: ClosedWorld) -> None:
    talking(world)
    world[2].say(f"ATD{OURS[0]};")
    world.wait(1)
    assert world[2].heard() == ["BUSY"]
    assert calls(world) == [("modem03", "out", OURS[0], "busy", 17, 0)]
    assert world[0].say("AT+CLCC")[0].split(",")[2] == "0"


def test_who_calls_himself_is_busy(world: ClosedWorld) -> None:
    world[0].say(f"ATD{OURS[0]};")
    world.wait(1)
    assert world[0].heard() == ["BUSY"]


@pytest.mark.parametrize("away", ["AT+CFUN=4", "AT+COPS=2"])
def test_a_card_that_is_away_is_not_reached(world: ClosedWorld, away: str) -> None:
    world[1].say(away)
    world[0].say(f"ATD{OURS[1]};")
    world.wait(1)
    assert world[0].heard() == ["NO CARRIER"]
    assert calls(world) == [("modem01", "out", OURS[1], "failed", 20, 0)]


def test_power_failure_of_one_side_ends_it_for_the_other(world: ClosedWorld) -> None:
    talking(world)
    world[1].modem.switch_off()
    assert world[0].heard() == ["NO CARRIER"]
    assert [(call[0], *call[3:5]) for call in calls(world)] == [
        ("modem02", "dropped", 27),
        ("modem01", "answered", 27),
    ]


def test_a_card_that_is_pulled_ends_its_call(world: ClosedWorld) -> None:
    talking(world)
    world[0].modem.insert(None)
    assert world[1].heard() == ["NO CARRIER"]
    assert world[0].modem.phone.call is None


def test_the_call_follows_the_card(world: ClosedWorld) -> None:
    world[1].modem.insert(None)
    world[2].modem.insert(world[1].card)
    world.wait(5)
    world[2].heard()
    world[0].say(f"ATD{OURS[1]};")
    world.wait(1)
    assert world[2].heard()[0] == "RING"


@pytest.mark.parametrize(
    ("setting", "dialled", "shown"),
    [
        ("AT+CLIR=1", f"ATD{OURS[1]};", '+CLIP: "",128,,,,1'),
        ("AT+CLIR=0", f"ATD{OURS[1]}I;", '+CLIP: "",128,,,,1'),
        ("AT+CLIR=1", f"ATD{OURS[1]}i;", f'+CLIP: "{OURS[0]}",145,,,,0'),
    ],
)
def test_a_number_can_be_withheld(
    world: ClosedWorld, setting: str, dialled: str, shown: str
) -> None:
    assert world[0].say(setting) == ["OK"]
    assert world[0].say(dialled) == ["OK"]
    world.wait(1)
    assert world[1].heard() == ["RING", shown]


def test_each_side_tells_it_in_its_own_words(tmp_path: Path) -> None:
    world = ClosedWorld(tmp_path, personas=("huawei", "quectel"))
    world[0].say("AT^CURC=0")
    assert world[1].say("AT^DSCI=1") == ["OK"]
    assert world[0].say(f"ATD{OURS[1]};") == ["OK"]
    world.wait(1)
    assert world[0].heard() == ["^ORIG:1,0", "^CONF:1"]
    assert world[1].heard()[0] == f"^DSCI: 1,1,4,0,{OURS[0]},145"
    world[1].say("ATA")
    assert world[0].heard() == ["^CONN:1,0"]
    world.wait(12)
    world[1].say("ATH")
    assert world[0].heard() == ["^CEND:1,12,104,16"]


# ---------------------------------------------------------------- numbers outside


def dialled(world: ClosedWorld, number: str = OUTSIDE, index: int = 0) -> list[str]:
    world[index].say(f"ATD{number};")
    world.wait(300)
    return world[index].heard()


@pytest.mark.parametrize(
    ("rule", "said", "outcome", "cause"),
    [
        (CallRule(outcome=CallOutcome.BUSY), "BUSY", "busy", 17),
        (CallRule(outcome=CallOutcome.NO_ANSWER, rings=3), "NO ANSWER", "no_answer", 19),
        (CallRule(outcome=CallOutcome.REJECTED), "NO CARRIER", "rejected", 21),
        (CallRule(outcome=CallOutcome.FAILED), "NO CARRIER", "failed", 41),
        (CallRule(outcome=CallOutcome.FAILED, cause=1), "NO CARRIER", "failed", 1),
        (CallRule(seconds=90.0), "NO CARRIER", "answered", 16),
    ],
)
def test_the_call_plan_decides_on_numbers_outside(
    world: ClosedWorld, rule: CallRule, said: str, outcome: str, cause: int
) -> None:
    world.network.add_call_rule(rule)
    assert dialled(world) == [said]
    ((_, direction, number, found, why, seconds),) = calls(world)
    assert (direction, number, found, why) == ("out", OUTSIDE, outcome, cause)
    assert seconds == (90 if outcome == "answered" else 0)


def test_the_call_plan_fits_by_number_card_modem_and_carrier(world: ClosedWorld) -> None:
    world.network.set_call_rules(
        [
            CallRule(number="1", outcome=CallOutcome.BUSY),
            CallRule(iccid=world[1].card.iccid, outcome=CallOutcome.NO_ANSWER),
            CallRule(modem="modem03", outcome=CallOutcome.REJECTED),
            CallRule(carrier="nobody", outcome=CallOutcome.BUSY),
            CallRule(outcome=CallOutcome.FAILED, count=1, skip=1),
        ]
    )
    assert dialled(world, "10086") == ["BUSY"]
    assert dialled(world, index=1) == ["NO ANSWER"]
    assert dialled(world, index=2) == ["NO CARRIER"]
    assert [dialled(world) for _ in range(3)] == [["NO CARRIER"]] * 3
    assert [call[3] for call in calls(world)[-3:]] == ["answered", "failed", "answered"]


def test_a_rate_of_calls_fails(world: ClosedWorld) -> None:
    world.network.set_call_rules([CallRule(outcome=CallOutcome.BUSY, rate=0.4)])
    said = [dialled(world)[0] for _ in range(30)]
    assert 4 < said.count("BUSY") < 22


def test_a_call_from_outside_can_withhold_its_number(world: ClosedWorld) -> None:
    world[0].modem.phone.ring(CallPlan(number="", outcome=CallOutcome.MISSED))
    assert world[0].heard() == ["RING", '+CLIP: "",128,,,,1']


def test_senseless_call_rules_are_refused() -> None:
    with pytest.raises(ValueError, match="rate"):
        CallRule(rate=-0.1)
    with pytest.raises(ValueError, match="not below"):
        CallRule(seconds=-1.0)
