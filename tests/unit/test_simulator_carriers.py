"""Carriers: coverage, roaming, denial, what +COPS and +CSQ tell, limits, money, the queue."""

from decimal import Decimal
from pathlib import Path

import pytest

from simulator.ledger import Fact
from simulator.network.carriers import CMCC, Beyond, Carrier, Coverage, Limit, Period
from simulator.network.latency import Latency, Shape
from simulator.story import scenario
from tests.support.closed_world import OUTSIDE, ClosedWorld

MOBILE = Carrier(name="CHINA MOBILE", short="CMCC", numeric="46000")
UNICOM = Carrier(name="CHN-UNICOM", short="UNICOM", numeric="46001", signal=12)
# Lets the first carrier's cards roam.
FRIEND = Carrier(name="FRIEND", numeric="46011", guests=("46000",), share=0, signal=9)


def two(folder: Path, *carriers: Carrier) -> ClosedWorld:
    return ClosedWorld(folder, carriers=carriers or (MOBILE, UNICOM))


def registration(world: ClosedWorld, index: int = 0) -> str:
    return world[index].say("AT+CREG?")[-2]


# ---------------------------------------------------------------- who lets whom in


def test_cards_are_dealt_to_the_carriers_and_find_their_own(tmp_path: Path) -> None:
    world = two(tmp_path)
    assert [seat.card.subscription.imsi[:5] for seat in world.seats] == ["46000", "46001"]
    assert [registration(world, n) for n in (0, 1)] == ["+CREG: 0,1"] * 2
    assert world[0].say("AT+COPS?")[0] == '+COPS: 0,0,"CHINA MOBILE"'
    assert world[1].say("AT+COPS?")[0] == '+COPS: 0,0,"CHN-UNICOM"'
    assert [world[n].say("AT+CSQ")[0] for n in (0, 1)] == ["+CSQ: 20,99", "+CSQ: 12,99"]


def test_registration_is_in_the_ledger(tmp_path: Path) -> None:
    world = two(tmp_path)
    found = [(line["modem"], line["stat"], line["carrier"]) for line in world.lines("registration")]
    assert found == [("modem01", 1, "CHINA MOBILE"), ("modem02", 1, "CHN-UNICOM")]
    world[0].say("AT+CFUN=4")
    assert world.lines("registration")[-1] | {"n": 0, "time": ""} == {
        "n": 0,
        "kind": "registration",
        "time": "",
        "modem": "modem01",
        "iccid": world[0].card.iccid,
        "stat": 0,
        "carrier": None,
    }


def test_a_card_without_its_carrier_is_denied_by_the_others(tmp_path: Path) -> None:
    world = two(tmp_path)
    world[0].say("AT+CREG=1")
    world.network.lose_coverage(carrier="CMCC", modem="modem01")
    assert world[0].heard() == ["+CREG: 2"]
    world.wait(1)
    assert world[0].heard() == ["+CREG: 3"]
    assert world[0].say("AT+COPS?")[0] == "+COPS: 0"
    assert world[0].send_to(OUTSIDE)[-1] == "+CMS ERROR: 331"
    assert registration(world, 1) == "+CREG: 0,1"
    world.network.restore_coverage(modem="modem01")
    world.wait(1)
    assert world[0].heard() == ["+CREG: 2", "+CREG: 1"]


def test_a_guest_roams_where_it_may_and_goes_home_when_it_can(tmp_path: Path) -> None:
    world = two(tmp_path, MOBILE, FRIEND)
    world[0].say("AT+CREG=1")
    world.network.lose_coverage(carrier="46000")
    world.wait(1)
    assert world[0].heard() == ["+CREG: 2", "+CREG: 5"]
    assert world[0].say("AT+COPS?")[0] == '+COPS: 0,0,"FRIEND"'
    assert world[0].say("AT+CSQ")[0] == "+CSQ: 9,99"
    assert world[0].send_to(OUTSIDE)[0] == "+CMGS: 0"
    world.network.restore_coverage(carrier="46000")
    world.wait(1)
    # The report had to wait for the way home.
    assert world[0].heard()[:3] == ["+CREG: 2", "+CREG: 1", "+CDS: 26"]


def test_silence_everywhere_is_a_search_without_end(tmp_path: Path) -> None:
    world = two(tmp_path)
    world.network.lose_coverage()
    world.wait(60)
    assert registration(world) == "+CREG: 0,2"
    assert world[0].say("AT+CSQ")[0] == "+CSQ: 99,99"
    world.network.restore_coverage()
    world.wait(1)
    assert registration(world) == "+CREG: 0,1"
    stats = [line["stat"] for line in world.lines("registration") if line["modem"] == "modem01"]
    assert stats == [1, 0, 2, 0, 1]


def test_coverage_of_a_place_is_its_own(tmp_path: Path) -> None:
    carrier = Carrier(name="A", numeric="46000", coverage={"modem02": -1, "modem0*": 7})
    world = two(tmp_path, carrier)
    assert [registration(world, n) for n in (0, 1)] == ["+CREG: 0,1", "+CREG: 0,2"]
    assert world[0].say("AT+CSQ")[0] == "+CSQ: 7,99"
    world.network.set_signal(3, carrier="A", modem="modem01")
    assert world[0].say("AT+CSQ")[0] == "+CSQ: 3,99"
    world.network.set_signal(-1, modem="modem01")
    world.wait(1)
    assert registration(world) == "+CREG: 0,2"
    world.network.set_signal(None, carrier="A", modem="modem01")
    world.wait(1)
    assert world[0].say("AT+CSQ")[0] == "+CSQ: 7,99"


def test_coverage_that_changes_elsewhere_disturbs_nobody(tmp_path: Path) -> None:
    world = two(tmp_path)
    before = len(world.lines("registration"))
    world.network.lose_coverage(carrier="UNICOM", modem="modem01")
    world.network.set_signal(5, modem="modem02")
    world.wait(5)
    assert len(world.lines("registration")) == before


def test_lost_coverage_cuts_a_call_on_both_sides(tmp_path: Path) -> None:
    world = two(tmp_path)
    world[0].say(f"ATD{world[1].number};")
    world.wait(1)
    world[1].say("ATA")
    world[0].heard()
    world.network.lose_coverage(modem="modem01")
    assert world[0].heard() == ["NO CARRIER"]
    assert world[1].heard()[-1] == "NO CARRIER"
    assert [line["cause"] for line in world.lines("call")] == [41, 41]


def test_a_scan_tells_current_available_and_forbidden(tmp_path: Path) -> None:
    world = two(tmp_path, MOBILE, UNICOM, FRIEND)
    assert world[0].say("AT+COPS=?") == []
    world.wait(3)
    assert world[0].heard()[0] == (
        '+COPS: (2,"CHINA MOBILE","CMCC","46000"),(3,"CHN-UNICOM","UNICOM","46001"),'
        '(1,"FRIEND","FRIEND","46011"),,(0,1,3,4),(0,1,2)'
    )


def test_a_client_may_insist_on_a_carrier(tmp_path: Path) -> None:
    world = two(tmp_path, MOBILE, UNICOM, FRIEND)
    assert world[0].say('AT+COPS=1,2,"46011"') == ["OK"]
    world.wait(1)
    assert registration(world) == "+CREG: 0,5"
    world[0].say("AT+COPS=3,2")
    assert world[0].say("AT+COPS?")[0] == '+COPS: 1,2,"46011"'
    world[0].say('AT+COPS=1,0,"CHN-UNICOM"')
    world.wait(1)
    assert registration(world) == "+CREG: 0,3"
    assert world[0].say('AT+COPS=1,2,"99999"') == ["+CME ERROR: 30"]
    world[0].say("AT+COPS=0")
    world.wait(1)
    assert registration(world) == "+CREG: 0,1"


def test_power_failure_ends_the_insistence(tmp_path: Path) -> None:
    world = two(tmp_path, MOBILE, UNICOM, FRIEND)
    world[0].say('AT+COPS=1,2,"46001"')
    world[0].modem.reboot()
    world.wait(10)
    world[0].say("ATE0")
    assert registration(world) == "+CREG: 0,1"
    assert world[0].say("AT+COPS?")[0] == '+COPS: 0,0,"CHINA MOBILE"'


def test_an_unknown_carrier_is_told(tmp_path: Path) -> None:
    world = two(tmp_path)
    with pytest.raises(LookupError, match="no carrier 'X'"):
        world.network.lose_coverage(carrier="X")


def test_an_imsi_of_nobody_belongs_to_the_first_and_the_longest_prefix_wins() -> None:
    fine = Carrier(name="MVNO", numeric="46000", home=("460009",))
    coverage = Coverage([MOBILE, fine])
    assert coverage.home("460001234567890") is MOBILE
    assert coverage.home("460009234567890") is fine
    assert coverage.home("310410123456789") is MOBILE
    assert coverage.place("310410123456789", "modem01").stat == 3


@pytest.mark.parametrize(
    "wrong",
    [
        {"numeric": "4600"},
        {"numeric": "4600a"},
        {"share": -1},
        {"price": Decimal(-1)},
        {"validity": -1.0},
    ],
)
def test_senseless_carriers_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"digits|not below"):
        Carrier(**{"name": "A", "numeric": "46000", **wrong})


@pytest.mark.parametrize("wrong", [{"count": -1}, {"lasts": -1.0}])
def test_senseless_limits_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="not below"):
        Limit(**{"count": 1, "per": Period.DAY, **wrong})


SCENARIO = """
modems = 6

[[carriers]]
name = "CHINA MOBILE"
short = "CMCC"
numeric = "46000"
share = 2
price = 0.10
balance = "25.50"
validity_most = "2d"
latency = { shape = "lognormal", seconds = 0.8, sigma = 0.6, most = "30s" }
coverage = { "modem0[12]" = 9, modem03 = -1 }

[[carriers.limits]]
count = 100
per = "hour"
beyond = "denied"
lasts = "1h"

[[carriers.ussd]]
code = "*101#"
text = "1 Balance"
choices = [{ code = "1", text = "{balance}" }]

[[carriers]]
name = "CHN-UNICOM"
numeric = "46001"
guests = ["46000"]
issuer = "898601"
service_centre = "+8613010112500"

[[call_rules]]
number = "+8610"
outcome = "busy"
rate = 0.2
"""


def test_carriers_are_read_from_a_scenario(tmp_path: Path) -> None:
    path = tmp_path / "bank.toml"
    path.write_text(SCENARIO, "utf-8")
    found = scenario.load(path)
    mobile, unicom = found.carriers
    assert mobile.latency == Latency(shape=Shape.LOGNORMAL, seconds=0.8, sigma=0.6, most=30.0)
    assert (mobile.price, mobile.balance) == (Decimal("0.1"), Decimal("25.50"))
    assert mobile.limits == (Limit(count=100, per=Period.HOUR, beyond=Beyond.DENIED, lasts=3600.0),)
    assert mobile.ussd[0].choices[0].text == "{balance}"
    assert [mobile.signal_at(f"modem0{n}") for n in (1, 2, 3, 4)] == [9, 9, -1, 20]
    assert unicom.names == ("CHN-UNICOM", "CHN-UNICOM", "46001")
    assert found.call_rules[0].rate == 0.2
    cards = [bay.subscription for bay in scenario.bays(found)]
    assert [card.imsi[:5] for card in cards] == ["46000", "46000", "46001"] * 2
    assert [card.iccid[:6] for card in cards if card.provider != "CMCC"] == ["898601"] * 2
    assert [card.service_centre[-4:] for card in cards] == ["0500", "0500", "2500"] * 2
    default = [bay.subscription for bay in scenario.bays(scenario.Scenario(modems=6))]
    assert [card.iccid for card in cards[:2]] == [card.iccid for card in default[:2]]


# ---------------------------------------------------------------- limits


def limited(folder: Path, **fields: object) -> ClosedWorld:
    limit = Limit(**{"count": 2, "per": Period.MINUTE, **fields})
    return two(folder, Carrier(name="A", numeric="46000", limits=(limit,)))


def answers(world: ClosedWorld, n: int, index: int = 0) -> list[str]:
    return [world[index].send_to(OUTSIDE)[-1].removeprefix("+CMS ERROR: ") for _ in range(n)]


def test_beyond_the_limit_every_segment_is_refused_until_the_period_ends(tmp_path: Path) -> None:
    world = limited(tmp_path)
    assert answers(world, 4) == ["OK", "OK", "21", "21"]
    assert answers(world, 1, index=1) == ["OK"]
    world.wait(59)
    assert answers(world, 1) == ["21"]
    world.wait(2)
    assert answers(world, 3) == ["OK", "OK", "21"]


def test_one_refusal_then_counting_begins_anew(tmp_path: Path) -> None:
    world = limited(tmp_path, beyond=Beyond.ONCE, cms=42)
    assert answers(world, 6) == ["OK", "OK", "42", "OK", "OK", "42"]


@pytest.mark.parametrize("cms", [8, 10, 21, 28, 50])
def test_a_card_that_is_cut_off_stays_so_until_it_is_lifted(tmp_path: Path, cms: int) -> None:
    world = limited(tmp_path, beyond=Beyond.CUT_OFF, cms=cms)
    assert answers(world, 4) == ["OK", "OK", str(cms), str(cms)]
    world.wait(86_400)
    assert answers(world, 1) == [str(cms)]
    assert registration(world) == "+CREG: 0,1"
    world.network.account(world[0].card).lift()
    assert answers(world, 3) == ["OK", "OK", str(cms)]
    found = [(line["iccid"], line["outcome"], line["cms"]) for line in world.lines("account")]
    iccid = world[0].card.iccid
    assert found == [(iccid, "cut_off", cms), (iccid, "lifted", None), (iccid, "cut_off", cms)]


def test_a_card_can_be_cut_off_for_a_time(tmp_path: Path) -> None:
    world = limited(tmp_path, beyond=Beyond.CUT_OFF, cms=10, lasts=3600.0)
    answers(world, 3)
    world.wait(3599)
    assert answers(world, 1) == ["10"]
    world.wait(2)
    assert answers(world, 1) == ["OK"]


def test_a_card_can_be_thrown_out(tmp_path: Path) -> None:
    world = limited(tmp_path, beyond=Beyond.DENIED, cms=21, lasts=600.0)
    world[0].say("AT+CREG=1")
    assert answers(world, 2) == ["OK", "OK"]
    world.wait(1)
    assert "+CMS ERROR: 21" in world[0].send_to(OUTSIDE)
    world.wait(1)
    assert world[0].heard()[-1] == "+CREG: 3"
    assert answers(world, 1) == ["331"]
    assert answers(world, 1, index=1) == ["OK"]
    world.wait(600)
    assert registration(world) == "+CREG: 1,1"
    assert answers(world, 1) == ["OK"]


def test_refused_segments_do_not_count(tmp_path: Path) -> None:
    from simulator.network.network import Rule

    world = limited(tmp_path)
    world.network.set_rules([Rule(cms=38, count=5)])
    assert answers(world, 8) == ["38"] * 5 + ["OK", "OK", "21"]


def test_the_tightest_of_several_limits_strikes(tmp_path: Path) -> None:
    limits = (
        Limit(count=2, per=Period.MINUTE, beyond=Beyond.REFUSE, cms=42),
        Limit(count=3, per=Period.HOUR, beyond=Beyond.CUT_OFF, cms=10),
    )
    world = two(tmp_path, Carrier(name="A", numeric="46000", limits=limits))
    assert answers(world, 3) == ["OK", "OK", "42"]
    world.wait(61)
    assert answers(world, 3) == ["OK", "10", "10"]


def test_a_limit_of_nothing_lets_nothing_pass(tmp_path: Path) -> None:
    assert answers(limited(tmp_path, count=0), 2) == ["21", "21"]


def test_a_card_that_is_cut_off_by_hand_cannot_call_either(tmp_path: Path) -> None:
    world = two(tmp_path)
    world.network.account(world[0].card).cut_off(cms=28, is_denied=False, lasts=None)
    assert answers(world, 1) == ["28"]
    assert world[0].say(f"ATD{world[1].number};") == ["OK"]
    world.wait(5)
    assert world[0].heard() == ["NO CARRIER"]
    assert world[0].say("AT+CEER")[0] == "+CEER: Operator determined barring"
    assert world[1].heard() == []


# ---------------------------------------------------------------- money and pace


def test_a_segment_costs_its_price_until_nothing_is_left(tmp_path: Path) -> None:
    carrier = Carrier(
        name="A",
        numeric="46000",
        price=Decimal("0.10"),
        balance=Decimal("0.25"),
        no_credit_cms=38,
    )
    world = two(tmp_path, carrier)
    assert answers(world, 3) == ["OK", "OK", "38"]
    account = world.network.account(world[0].card)
    assert account.balance == Decimal("0.05")
    account.balance = Decimal("1.00")
    assert answers(world, 1) == ["OK"]


def test_refused_segments_cost_nothing(tmp_path: Path) -> None:
    limit = Limit(count=1, per=Period.DAY)
    carrier = Carrier(name="A", numeric="46000", price=Decimal(1), limits=(limit,))
    world = two(tmp_path, carrier)
    assert answers(world, 3) == ["OK", "21", "21"]
    assert world.network.account(world[0].card).balance == Decimal(9)


def test_the_centre_works_off_so_many_a_second(tmp_path: Path) -> None:
    carrier = Carrier(name="A", numeric="46000", per_second=2.0, latency=Latency(seconds=0.0))
    world = two(tmp_path, carrier)
    # Free at first, then each half second one.
    assert world[0].send_to(OUTSIDE)[-1] == "OK"
    assert world[1].send_to(OUTSIDE) == []
    world.wait(0.49)
    assert world[1].heard() == []
    world.wait(0.02)
    assert world[1].heard()[:2] == ["+CMGS: 0", "OK"]


def test_a_full_queue_is_a_congestion(tmp_path: Path) -> None:
    carrier = Carrier(
        name="A", numeric="46000", per_second=0.1, queue=1, latency=Latency(seconds=0.0)
    )
    world = ClosedWorld(tmp_path, personas=["generic"] * 3, carriers=[carrier])
    said = [world[n].send_to(OUTSIDE)[-1:] for n in range(3)]
    assert said == [["OK"], ["+CMS ERROR: 42"], ["+CMS ERROR: 42"]]


def times(folder: Path, seed: int, order: list[int]) -> dict[Fact, list[float]]:
    folder.mkdir()
    carrier = Carrier(
        name="A",
        numeric="46000",
        latency=Latency(shape=Shape.LOGNORMAL, seconds=0.8, sigma=0.7, most=30.0),
    )
    world = ClosedWorld(folder, carriers=[carrier], seed=seed)
    found: dict[Fact, list[float]] = {}
    for index in order:
        begun = world.clock.now()
        assert world[index].send_to(OUTSIDE) == []
        while not world[index].heard():
            world.wait(0.01)
        found.setdefault(index, []).append((world.clock.now() - begun).total_seconds())
    return found


def test_latency_is_drawn_per_card_and_count(tmp_path: Path) -> None:
    one = times(tmp_path / "a", 3, [0, 1, 0, 1, 0, 1])
    other = times(tmp_path / "b", 3, [1, 1, 1, 0, 0, 0])
    assert one == other
    assert len(set(one[0])) == 3
    assert one[0] != one[1]
    assert one != times(tmp_path / "c", 4, [0, 1, 0, 1, 0, 1])


def test_latency_can_change_while_running(tmp_path: Path) -> None:
    world = two(tmp_path)
    world.network.set_carrier_latency("CMCC", Latency(seconds=5.0))
    assert world[0].send_to(OUTSIDE) == []
    assert world[1].send_to(OUTSIDE)[-1] == "OK"
    world.wait(5)
    assert world[0].heard()[:2] == ["+CMGS: 0", "OK"]
    world.network.set_carrier_latency("CMCC", None)
    assert world[0].send_to(OUTSIDE)[-1] == "OK"


def test_the_default_is_one_carrier_for_every_card(tmp_path: Path) -> None:
    world = ClosedWorld(tmp_path)
    assert world.network.carriers == (CMCC,)
    assert CMCC.owns("310410123456789")
    assert world.network.carrier("46000") is CMCC
