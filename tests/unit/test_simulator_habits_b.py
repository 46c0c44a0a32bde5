"""What is no dialogue of the personas of `test_simulator_personas_b.py`; the rarer makers."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from simulator import pdu, persona
from simulator.bank import Bank
from simulator.cards.card import Card, Subscription
from simulator.clock import VirtualClock
from simulator.commands import data, settings
from simulator.commands.messaging import CODES
from simulator.persona import PortRole
from simulator.story import scenario
from simulator.story.scenario import Scenario
from tests.support.dialogues import Row, play, row
from tests.support.one_modem import HELLO, HELLO_LENGTH, OneModem, Terminal

ROSTER = ("generic", "le910", "mc7304", "sara", "bgs2", "pls8", "wavecom")


@pytest.mark.parametrize(
    ("name", "usb_id", "ports"),
    [
        ("le910", "1bc7:1201", {"diag": 0, "at": 1, "modem": 2}),
        ("mc7304", "1199:68c0", {"diag": 0, "nmea": 2, "at": 3}),
        ("sara", "1546:1102",
         {"at": 0, "modem": 2, "app": 4, "nmea": 6, "log": 8, "trace": 10, "sap": 12}),
        ("bgs2", "0403:6011", {"at": 0}),
        ("pls8", "1e2d:0061", {"modem": 0, "at": 2, "nmea": 4}),
        ("wavecom", "067b:2303", {"at": 0}),
    ],
)  # fmt: skip
def test_ports_are_those_of_the_model(name: str, usb_id: str, ports: dict[str, int]) -> None:
    """at-dialects §2.1."""
    described = persona.load(name)
    assert described.usb_id == usb_id
    assert {port.role.value: port.interface for port in described.ports} == ports


@pytest.mark.parametrize("name", ROSTER)
def test_over_long_line_executes_nothing(tmp_path: Path, name: str) -> None:
    bench = OneModem(tmp_path, name)
    limit = persona.load(name).max_line
    assert bench.say("AT+CMGF=1;" + "+CMEE=1;" * (limit // 8) + "+CMEE=1") == "ERROR"
    assert bench.lines("AT+CMGF?") == ["+CMGF: 0", "OK"]
    assert (name == "le910") == (limit == 400)


def test_ublox_is_back_on_usb_before_it_answers(tmp_path: Path) -> None:
    bench = OneModem(tmp_path, "sara")
    gone: list[float] = []
    bench.modem.on_reenumerate = gone.append
    bench.modem.reboot()
    assert gone == [2.0]
    bench.wait(3)
    assert bench.say("AT") == ""
    assert "+AT: READY" in bench.wait(4)


def test_a_module_on_usb_takes_its_ports_away_when_it_switches_off(tmp_path: Path) -> None:
    bench = OneModem(tmp_path, "le910")
    gone: list[str] = []
    bench.modem.on_shut_down = lambda: gone.append("gone")
    bench.say("AT#SHDN")
    bench.wait(1)
    assert gone == ["gone"]
    assert not bench.modem.is_on


def test_reports_lie_in_sr_where_siemens_and_wavecom_put_them(tmp_path: Path) -> None:
    for name, cnmi in (("bgs2", "2,1,0,2,1"), ("wavecom", "2,1,0,2,0"), ("generic", "2,1,0,2,0")):
        (tmp_path / name).mkdir()
        bench = OneModem(tmp_path / name, name)
        bench.prepare(cnmi)
        bench.submit()
        told = bench.wait(10)
        assert f'+CDSI: "{"SM" if name == "generic" else "SR"}",1' in told
        if name != "generic":
            bench.say('AT+CPMS="SR"')
            assert bench.lines("AT+CMGR=1")[0].startswith("+CMGR: 0,,")


def test_memory_without_quotes_and_only_one_memory_where_a_file_says_so(tmp_path: Path) -> None:
    """Wavecom may leave quotes out; on some Sierra there is ME only; Nokia has no storage."""
    bench = OneModem(tmp_path, "mc7304")
    described = replace(
        bench.modem.persona, memories=("ME",), cmti_is_quoted=False, answers={"+CIMI": ("1",)}
    )
    bench.modem.persona = described
    bench.modem.mailbox._persona = described
    assert bench.lines("AT+CPMS=?") == ['+CPMS: ("ME"),("ME"),("ME")', "OK"]
    assert bench.say('AT+CPMS="SM"') == "+CMS ERROR: 302"
    bench.say("AT+CNMI=2,1,0,0,0")
    bench.network.send_text(to=bench.card, origin="10086", text="hi")
    assert bench.terminal.take() == "\r\n+CMTI: ME,1\r\n"


def test_text_mode_shows_hex_pairs_for_headers_and_ucs2(tmp_path: Path) -> None:
    """At-dialects §3.5, Telit's row: 27.005's rule, all vendors."""
    bench = OneModem(tmp_path, "le910")
    bench.say("AT+CMGF=1")
    bench.network.send_text(to=bench.card, origin="10086", text="你好")
    assert bench.lines("AT+CMGR=1")[1] == "4F60597D"
    bench.network.send_text(to=bench.card, origin="10086", text="x" * 170)
    assert bench.lines("AT+CMGR=2")[1].startswith("050003")


@pytest.mark.parametrize("name", ROSTER)
def test_link_is_held_by_cmms_and_saves_the_model_s_time(tmp_path: Path, name: str) -> None:
    bench = OneModem(tmp_path, name, latency=0.1)
    described = persona.load(name)

    def seconds() -> float:
        bench.type(f"AT+CMGS={HELLO_LENGTH}\r".encode())
        bench.type(HELLO.encode() + b"\x1a")
        for tenth in range(1, 100):
            if "+CMGS:" in bench.wait(0.1):
                return tenth / 10
        raise AssertionError("never")

    first = seconds()
    assert first == pytest.approx(described.submit_seconds + 0.1, abs=0.11)
    bench.say("AT+CMMS=1")
    seconds()
    assert seconds() == pytest.approx(0.1, abs=0.11)
    bench.wait(described.link_seconds + 1)
    assert seconds() == pytest.approx(first, abs=0.11)
    assert bench.lines("AT+CMMS?") == ["+CMMS: 0", "OK"]
    bench.say("AT+CMMS=2")
    seconds()
    bench.wait(described.link_seconds + 1)
    seconds()
    assert bench.lines("AT+CMMS?") == ["+CMMS: 2", "OK"]


def test_zero_latency_takes_no_time_on_any_model(tmp_path: Path) -> None:
    for name in ROSTER:
        (tmp_path / name).mkdir()
        bench = OneModem(tmp_path / name, name, latency=0)
        bench.type(f"AT+CMGS={HELLO_LENGTH}\r".encode())
        assert "+CMGS: 0" in bench.type(HELLO.encode() + b"\x1a")


@pytest.mark.parametrize(
    ("form", "shown"),
    [
        ('+CNUM: "{alpha}","{number}",{type}', '+CNUM: "me","+8613800000001",145'),
        ('+CNUM: ,"{number}",{type}', '+CNUM: ,"+8613800000001",145'),
        ('+CNUM: {alpha},"{number}",{type},4', '+CNUM: me,"+8613800000001",145,4'),
        ('ERROR+CNUM: ,"{number}",{type}', 'ERROR+CNUM: ,"+8613800000001",145'),
    ],
)
def test_own_number_in_the_forms_that_were_seen(tmp_path: Path, form: str, shown: str) -> None:
    bench = OneModem(tmp_path)
    data = replace(bench.card.subscription, stores_number=True, alpha="me")
    card = Card(data, is_locked=False)
    bench.network.subscribe(card)
    bench.modem.insert(card)
    bench.wait(2)
    bench.modem.persona = replace(bench.modem.persona, own_number_line=form)
    assert bench.lines("AT+CNUM") == [shown, "OK"]


def test_a_command_list_where_there_is_one(tmp_path: Path) -> None:
    """§6.8 row 21."""
    (tmp_path / "g").mkdir()
    listed = OneModem(tmp_path / "g").lines("AT+CLAC")
    assert {"AT+CMGS", "AT+CPIN", "ATD"} <= set(listed)
    assert listed[-1] == "OK"
    assert OneModem(tmp_path, "le910").say("AT+CLAC") == "ERROR"


def test_words_for_errors_are_the_standard_s(tmp_path: Path) -> None:
    bench = OneModem(tmp_path, is_locked=True)
    bench.say("AT+CMEE=2")
    assert bench.say("AT+CIMI") == "+CME ERROR: SIM PIN required"
    assert bench.say('AT+CPIN="0000"') == "+CME ERROR: incorrect password"
    bench.modem.insert(None)
    assert bench.say("AT+CPIN?") == "+CME ERROR: SIM not inserted"


def test_text_mode_shows_what_arrives_and_its_details(tmp_path: Path) -> None:
    """At-dialects §3.5, result formats, text mode."""
    bench = OneModem(tmp_path)
    bench.say("AT+CMGF=1")
    bench.say("AT+CNMI=2,2,0,1,0")
    bench.network.send_text(to=bench.card, origin="10086", text="hi")
    said = bench.terminal.take().split("\r\n")
    assert said[1:3] == ['+CMT: "10086",,"26/11/22,20:00:05+32"', "hi"]
    bench.say("AT+CSDH=1")
    bench.network.send_text(to=bench.card, origin="10086", text="hi")
    said = bench.terminal.take().split("\r\n")
    assert said[1] == '+CMT: "10086",,"26/11/22,20:00:05+32",129,4,0,0,"+8613800100500",145,2'
    bench.say("AT+CNMI=2,1,0,1,0")
    bench.network.send_text(to=bench.card, origin="10086", text="hi")
    assert bench.terminal.take() == '\r\n+CMTI: "SM",1\r\n'
    line = '"10086",,"26/11/22,20:00:05+32",129'
    assert bench.lines('AT+CMGL="ALL"') == [f'+CMGL: 1,"REC UNREAD",{line},2', "hi", "OK"]
    shown = f'+CMGR: "REC READ",{line},4,0,0,"+8613800100500",145,2'
    assert bench.lines("AT+CMGR=1") == [shown, "hi", "OK"]


def test_reports_in_text_mode_are_one_line(tmp_path: Path) -> None:
    bench = OneModem(tmp_path)
    bench.say("AT+CNMI=2,1,0,1,0")
    bench.submit()
    bench.say("AT+CMGF=1")
    line = next(part for part in bench.wait(5).split("\r\n") if part)
    head, times = line.split(',"26', 1)
    assert head == '+CDS: 6,0,"+491712345678",145'
    assert times.endswith(",0")
    assert pdu.split_pdu(bytes.fromhex(HELLO))[1]


def test_text_that_looks_like_a_result_is_text(tmp_path: Path) -> None:
    """peers §2.1: a client that takes it for one ends the command early."""
    bench = OneModem(tmp_path)
    bench.say("AT+CMGF=1")
    bench.network.send_text(to=bench.card, origin="10086", text="OK\nERROR")
    assert bench.type(b"AT+CMGR=1\r").endswith("\r\nOK\nERROR\r\n\r\nOK\r\n")


def test_another_card_is_asked_about_at_once(tmp_path: Path) -> None:
    bench = OneModem(tmp_path, "sara")
    bench.say("AT+USIMSTAT=1")
    data = Subscription(
        iccid="89860000000000000009", imsi="460000000000009", number="+8613800000099",
        pin="9999", puk="99999999",
    )  # fmt: skip
    card = Card(data, is_locked=True)
    bench.network.subscribe(card)
    bench.modem.insert(card)
    said = [line for line in bench.terminal.take().split("\r\n") if line]
    assert said == ["+UUSIMSTAT: 0", "+UUSIMSTAT: 1"]
    assert bench.lines("AT+CCID") == ["+CCID: 89860000000000000009", "OK"]


def test_cards_are_swapped_between_modems_that_are_on_and_each_says_so(tmp_path: Path) -> None:
    clock = VirtualClock(datetime(2026, 1, 1, tzinfo=UTC))
    chosen = {"modems": 2, "persona": "bgs2,wavecom", "pin_lock": "off"}
    bank = Bank(scenario.override(Scenario(), chosen), tmp_path, clock=clock)
    bank.open()
    try:
        clock.advance(5)
        one, other = bank.modems
        cards = one.card, other.card
        seats = {one: Terminal(), other: Terminal()}
        for modem, terminal in seats.items():
            modem.ports[PortRole.AT] = terminal
        one.receive(b"AT^SCKS=1\r")
        seats[one].take()
        bank.swap(one, other)
        assert (other.card, one.card) == cards
        assert seats[one].take().split() == ["^SCKS:", "0", "^SCKS:", "1"]
        assert seats[other].take().split() == ["+WIND:", "8", "+WIND:", "0", "+WIND:", "1"]
        clock.advance(5)
        assert [modem.registration for modem in bank.modems] == [1, 1]
        assert "+WIND: 4" in seats[other].take()
        one.receive(b"AT+CIMI\r")
        assert cards[1] is not None
        assert cards[1].subscription.imsi in seats[one].take()
    finally:
        bank.close()


# ---------------------------------------------------------------- the files themselves


OTHERS = sorted(
    f"others/{path.stem}" for path in Path(persona.__file__).parent.glob("personas/others/*")
)
_CALL_WORDS = {"call_id", "far_number", "far_type", "is_incoming", "talked", "cause", "memory"}


@pytest.mark.parametrize("name", [*persona.names(), *OTHERS])
def test_words_settings_and_codes_of_a_file_are_known(name: str) -> None:
    """A slip in a file would only show on the wire, as braces or as a line that never comes."""
    described = persona.load(name)
    lines = [line for lines in described.answers.values() for line in lines]
    lines += [line for told in described.told for line in told.lines]
    lines += described.identification
    words = {word for line in lines for word in re.findall(r"\{([a-z][a-z0-9_]*)\}", line)}
    assert words <= {*data.FACTS, *_CALL_WORDS}
    known = {*settings.defaults(described), *described.keeps, *described.settings}
    used = {told.setting for told in described.told if told.setting}
    used |= {word for line in lines for word in re.findall(r"\{=([^}]+)\}", line)}
    assert {word for word in used if "/" not in word} <= known
    assert {*described.sms_codes} <= {*CODES}
    assert {*described.nonvolatile} <= {*known, "+CPMS"}
    assert described.name == name


# ---------------------------------------------------------------- the rarer makers


RARER = [
    row("3.3", "Icera: pin,puk,pin2,puk2", "others/icera",
        ('AT+CPIN="0000"', "+CME ERROR: 16"), ("AT%PINNUM?", "%PINNUM: 2,10,3,10", "OK"),
        is_locked=True),
    row("3.8", "Icera: %IRESET", "others/icera",
        ("AT%IRESET", "OK"), ("~3",), ("ATE0", "ATE0", "OK")),
    row("3.3", "IFX: pin,pin2,puk,puk2; +XSIM", "others/ifx",
        ('AT+CPIN="0000"', "+CME ERROR: 16"), ("AT+XPINCNT", "+XPINCNT: 2,3,10,10", "OK"),
        ("AT+XSIMSTATE=1", "OK"), ("!pull", "+XSIM: 9"), ("!insert", "+XSIM: 1"),
        ('AT+CPIN="{pin}"', "OK"), ("~3", "+XSIM: 2", "+XSIM: 3", "+XSIM: 7"), is_locked=True),
    row("3.7", "IFX: +XCALLSTAT", "others/ifx",
        ("AT+XCALLSTAT=1", "OK"), ("!answered", "+XCALLSTAT: 1,2"), ("~1", "+XCALLSTAT: 1,3"),
        ("~2", "+XCALLSTAT: 1,0"), ("~3", "+XCALLSTAT: 1,6", "NO CARRIER")),
    row("3.3", "MBM: *EPEV, *EMRDY, *E2RESET", "others/mbm",
        ("AT*EPEE=1", "OK"), ('AT+CPIN="{pin}"', "OK"), ("~1", "*EPEV"),
        ("AT*E2RESET", "OK"), ("~3", "*EMRDY: 1"), is_locked=True),
    row("3.7", "MBM: *ECAV", "others/mbm",
        ("AT*ECAM=1", "OK"), ("!call", "*ECAV: 1,6,0", "RING"),
        ("~6", "*ECAV: 1,0,0", "NO CARRIER")),
    row("3.3", "Option: pin,puk", "others/option",
        ('AT+CPIN="0000"', "+CME ERROR: 16"), ("AT_OERCN?", "_OERCN: 2,10", "OK"),
        is_locked=True),
    row("3.3", "SpeedUp: words", "others/speedup",
        ("AT+CPNNUM", "PIN1=3; PUK1=10; PIN2=3; PUK2=10", "OK"),
        ("AT+CRSM=192,12258", "+CME ERROR: 50")),
    row("3.5", "Nokia: no storage", "others/nokia",
        ("AT+CPMS=?", "+CPMS: (),(),()", "OK"), ('AT+CPMS="ME"', "+CMS ERROR: 302"),
        ("AT+CNMI=2,2", "OK")),
    row("3.5", "Novatel: ds 1 taken, its +CNMA refused", "others/novatel",
        ("AT+CNMI=2,1,0,1,0", "ERROR"), ("AT+CNMI=1,1,0,1,0", "OK"),
        ("AT+CNMA", "+CMS ERROR: 340"), ("AT+CREG=2", "OK"), ("AT+CREG?", "+CREG: 2,1,,", "OK")),
    row("3.4", "Gobi: blanks for commas", "others/gobi",
        ("AT+CREG=2", "OK"), ("AT+CREG?", "+CREG: 2, 1, 0 5, 2715", "OK"),
        ("AT+CNMI=2,1,0,2,0", "ERROR")),
    row("3.4", "Iridium: zeros in front", "others/iridium",
        ("AT+CREG=2", "OK"), ("AT+CREG?", '+CREG: 002,001,"18d8","ffff"', "OK")),
    row("3.4", "Samsung: a field more", "others/samsung",
        ("AT+CREG=2", "OK"), ("AT+CREG?", '+CREG: 2,1,"000b","2816","B","C2816"', "OK")),
]  # fmt: skip


@pytest.mark.parametrize("case", RARER, ids=lambda case: f"{case.section}-{case.name}-{case.fact}")
def test_rarer_maker(tmp_path: Path, case: Row) -> None:
    play(OneModem(tmp_path, case.name, is_locked=case.is_locked), case.steps)


def test_rarer_makers_are_no_part_of_all() -> None:
    assert not any("/" in name for name in persona.names())
