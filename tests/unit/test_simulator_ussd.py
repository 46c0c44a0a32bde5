"""USSD: menus, sessions, and each model's coding: at-dialects §3.6, §6.8 row 14."""

from decimal import Decimal
from pathlib import Path

import pytest

from simulator import alphabet
from simulator.ledger import Fact
from simulator.network.carriers import Carrier
from simulator.network.ussd import Ending, Menu
from tests.support.closed_world import OUTSIDE, ClosedWorld


@pytest.fixture
def world(tmp_path: Path) -> ClosedWorld:
    return ClosedWorld(tmp_path, latency=0.5)


def asked(world: ClosedWorld, code: str, index: int = 0) -> list[str]:
    assert world[index].say(f'AT+CUSD=1,"{code}",15') == ["OK"]
    world.wait(1)
    return world[index].heard()


def packed(text: str) -> str:
    septets = alphabet.to_septets(text)
    if len(septets) % 8 == 7:
        septets += b"\r"
    return alphabet.pack(septets).hex().upper()


def ucs2(text: str) -> str:
    return text.encode("utf-16-be").hex().upper()


# ---------------------------------------------------------------- menus and sessions


def test_the_answer_comes_after_ok_and_after_the_latency(world: ClosedWorld) -> None:
    assert world[0].say('AT+CUSD=1,"*100#",15') == ["OK"]
    world.wait(0.49)
    assert world[0].heard() == []
    world.wait(0.02)
    assert world[0].heard() == ['+CUSD: 0,"Balance 10.00 CNY",15']


def test_an_unknown_code_is_answered(world: ClosedWorld) -> None:
    assert asked(world, "*999#") == ['+CUSD: 0,"Unknown request",15']


def test_a_menu_leads_on_until_it_ends(world: ClosedWorld) -> None:
    # A line feed stands within the quotes.
    assert asked(world, "*101#") == ['+CUSD: 1,"1 Balance\n2 My number\n3 Service",15']
    assert asked(world, "3") == ['+CUSD: 1,"Write to us",15']
    assert asked(world, "my words") == ['+CUSD: 0,"Thank you",15']
    assert asked(world, "3") == ['+CUSD: 0,"Unknown request",15']


def test_a_menu_tells_of_the_card(world: ClosedWorld) -> None:
    asked(world, "*101#", 1)
    assert asked(world, "2", 1) == ['+CUSD: 0,"+8613800000002",15']


def test_a_wrong_choice_is_asked_for_again(world: ClosedWorld) -> None:
    first = asked(world, "*101#")
    assert asked(world, "9") == first
    assert asked(world, "1") == ['+CUSD: 0,"Balance 10.00 CNY",15']


@pytest.mark.parametrize(
    ("code", "said"), [("*104#", ["+CUSD: 5"]), ("*105#", ["+CUSD: 2"]), ("*103#", [])]
)
def test_codes_that_end_otherwise(world: ClosedWorld, code: str, said: list[str]) -> None:
    assert asked(world, code) == said


def test_a_code_that_never_answers_blocks_until_it_is_cancelled(world: ClosedWorld) -> None:
    asked(world, "*103#")
    world.wait(3600)
    assert world[0].say('AT+CUSD=1,"*100#",15') == ["+CME ERROR: 100"]
    assert world[0].say("AT+CUSD=2") == ["OK"]
    assert asked(world, "*100#") == ['+CUSD: 0,"Balance 10.00 CNY",15']


def test_a_session_that_nobody_answers_is_ended_by_the_network(world: ClosedWorld) -> None:
    asked(world, "*101#")
    world.wait(58)
    assert world[0].heard() == []
    world.wait(2)
    assert world[0].heard() == ["+CUSD: 2"]
    assert asked(world, "1") == ['+CUSD: 0,"Unknown request",15']


def test_the_client_ends_a_session(world: ClosedWorld) -> None:
    asked(world, "*101#")
    assert world[0].say("AT+CUSD=2") == ["OK"]
    world.wait(100)
    assert world[0].heard() == []
    assert asked(world, "1") == ['+CUSD: 0,"Unknown request",15']


def test_an_answer_on_its_way_is_cancelled_too(world: ClosedWorld) -> None:
    world[0].say('AT+CUSD=1,"*100#",15')
    world[0].say("AT+CUSD=2")
    world.wait(10)
    assert world[0].heard() == []


def test_sessions_are_each_card_s_own(world: ClosedWorld) -> None:
    asked(world, "*101#", 0)
    assert asked(world, "1", 1) == ['+CUSD: 0,"Unknown request",15']
    assert asked(world, "1", 0) == ['+CUSD: 0,"Balance 10.00 CNY",15']


def test_a_card_that_leaves_the_network_has_no_session(world: ClosedWorld) -> None:
    asked(world, "*101#")
    world[0].say("AT+CFUN=4")
    assert world[0].say('AT+CUSD=1,"1",15') == ["+CME ERROR: 30"]
    world[0].say("AT+CFUN=1")
    world.wait(100)
    world[0].heard()
    assert asked(world, "1") == ['+CUSD: 0,"Unknown request",15']


def test_lost_coverage_ends_a_session_aloud(world: ClosedWorld) -> None:
    asked(world, "*101#")
    world.network.lose_coverage(modem="modem01")
    assert world[0].heard() == ["+CUSD: 2"]
    world.network.restore_coverage()
    world.wait(100)
    assert world[0].heard() == []


def test_a_menu_is_data(tmp_path: Path) -> None:
    menu = Menu(
        code="*1#",
        text="a {unknown} {number}",
        delay=10.0,
        choices=(Menu(code="x", ending=Ending.TERMINATED, text="gone"),),
    )
    gone = Menu(code="*2#", ending=Ending.UNSUPPORTED)
    carrier = Carrier(name="A", numeric="46000", ussd=(menu, gone), ussd_idle=5.0)
    world = ClosedWorld(tmp_path, carriers=[carrier])
    assert asked(world, "*1#") == []
    world.wait(9)
    assert world[0].heard() == ['+CUSD: 1,"a {unknown} +8613800000001",15']
    assert asked(world, "x") == ['+CUSD: 2,"gone",15']
    assert asked(world, "*2#") == ["+CUSD: 4"]
    assert asked(world, "*3#") == ['+CUSD: 0,"Unknown request",15']
    asked(world, "*1#")
    world.wait(16)
    assert world[0].heard()[-1] == "+CUSD: 2"


def test_the_balance_falls_with_every_segment(tmp_path: Path) -> None:
    carrier = Carrier(name="A", numeric="46000", price=Decimal("0.10"), balance=Decimal("0.30"))
    world = ClosedWorld(tmp_path, carriers=[carrier])
    asked(world, "*101#")
    assert [world[0].send_to(OUTSIDE)[-1] for _ in range(4)] == ["OK"] * 3 + ["+CMS ERROR: 21"]
    # The menu was opened before; what it tells is true now.
    assert asked(world, "1")[-1] == '+CUSD: 0,"Balance 0.00 CNY",15'


# ---------------------------------------------------------------- begun by the network


def test_the_network_tells_and_asks(world: ClosedWorld) -> None:
    notice = Menu(text="Your package ends")
    assert world.network.send_ussd(to=world[0].card, menu=notice)
    assert world[0].heard() == []
    world[0].say("AT+CUSD=1")
    assert world.network.send_ussd(to=world[0].card, menu=notice)
    assert world[0].heard() == ['+CUSD: 0,"Your package ends",15']
    question = Menu(text="Renew?", choices=(Menu(code="1", text="Done"),))
    assert world.network.send_ussd(to=world[0].card, menu=question)
    assert world[0].heard() == ['+CUSD: 1,"Renew?",15']
    assert not world.network.send_ussd(to=world[0].card, menu=notice)
    assert asked(world, "1") == ['+CUSD: 0,"Done",15']


def test_a_card_that_is_away_gets_nothing(world: ClosedWorld) -> None:
    world[0].say("AT+CFUN=4")
    assert not world.network.send_ussd(to=world[0].card, menu=Menu(text="x"))


# ---------------------------------------------------------------- the ledger


def test_the_ledger_tells_both_directions(world: ClosedWorld) -> None:
    asked(world, "*101#")
    world[0].say("AT+CUSD=2")
    found: list[tuple[Fact, ...]] = [
        (line["modem"], line["iccid"], line["direction"], line["text"], line["m"])
        for line in world.lines("ussd")
    ]
    iccid = world[0].card.iccid
    assert found == [
        ("modem01", iccid, "out", "*101#", None),
        ("modem01", iccid, "in", "1 Balance\n2 My number\n3 Service", 1),
    ]


# ---------------------------------------------------------------- the command


def test_the_command_keeps_its_mode(world: ClosedWorld) -> None:
    assert world[0].say("AT+CUSD=?") == ["+CUSD: (0-2)", "OK"]
    assert world[0].say("AT+CUSD?") == ["+CUSD: 0", "OK"]
    assert world[0].say("AT+CUSD=1") == ["OK"]
    assert world[0].say("AT+CUSD?") == ["+CUSD: 1", "OK"]
    assert world[0].say("AT+CUSD=3") == ["+CME ERROR: 50"]
    assert world[0].say('AT+CUSD=1,"*100#",999') == ["+CME ERROR: 50"]


def test_who_does_not_want_to_see_it_sees_nothing(world: ClosedWorld) -> None:
    assert world[0].say('AT+CUSD=0,"*100#",15') == ["OK"]
    world.wait(5)
    assert world[0].heard() == []
    assert [line["direction"] for line in world.lines("ussd")] == ["out", "in"]


def test_the_data_coding_scheme_may_be_left_out(world: ClosedWorld) -> None:
    assert world[0].say('AT+CUSD=1,"*100#"') == ["OK"]
    world.wait(1)
    assert world[0].heard() == ['+CUSD: 0,"Balance 10.00 CNY",15']


def test_it_needs_a_card_and_a_network(world: ClosedWorld) -> None:
    world[1].say("AT+CFUN=4")
    assert world[1].say('AT+CUSD=1,"*100#",15') == ["+CME ERROR: 30"]
    world[0].modem.insert(None)
    assert world[0].say('AT+CUSD=1,"*100#",15') == ["+CME ERROR: 10"]
    assert world[0].say("AT+CUSD=2") == ["OK"]


# ---------------------------------------------------------------- coding

BALANCE = "Balance 10.00 CNY"
CHINESE = "您的余额为10.00元"


def coded(folder: Path, persona: str, setting: str, code: str) -> str:
    world = ClosedWorld(folder, personas=(persona, persona))
    world[0].say("AT^CURC=0")
    if setting:
        assert world[0].say(setting) == ["OK"]
    found = asked(world, code)
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize(
    "persona", ["generic", "quectel", "m35", "sim7600", "le910", "sara", "bgs2", "mc7304"]
)
@pytest.mark.parametrize(
    ("charset", "code", "answer"),
    [
        ("IRA", "*100#", BALANCE),
        ("GSM", "*100#", BALANCE),
        ("UCS2", ucs2("*100#"), ucs2(BALANCE)),
        ("HEX", "*100#".encode("ascii").hex(), BALANCE.encode("ascii").hex().upper()),
    ],
)
def test_text_is_coded_as_the_character_set_says(
    tmp_path: Path, persona: str, charset: str, code: str, answer: str
) -> None:
    said = coded(tmp_path, persona, f'AT+CSCS="{charset}"', code)
    assert said == f'+CUSD: 0,"{answer}",15'


@pytest.mark.parametrize("persona", ["generic", "quectel", "sim7600", "simcom", "zte", "e173"])
def test_chinese_is_hex_whatever_the_character_set(tmp_path: Path, persona: str) -> None:
    code = packed("*102#") if persona == "e173" else "*102#"
    said = coded(tmp_path, persona, 'AT+CSCS="GSM"', code).replace(", ", ",")
    assert said == f'+CUSD: 0,"{ucs2(CHINESE)}",72'


def test_the_old_simcom_leaves_blanks_and_fails_in_hex(tmp_path: Path) -> None:
    assert coded(tmp_path, "simcom", "", "*100#") == f'+CUSD: 0, "{BALANCE}", 15'
    code = "*100#".encode("ascii").hex()
    (tmp_path / "hex").mkdir()
    assert coded(tmp_path / "hex", "simcom", 'AT+CSCS="HEX"', code) == "+CUSD: 2"


def test_zte_answers_in_ucs2_whatever_the_character_set(tmp_path: Path) -> None:
    assert coded(tmp_path, "zte", 'AT+CSCS="IRA"', "*100#") == f'+CUSD: 0,"{ucs2(BALANCE)}",72'
    said = coded(_new(tmp_path), "zte", 'AT+CSCS="UCS2"', ucs2("*100#"))
    assert said == f'+CUSD: 0,"{ucs2(BALANCE)}",72'


def test_a_second_code_meanwhile_finds_the_phone_busy(tmp_path: Path) -> None:
    world = ClosedWorld(tmp_path, personas=("bgs2", "generic"), latency=0.5)
    for seat, said in ((world[0], "+CME ERROR: 258"), (world[1], "+CME ERROR: 100")):
        assert seat.say('AT+CUSD=1,"*100#",15') == ["OK"]
        assert seat.say('AT+CUSD=1,"*100#",15') == [said]


def test_huawei_packs_septets_both_ways(tmp_path: Path) -> None:
    assert packed("*100#") == "AA180C3602"
    said = coded(tmp_path, "huawei", "", "AA180C3602")
    assert said == f'+CUSD: 0,"{packed(BALANCE)}",15'


def test_huawei_shows_chinese_as_ucs2_and_takes_it(tmp_path: Path) -> None:
    said = coded(tmp_path, "huawei", "", packed("*102#"))
    assert said == f'+CUSD: 0,"{ucs2(CHINESE)}",72'
    world = ClosedWorld(_new(tmp_path), personas=("huawei",))
    assert world[0].say(f'AT+CUSD=1,"{ucs2("*100#")}",72') == ["OK"]
    world.wait(1)
    assert f'+CUSD: 0,"{packed(BALANCE)}",15' in world[0].heard()


def test_huawei_is_packed_even_where_the_character_set_is_ucs2(tmp_path: Path) -> None:
    said = coded(tmp_path, "huawei", 'AT+CSCS="UCS2"', packed("*100#"))
    assert said == f'+CUSD: 0,"{packed(BALANCE)}",15'


def test_huawei_takes_text_after_ussdmode_0_only(tmp_path: Path) -> None:
    world = ClosedWorld(tmp_path, personas=("huawei",))
    world[0].say("AT^CURC=0")
    assert world[0].say('AT+CUSD=1,"*100#",15') == ["+CME ERROR: 50"]
    assert world[0].say("AT^USSDMODE?") == ["^USSDMODE: 1", "OK"]
    assert world[0].say("AT^USSDMODE=2") == ["+CME ERROR: 50"]
    assert world[0].say("AT^USSDMODE=0") == ["OK"]
    assert asked(world, "*100#") == [f'+CUSD: 0,"{BALANCE}",15']


def test_seven_spare_bits_are_a_carriage_return(tmp_path: Path) -> None:
    menu = Menu(code="*1#", text="1234567")
    carrier = Carrier(name="A", numeric="46000", ussd=(menu,))
    world = ClosedWorld(tmp_path, personas=("huawei",), carriers=[carrier])
    world[0].say("AT^CURC=0")
    assert asked(world, packed("*1#")) == ['+CUSD: 0,"31D98C56B3DD1A",15']


def test_quotes_and_odd_letters_in_the_gsm_alphabet(tmp_path: Path) -> None:
    menu = Menu(code="*1#", text="@$_é")
    world = ClosedWorld(tmp_path, carriers=[Carrier(name="A", numeric="46000", ussd=(menu,))])
    world[0].say('AT+CSCS="GSM"')
    assert asked(world, "*1#") == ['+CUSD: 0,"\x00\x02\x11\x05",15']
    world[0].say('AT+CSCS="IRA"')
    assert asked(world, "*1#") == ['+CUSD: 0,"@$_?",15']


def test_senseless_hex_is_refused(world: ClosedWorld) -> None:
    world[0].say('AT+CSCS="UCS2"')
    assert world[0].say('AT+CUSD=1,"*100#",15') == ["+CME ERROR: 50"]


def _new(folder: Path) -> Path:
    found = folder / "new"
    found.mkdir()
    return found
