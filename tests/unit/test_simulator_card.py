"""PIN, PUK, locks and files: at-dialects §3.2, §3.3, §6.8 rows 11, 12."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.cards import files
from simulator.cards.card import Card, CardState, PinRefused, Subscription
from simulator.cards.storage import Status, Storage, Stored
from simulator.faults import Fault, FaultKind
from simulator.story import scenario
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


# ---------------------------------------------------------------- PIN2, codes


def test_pin2_has_tries_of_its_own_and_puk2_opens_it(tmp_path: Path) -> None:
    bench = OneModem(tmp_path)
    assert bench.lines('AT+CLCK="FD",2') == ["+CLCK: 0", "OK"]
    assert bench.say('AT+CLCK="FD",1,"0000"') == "+CME ERROR: 16"
    assert "+CPINR: SIM PIN2,2,3" in bench.lines("AT+CPINR")
    assert "+CPINR: SIM PIN,3,3" in bench.lines("AT+CPINR")
    assert bench.say('AT+CLCK="FD",1,"2345"') == "OK"
    assert bench.lines('AT+CLCK="FD",2') == ["+CLCK: 1", "OK"]
    assert "+CPINR: SIM PIN2,3,3" in bench.lines("AT+CPINR")
    assert bench.say('AT+CPWD="P2","2345","6789"') == "OK"
    for answer in ("16", "16", "18"):
        assert bench.say('AT+CPWD="P2","0000","1111"') == f"+CME ERROR: {answer}"
    assert bench.say('AT+CPWD="P2","6789","1111"') == "+CME ERROR: 18"
    assert bench.say("ATD**052*99999999*1111*1111#;") == "+CME ERROR: 16"
    assert "+CPINR: SIM PUK2,9,10" in bench.lines("AT+CPINR")
    assert bench.say("ATD**052*23456789*1111*1111#;") == "OK"
    assert "+CPINR: SIM PUK2,10,10" in bench.lines("AT+CPINR")
    assert bench.card.pin2 == "1111"
    assert bench.lines("AT+CPIN?") == ["+CPIN: READY", "OK"]


def test_card_is_unblocked_by_a_dialled_code(locked: OneModem) -> None:
    for _ in range(3):
        locked.say('AT+CPIN="0000"')
    puk = locked.card.subscription.puk
    assert locked.say(f"ATD**05*{puk}*4321*4322#;") == "+CME ERROR: 3"
    assert locked.say("ATD**05*00000000*4321*4321#;") == "+CME ERROR: 16"
    assert locked.card.puk_tries == 9
    assert locked.say(f"ATD**05*{puk}*4321*4321#;") == "OK"
    locked.wait(2)
    assert locked.lines("AT+CREG?") == ["+CREG: 0,1", "OK"]
    assert locked.say("ATD**04*4321*5555*5555#;") == "OK"
    assert locked.card.pin == "5555"


def test_right_pin2_needs_pin1_first(locked: OneModem) -> None:
    assert locked.say('AT+CLCK="FD",1,"2345"') == "+CME ERROR: 11"
    assert locked.card.pin2_tries == 3


def test_ten_wrong_puks_on_the_wire_leave_a_dead_card(locked: OneModem) -> None:
    for _ in range(3):
        locked.say('AT+CPIN="0000"')
    for _ in range(9):
        assert locked.say('AT+CPIN="00000000","1111"') == "+CME ERROR: 16"
    assert locked.say('AT+CPIN="00000000","1111"') == "+CME ERROR: 13"
    assert locked.say("AT+CPIN?") == "+CME ERROR: 13"
    assert locked.say("AT+CIMI") == "+CME ERROR: 13"
    assert locked.say("AT+CMGS=24") == "+CMS ERROR: 313"
    assert locked.lines('AT+CSIM=10,"002C000100"') == ['+CSIM: 4,"6983"', "OK"]
    locked.modem.reboot()
    locked.wait(5)
    locked.say("AT+CMEE=1")
    assert locked.say("AT+CPIN?").endswith("+CME ERROR: 13")


# ---------------------------------------------------------------- files


def with_card(tmp_path: Path, **facts: object) -> OneModem:
    bench = OneModem(tmp_path)
    other = Card(replace(bench.card.subscription, **facts), is_locked=False)
    bench.network.subscribe(other)
    bench.modem.insert(other)
    bench.card = other
    bench.wait(2)
    return bench


def test_provider_in_chinese_is_coded_as_ucs2(tmp_path: Path) -> None:
    bench = with_card(tmp_path, provider="中国移动")
    shown = bench.say("AT+CRSM=176,28486,0,0,17").partition('"')[2].partition('"')[0]
    octets = bytes.fromhex(shown)
    assert (len(octets), octets[1]) == (17, 0x80)
    assert octets[2:].rstrip(b"\xff").decode("utf-16-be") == "中国移动"


def test_stored_number_is_in_its_file_and_in_cnum(tmp_path: Path) -> None:
    bench = with_card(tmp_path, stores_number=True, alpha="me", gid1="A1", gid2="FF01")
    assert bench.lines("AT+CNUM") == ['+CNUM: "me","+8613800000001",145', "OK"]
    record = bench.say("AT+CRSM=178,28480,1,4,24")
    assert record.startswith('+CRSM: 144,0,"6D65FFFFFFFFFFFFFFFF0891683108000000F1')
    assert bench.lines("AT+CRSM=176,28478,0,0,1") == ['+CRSM: 144,0,"A1"', "OK"]
    assert bench.lines("AT+CRSM=176,28479,0,0,2") == ['+CRSM: 144,0,"FF01"', "OK"]


def test_usual_card_has_an_empty_number_file(tmp_path: Path) -> None:
    bench = OneModem(tmp_path)
    assert bench.lines("AT+CRSM=178,28480,1,4,24") == [f'+CRSM: 144,0,"{"F" * 48}"', "OK"]
    assert bench.lines("AT+CNUM") == ["OK"]
    assert bench.say("AT+CRSM=178,28482,1,4,40").startswith(f'+CRSM: 144,0,"{"F" * 20}FD')


def test_records_and_plain_files_are_read_each_in_its_way(tmp_path: Path) -> None:
    usim = OneModem(tmp_path)
    assert usim.lines("AT+CRSM=176,28480,0,0,24") == ['+CRSM: 105,129,""', "OK"]
    assert usim.lines("AT+CRSM=178,28589,1,4,4") == ['+CRSM: 105,129,""', "OK"]
    assert usim.lines("AT+CRSM=178,28480,2,4,24") == ['+CRSM: 106,131,""', "OK"]
    assert usim.say("AT+CRSM=214,28589,0,0,4") == "+CME ERROR: 4"


def test_2g_card_has_its_own_words(tmp_path: Path) -> None:
    bench = with_card(tmp_path, is_usim=False)
    assert bench.lines("AT+CRSM=176,28478,0,0,4") == ['+CRSM: 148,4,""', "OK"]
    assert bench.lines("AT+CRSM=176,28480,0,0,24") == ['+CRSM: 148,8,""', "OK"]
    assert bench.lines('AT+CSIM=10,"0020000100"') == ['+CSIM: 4,"6E00"', "OK"]
    bench.say('AT+CLCK="SC",1,"0000"')
    status = bytes.fromhex(bench.say("AT+CRSM=242").partition('"')[2].partition('"')[0])
    assert (status[18], status[19], status[20], status[21]) == (0x82, 0x8A, 0x83, 0x8A)
    locked = Card(bench.card.subscription, is_locked=True)
    bench.modem.insert(locked)
    assert bench.lines("AT+CRSM=176,28423,0,0,9") == ['+CRSM: 152,4,""', "OK"]


def test_blocked_2g_card_says_so(tmp_path: Path) -> None:
    bench = with_card(tmp_path, is_usim=False)
    for _ in range(3):
        bench.say('AT+CLCK="SC",1,"0000"')
    assert bench.lines("AT+CRSM=176,28423,0,0,9") == ['+CRSM: 152,64,""', "OK"]


def test_very_old_card_does_not_tell_how_long_its_mnc_is(tmp_path: Path) -> None:
    bench = with_card(tmp_path, mnc_length=0)
    assert bench.lines("AT+CRSM=176,28589,0,0,4") == ['+CRSM: 144,0,"000000"', "OK"]


def test_usim_status_of_the_master_file_is_a_template(tmp_path: Path) -> None:
    bench = OneModem(tmp_path)
    status = bytes.fromhex(bench.say("AT+CRSM=242").partition('"')[2].partition('"')[0])
    assert status[0] == 0x62
    assert status[1] == len(status) - 2
    assert bytes.fromhex("83023F00") in status


def test_messages_of_the_card_are_a_file_too(tmp_path: Path) -> None:
    bench = OneModem(tmp_path)
    bench.network.send_text(to=bench.card, origin="10086", text="hi")
    record = bytes.fromhex(bench.say("AT+CRSM=178,28476,1,4,176").partition('"')[2].split('"')[0])
    stored = bench.card.storage.get(1)
    assert stored is not None
    assert record == (b"\x03" + stored.sca + stored.tpdu).ljust(176, b"\xff")
    bench.say("AT+CMGR=1")
    assert bench.say("AT+CRSM=178,28476,1,4,1").startswith('+CRSM: 144,0,"01"')
    assert bench.say("AT+CRSM=178,28476,2,4,1").startswith('+CRSM: 144,0,"00"')


def test_half_read_number_comes_once_and_then_the_whole(tmp_path: Path) -> None:
    bench = OneModem(tmp_path)
    bench.modem.faults.set(Fault(kind=FaultKind.HALF_ICCID))
    whole = files.swap_nibbles(bench.card.iccid.upper().ljust(20, "F")).hex().upper()
    half = f"{whole[:10]}{'F' * 10}"
    assert bench.lines("AT+CRSM=176,12258,0,0,10") == [f'+CRSM: 144,0,"{half}"', "OK"]
    assert bench.lines("AT+CRSM=176,12258,0,0,10") == [f'+CRSM: 144,0,"{whole}"', "OK"]


def test_pin_by_apdu_is_a_try_as_any_other(locked: OneModem) -> None:
    wrong = b"0000".ljust(8, b"\xff").hex().upper()
    right = b"1234".ljust(8, b"\xff").hex().upper()
    assert locked.lines(f'AT+CSIM=26,"0020000108{wrong}"') == ['+CSIM: 4,"63C2"', "OK"]
    assert locked.card.pin_tries == 2
    assert locked.lines(f'AT+CSIM=26,"0020000108{right}"') == ['+CSIM: 4,"9000"', "OK"]
    assert locked.lines('AT+CSIM=10,"0020000100"') == ['+CSIM: 4,"9000"', "OK"]
    assert locked.lines('AT+CSIM=8,"00A40000"') == ['+CSIM: 4,"6D00"', "OK"]
    assert locked.say('AT+CSIM=9,"0020000100"') == "+CME ERROR: 50"


@given(
    taken=st.lists(st.integers(0, 12), max_size=30),
    first=st.sampled_from([0, 1]),
)
def test_storage_counts_what_it_holds(taken: list[int], first: int) -> None:
    told: list[int] = []
    storage = Storage("SM", capacity=10, first=first, changed=lambda: told.append(1))
    message = Stored(status=Status.UNREAD, sca=b"\x00", tpdu=b"\x00")
    for step in taken:
        before = len(told), storage.used
        is_added = step >= 10 and storage.add(message) is not None
        is_changed = is_added or (step < 10 and storage.delete(step + first))
        assert storage.used == len(list(storage)) == sum(s is not None for s in storage.slots)
        assert (len(told) > before[0]) == is_changed == (storage.used != before[1])


def test_scenario_says_what_is_in_a_card(tmp_path: Path) -> None:
    file = tmp_path / "cards.toml"
    file.write_text(
        "modems = 2\n[[bays]]\nbay = 2\nprovider = '中国电信'\nstores_number = true\nalpha = 'me'\n"
        "is_usim = false\nmnc_length = 0\ngid1 = 'A1'\npin2 = '9876'\n"
        "[[cards]]\niccid = '89860000000000000009'\nnumber = '+8613800000099'\nprovider = 'X'\n"
    )
    chosen = scenario.load(file)
    first, second = (bay.subscription for bay in scenario.bays(chosen))
    assert (first.provider, first.stores_number, first.is_usim) == ("CMCC", False, True)
    assert (second.provider, second.stores_number, second.alpha) == ("中国电信", True, "me")
    assert (second.is_usim, second.mnc_length, second.gid1, second.pin2) == (False, 0, "A1", "9876")
    assert chosen.cards[0].subscription.provider == "X"


@pytest.mark.parametrize("line", ["provider = 'a name of more than sixteen'", "gid1 = 'A'"])
def test_what_does_not_fit_into_a_card_is_refused(tmp_path: Path, line: str) -> None:
    file = tmp_path / "cards.toml"
    file.write_text(f"modems = 1\n[[bays]]\nbay = 1\n{line}\n")
    with pytest.raises(scenario.ScenarioError, match=line.split(" ", maxsplit=1)[0]):
        scenario.bays(scenario.load(file))
