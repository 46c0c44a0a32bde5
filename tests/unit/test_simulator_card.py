"""PIN, PUK, locks and files: at-dialects §3.2, §3.3, §6.8 rows 11, 12."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.card import Card, CardState, PinRefused, Subscription
from tests.support.one_modem import OneModem

PUK = "87654321"


def card(*, is_locked: bool = True) -> Card:
    subscription = Subscription(
        iccid="898604B2742763950001",
        imsi="460002711150001",
        number="+8613800000002",
        pin="1234",
        puk=PUK,
    )
    return Card(subscription, is_locked=is_locked)


@pytest.fixture
def locked(tmp_path: Path) -> OneModem:
    return OneModem(tmp_path, is_locked=True)


def test_right_pin_opens_then_the_card_is_busy_for_a_moment(locked: OneModem) -> None:
    assert locked.lines("AT+CPIN?") == ["+CPIN: SIM PIN", "OK"]
    assert locked.say("AT+CIMI") == "+CME ERROR: 11"
    assert locked.say("AT+CMGL=4") == "+CMS ERROR: 311"
    assert locked.say('AT+CPIN="1234"') == "OK"
    assert locked.lines("AT+CPIN?") == ["+CPIN: READY", "OK"]
    assert locked.say("AT+CIMI") == "+CME ERROR: 14"
    assert locked.say("AT+CPMS?") == "+CMS ERROR: 314"
    locked.wait(1)
    assert locked.lines("AT+CIMI") == [locked.card.subscription.imsi, "OK"]
    assert locked.lines("AT+CREG?") == ["+CREG: 0,1", "OK"]
    assert locked.say('AT+CPIN="1234"') == "+CME ERROR: 3"


def test_three_wrong_pins_ask_for_the_puk(locked: OneModem) -> None:
    assert locked.say('AT+CPIN="0000"') == "+CME ERROR: 16"
    assert "+CPINR: SIM PIN,2,3" in locked.lines("AT+CPINR")
    assert locked.say("AT+CPIN=0001") == "+CME ERROR: 16"
    assert locked.say('AT+CPIN="0002"') == "+CME ERROR: 12"
    assert locked.lines("AT+CPIN?") == ["+CPIN: SIM PUK", "OK"]
    assert locked.say('AT+CPIN="1234"') == "+CME ERROR: 12"
    assert locked.say("AT+CMGS=24") == "+CMS ERROR: 316"
    puk = locked.card.subscription.puk
    assert locked.say(f'AT+CPIN="{puk}","4321"') == "OK"
    assert "+CPINR: SIM PIN,3,3" in locked.lines("AT+CPINR")
    assert locked.card.pin == "4321"


def test_ten_wrong_puks_kill_the_card() -> None:
    subject = card()
    for _ in range(3):
        with pytest.raises(PinRefused):
            subject.enter_pin("0000")
    for left in range(9, 0, -1):
        with pytest.raises(PinRefused) as refusal:
            subject.enter_puk("00000000", "1111")
        assert (refusal.value.cme, subject.puk_tries) == (16, left)
    with pytest.raises(PinRefused):
        subject.enter_puk("00000000", "1111")
    assert subject.state is CardState.DEAD
    with pytest.raises(PinRefused) as refusal:
        subject.enter_puk(PUK, "1111")
    assert refusal.value.cme == 13


def test_counters_survive_power_and_another_modem(tmp_path: Path) -> None:
    bench = OneModem(tmp_path, is_locked=True, others=1)
    bench.say('AT+CPIN="0000"')
    other = bench.modems[1]
    bench.modem.insert(None)
    assert bench.say("AT+CPIN?") == "+CME ERROR: 10"
    other.insert(bench.card)
    assert bench.card.pin_tries == 2
    bench.modem.insert(bench.card)
    assert "+CPINR: SIM PIN,2,3" in bench.lines("AT+CPINR")


def test_a_right_pin_restores_the_counter() -> None:
    subject = card()
    for _ in range(2):
        with pytest.raises(PinRefused):
            subject.enter_pin("0000")
    subject.enter_pin("1234")
    assert subject.pin_tries == 3


def test_lock_is_switched_with_the_pin_and_burns_tries(tmp_path: Path) -> None:
    bench = OneModem(tmp_path)
    assert bench.lines('AT+CLCK="SC",2') == ["+CLCK: 0", "OK"]
    assert bench.say('AT+CLCK="SC",1,"0000"') == "+CME ERROR: 16"
    assert bench.card.pin_tries == 2
    assert bench.say('AT+CLCK="SC",1,"1234"') == "OK"
    assert bench.lines('AT+CLCK="SC",2') == ["+CLCK: 1", "OK"]
    bench.modem.reboot()
    bench.wait(5)
    assert "+CPIN: SIM PIN" in bench.lines("AT+CPIN?")


def test_pin_changes_only_while_the_lock_is_on(tmp_path: Path) -> None:
    bench = OneModem(tmp_path)
    assert bench.say('AT+CPWD="SC","1234","5678"') == "+CME ERROR: 3"
    bench.say('AT+CLCK="SC",1,"1234"')
    assert bench.say('AT+CPWD="SC","0000","5678"') == "+CME ERROR: 16"
    assert bench.say('AT+CPWD="SC","1234","56"') == "+CME ERROR: 50"
    assert bench.say('AT+CPWD="SC","1234","5678"') == "OK"
    assert bench.card.pin == "5678"


def test_third_wrong_pin_in_mid_session_loses_the_network(tmp_path: Path) -> None:
    bench = OneModem(tmp_path)
    bench.prepare()
    for _ in range(2):
        assert bench.say('AT+CLCK="SC",1,"0000"') == "+CME ERROR: 16"
    assert bench.say('AT+CLCK="SC",1,"0000"') == "+CME ERROR: 12"
    assert bench.say("AT+CMGS=24") == "+CMS ERROR: 316"


def test_empty_verify_tells_the_tries_without_burning_one(locked: OneModem) -> None:
    assert locked.lines('AT+CSIM=10,"0020000100"') == ['+CSIM: 4,"63C3"', "OK"]
    assert locked.lines('AT+CSIM=10,"002C000100"') == ['+CSIM: 4,"63CA"', "OK"]
    assert locked.card.pin_tries == 3


@pytest.mark.parametrize(
    ("iccid", "shown"),
    [
        ("89860049946185800008", "98680094491658080080"),
        ("898604B2742763950001", "9868402B477236590010"),
        ("8986001311506900036", "986800311105960030F6"),
    ],
)
def test_iccid_file_swaps_nibbles_and_pads_with_f(iccid: str, shown: str) -> None:
    subscription = Subscription(iccid=iccid, imsi="4", number="+1", pin="1234", puk=PUK)
    data = Card(subscription, is_locked=True).read_file(12258)
    assert data is not None
    assert data.hex().upper() == shown


def test_iccid_is_readable_before_the_pin_and_imsi_is_not(locked: OneModem) -> None:
    assert locked.say("AT+CRSM=176,12258,0,0,10").startswith("+CRSM: 144,0,")
    assert locked.lines("AT+CRSM=176,28423,0,0,9") == ['+CRSM: 105,130,""', "OK"]


def test_files_of_an_open_card(tmp_path: Path) -> None:
    bench = OneModem(tmp_path)
    assert bench.lines("AT+CRSM=176,28589,0,0,4") == ['+CRSM: 144,0,"00000002"', "OK"]
    assert '"00434D4343' in bench.say("AT+CRSM=176,28486,0,0,17")
    assert bench.lines("AT+CRSM=176,28478,0,0,4") == ['+CRSM: 106,130,""', "OK"]
    assert bench.lines("AT+CRSM=192,12258") == [
        '+CRSM: 144,0,"0000000A2FE2040011' + '00FF01020000"',
        "OK",
    ]
    imsi = bench.card.subscription.imsi
    data = bench.card.read_file(28423)
    assert data is not None
    digits = "".join(f"{octet & 15:x}{octet >> 4:x}" for octet in data[1:])
    assert digits[1:] == imsi


@given(steps=st.lists(st.tuples(st.sampled_from("pukL"), st.booleans()), max_size=40))
def test_no_walk_gives_tries_back_without_the_right_secret(
    steps: list[tuple[str, bool]],
) -> None:
    subject = card()
    for step, is_right in steps:
        before = (subject.pin_tries, subject.puk_tries)
        try:
            match step:
                case "p":
                    subject.enter_pin("1234" if is_right else "0000")
                case "u" | "k":
                    subject.enter_puk(PUK if is_right else "00000000", "1234")
                case _:
                    subject.set_lock(enabled=is_right, pin="1234" if is_right else "0000")
        except PinRefused:
            assert (subject.pin_tries, subject.puk_tries) <= before
        else:
            assert is_right
        assert 0 <= subject.pin_tries <= 3
        assert 0 <= subject.puk_tries <= 10
        assert (subject.state is CardState.DEAD) == (subject.puk_tries == 0)
