"""Rules: by what they fit, how often and with which probability they strike."""

from pathlib import Path

import pytest

from simulator.dice import Dice
from simulator.network.carriers import CMCC
from simulator.network.network import Fate, ReportFate, Rule
from simulator.network.rules import Rulebook
from tests.support.closed_world import OUTSIDE, ClosedWorld, submit_tpdu


@pytest.fixture
def world(tmp_path: Path) -> ClosedWorld:
    return ClosedWorld(tmp_path, report_delay=2.0)


def fitting(world: ClosedWorld) -> list[tuple[Rule, bool]]:
    seat = world[0]
    return [
        (Rule(cms=1, destination="+86139"), True),
        (Rule(cms=1, destination="+86138"), False),
        (Rule(cms=1, iccid=seat.card.iccid), True),
        (Rule(cms=1, iccid=world[1].card.iccid), False),
        (Rule(cms=1, modem="modem01"), True),
        (Rule(cms=1, modem="modem02"), False),
        (Rule(cms=1, carrier=CMCC.name), True),
        (Rule(cms=1, carrier="another"), False),
        (Rule(cms=1, text="h.l+o$"), True),
        (Rule(cms=1, text="^ello"), False),
        (Rule(cms=1, destination="+86139", modem="modem01", text="hello"), True),
        (Rule(cms=1, destination="+86139", modem="modem02", text="hello"), False),
    ]


@pytest.mark.parametrize("place", range(12))
def test_a_rule_fits_by_all_that_it_names(world: ClosedWorld, place: int) -> None:
    rule, fits = fitting(world)[place]
    world.network.set_rules([rule])
    assert (world[0].send_to(OUTSIDE) == ["+CMS ERROR: 1"]) is fits


def test_the_first_rule_that_strikes_decides(world: ClosedWorld) -> None:
    world.network.set_rules([Rule(cms=38, skip=1), Rule(cms=42)])
    assert [world[0].send_to(OUTSIDE)[-1] for _ in range(2)] == ["+CMS ERROR: 42", "+CMS ERROR: 38"]


def test_skip_then_count(world: ClosedWorld) -> None:
    world.network.set_rules([Rule(cms=21, skip=2, count=1)])
    said = [world[0].send_to(OUTSIDE)[-1] for _ in range(4)]
    assert said == ["OK", "OK", "+CMS ERROR: 21", "OK"]
    assert world.network.rules == []


def errors(folder: Path, seed: int, order: list[int]) -> dict[int, list[bool]]:
    folder.mkdir()
    world = ClosedWorld(folder, seed=seed)
    world.network.set_rules([Rule(cms=42, rate=0.5)])
    found: dict[int, list[bool]] = {0: [], 1: []}
    for index in order:
        found[index].append(world[index].send_to(OUTSIDE)[-1] != "OK")
    return found


def test_a_rate_is_drawn_per_card_whatever_the_others_send(tmp_path: Path) -> None:
    one = errors(tmp_path / "a", 5, [0, 1] * 20)
    other = errors(tmp_path / "b", 5, [0] * 20 + [1] * 20)
    assert one == other
    assert one[0] != one[1]
    assert 3 < sum(one[0]) < 17
    assert one != errors(tmp_path / "c", 6, [0, 1] * 20)


@pytest.mark.parametrize(
    ("rule", "said", "took"),
    [
        (Rule(cms=332), ["+CMS ERROR: 332"], False),
        (Rule(outcome=Fate.SILENCE), [], False),
        (Rule(outcome=Fate.TAKEN_SILENCE), [], True),
        (Rule(outcome=Fate.TAKEN_ERROR), ["+CMS ERROR: 332"], True),
        (Rule(outcome=Fate.TAKEN_ERROR, cms=500), ["+CMS ERROR: 500"], True),
    ],
)
def test_outcome_kinds(world: ClosedWorld, rule: Rule, said: list[str], took: bool) -> None:
    world.network.set_rules([rule])
    assert world[0].send_to(OUTSIDE) == said
    assert len(world.lines("submit")) == int(took)
    assert len(world.lines("refused")) == int(not took)
    world.wait(600)
    heard = world[0].heard()
    if not said:
        # The modem gives up by itself after 150 s.
        assert "+CMS ERROR: 332" in heard
        heard.remove("+CMS ERROR: 332")
    assert heard[:1] == (["+CDS: 26"] if took else [])


def test_an_answer_can_be_late_though_the_network_took_it(world: ClosedWorld) -> None:
    world.network.set_rules([Rule(answer_delay=40.0)])
    assert world[0].send_to(OUTSIDE) == []
    assert len(world.lines("submit")) == 1
    world.wait(39.9)
    assert world[0].say("AT") == []
    world.wait(0.2)
    assert world[0].heard()[:2] == ["+CMGS: 0", "OK"]


def test_power_failure_forgets_a_late_answer(world: ClosedWorld) -> None:
    world.network.set_rules([Rule(answer_delay=40.0, count=1)])
    world[0].send_to(OUTSIDE)
    world[0].modem.reboot()
    world.wait(60)
    assert not any(line.startswith("+CMGS") for line in world[0].heard())
    world[0].say("ATE0")
    assert world[0].send_to(OUTSIDE) == ["+CMGS: 0", "OK"]


@pytest.mark.parametrize(
    ("rule", "sts"),
    [
        (Rule(temporary=(0x22, 0x20)), [0x22, 0x20, 0]),
        (Rule(temporary=(0x22,), st=0x46), [0x22, 0x46]),
        (Rule(temporary=(0x30,), st=0x62), [0x30, 0x62]),
        (Rule(temporary=(0x22,), report=ReportFate.LOST), [0x22]),
        (Rule(report=ReportFate.DOUBLED, st=0x01), [1, 1]),
    ],
)
def test_temporary_reports_come_before_the_final_one(
    world: ClosedWorld, rule: Rule, sts: list[int]
) -> None:
    world.network.set_rules([rule])
    world[0].send_to(OUTSIDE)
    world.wait(30)
    assert world.sts() == sts


def test_a_late_report_comes_after_the_validity(world: ClosedWorld) -> None:
    world.network.set_rules([Rule(report=ReportFate.LATE)])
    world[0].send(submit_tpdu(OUTSIDE, validity=b"\x0b"))
    world.wait(3600)
    assert world.sts() == []
    world.wait(3)
    assert world.sts() == [0]


def test_reports_lost_at_a_rate(world: ClosedWorld) -> None:
    world.network.set_rules([Rule(report=ReportFate.LOST, rate=0.3)])
    for _ in range(40):
        world[0].send_to(OUTSIDE)
    world.wait(10)
    assert 18 < len(world.sts()) < 38


def test_a_permanent_error_is_not_delivered(world: ClosedWorld) -> None:
    world.network.set_rules([Rule(st=0x43)])
    world[0].send_to(world[1].number)
    world.wait(10)
    assert (world.lines("deliver"), world.sts()) == ([], [0x43])


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"rate": 1.5}, "rate"),
        ({"text": "("}, "regular expression"),
        ({"report_delay": -1.0}, "not below"),
    ],
)
def test_senseless_rules_are_refused(wrong: dict[str, object], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Rule(**wrong)


def test_no_draw_where_the_rate_is_certain() -> None:
    book: Rulebook[Rule] = Rulebook(name="rule", dice=_NoDice(1))
    book.set([Rule(cms=1), Rule(cms=2, rate=0.0)])
    assert book.pick(lambda rule: rule.cms == 1, who="x") is not None
    assert book.pick(lambda rule: rule.cms == 2, who="x") is None


class _NoDice(Dice):
    def draw(self, entity: str, n: int) -> float:
        raise AssertionError(f"{entity} {n}")
