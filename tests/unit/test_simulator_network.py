"""The pretend network: reports, rules, registration, the closed world: §6.8 rows 10, 13, 14."""

import itertools
import json
import os
from decimal import Decimal
from pathlib import Path

import pytest

from simulator import pdu
from simulator.network.carriers import Beyond, Carrier, Limit, Period
from simulator.network.exchange import CallRule
from simulator.network.latency import Latency, Shape
from simulator.network.network import Fate, ReportFate, Rule, Times
from simulator.phone import CallOutcome
from tests.support.closed_world import OUTSIDE, ClosedWorld
from tests.support.one_modem import OneModem


@pytest.fixture
def bench(tmp_path: Path) -> OneModem:
    bench = OneModem(tmp_path, others=1)
    bench.prepare("2,1,0,2,0")
    return bench


def to(number: str, text: str = "hello", *, wants_report: bool = True) -> tuple[str, int]:
    data = pdu.segments(text, reference=1)[0]
    submit = pdu.Submit(
        first_octet=0x31 if wants_report else 0x11,
        mr=0,
        destination=pdu.address(number),
        pid=0,
        validity=b"\xa7",
        data=data,
    )
    tpdu = pdu.encode_submit(submit)
    return "00" + tpdu.hex(), len(tpdu)


def test_ledger_tells_what_the_network_took(bench: OneModem) -> None:
    bench.submit(*to("+8613900000001", "你好 😀"))
    (line,) = bench.ledger.read(kind="submit")
    assert line["modem"] == "modem01"
    assert line["iccid"] == bench.card.iccid
    assert line["from"] == "+8613800000001"
    assert line["destination"] == "+8613900000001"
    assert (line["mr"], line["text"], line["coding"]) == (0, "你好 😀", "ucs2")
    assert (line["concat"], line["wants_report"], line["outcome"]) == (None, True, "taken")
    assert line["tpdu"] == to("+8613900000001", "你好 😀")[0][2:].upper()
    assert line["time"] == "2026-11-22T12:00:06.000+00:00"


@pytest.mark.parametrize("number", ["+8613800000002", "13800000002", "008613800000002"])
def test_message_to_a_card_of_the_bank_arrives_there(bench: OneModem, number: str) -> None:
    bench.submit(*to(number, "closed world"))
    (line,) = bench.ledger.read(kind="deliver")
    assert (line["modem"], line["text"]) == ("modem02", "closed world")
    assert line["from"] == "+8613800000001"
    assert bench.wait(3).endswith('+CDSI: "SM",1\r\n')


def test_report_waits_until_the_recipient_is_back(bench: OneModem) -> None:
    other = bench.modems[1]
    other.set_radio(is_on=False)
    bench.submit(*to("+8613800000002"))
    bench.wait(100)
    assert bench.ledger.read(kind="deliver") == []
    assert bench.ledger.read(kind="report") == []
    other.set_radio(is_on=True)
    bench.wait(5)
    assert len(bench.ledger.read(kind="deliver")) == 1
    assert len(bench.ledger.read(kind="report")) == 1


def test_no_report_where_none_was_wanted(bench: OneModem) -> None:
    bench.submit(*to("+8613900000001", wants_report=False))
    bench.wait(100)
    assert bench.ledger.read(kind="report") == []


def test_report_names_recipient_as_sent_and_times_of_the_centre(bench: OneModem) -> None:
    bench.submit(*to("01012345678"))
    bench.wait(3)
    (line,) = bench.ledger.read(kind="report")
    report = pdu.decode_status_report(bytes.fromhex(str(line["tpdu"])))
    assert report.recipient.octets == pdu.address("01012345678").octets
    assert report.scts.isoformat() == "2026-11-22T20:00:06+08:00"
    assert report.discharged.isoformat() == "2026-11-22T20:00:08+08:00"


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Rule(st=0x46), [0x46]),
        (Rule(report=ReportFate.LOST), []),
        (Rule(report=ReportFate.DOUBLED), [0, 0]),
        (Rule(destination="+86139", st=0x43), [0x43]),
        (Rule(destination="+86138", st=0x43), [0]),
        (Rule(iccid="another", st=0x43), [0]),
    ],
)
def test_rules_decide_on_reports(bench: OneModem, rule: Rule, expected: list[int]) -> None:
    bench.network.add_rule(rule)
    bench.submit(*to("+8613900000001"))
    bench.wait(10)
    assert [line["st"] for line in bench.ledger.read(kind="report")] == expected


def test_a_later_report_can_overtake_an_earlier(bench: OneModem) -> None:
    bench.network.set_rules([Rule(destination="+8613900000001", report_delay=30.0)])
    bench.submit(*to("+8613900000001"))
    bench.submit(*to("+8613900000002"))
    bench.wait(60)
    assert [line["mr"] for line in bench.ledger.read(kind="report")] == [1, 0]


def test_a_counted_rule_wears_out(bench: OneModem) -> None:
    bench.network.set_rules([Rule(cms=21, count=2)])
    said = [bench.submit(*to("+8613900000001")) for _ in range(3)]
    assert ["+CMS ERROR: 21" in line for line in said] == [True, True, False]


def test_long_incoming_text_comes_in_segments_of_one_reference(bench: OneModem) -> None:
    assert bench.network.send_text(to=bench.card, origin="10086", text="好" * 100) == 2
    lines = bench.ledger.read(kind="deliver")
    assert "".join(str(line["text"]) for line in lines) == "好" * 100
    assert [line["concat"] for line in lines] == [
        {"ref": 1, "total": 2, "seq": 1},
        {"ref": 1, "total": 2, "seq": 2},
    ]


def test_raw_octets_arrive_as_they_are(bench: OneModem) -> None:
    bench.network.send_raw(to=bench.card, tpdu=bytes.fromhex("03ff00"))
    assert bench.terminal.take() == '\r\n+CMTI: "SM",1\r\n'
    assert bench.lines("AT+CMGR=1")[1].endswith("03FF00")


# ---------------------------------------------------------------- registration


def test_registration_is_told_as_asked(bench: OneModem) -> None:
    assert bench.lines("AT+CREG?") == ["+CREG: 0,1", "OK"]
    bench.say("AT+CREG=2")
    assert bench.lines("AT+CREG?") == ['+CREG: 2,1,"8BE3","2BAF"', "OK"]
    bench.say("AT+CFUN=4")
    assert bench.terminal.take() == ""
    said = bench.type(b"AT+CFUN=1\r") + bench.wait(1)
    assert said == '\r\n+CREG: 2\r\n\r\nOK\r\n\r\n+CREG: 1,"8BE3","2BAF"\r\n'


def test_huawei_writes_cells_without_quotes(tmp_path: Path) -> None:
    bench = OneModem(tmp_path, "huawei")
    bench.say("AT+CREG=2")
    assert bench.lines("AT+CREG?") == ["+CREG: 2,1,8BE3,2BAF", "OK"]


def test_denied_card_cannot_send_until_the_network_relents(bench: OneModem) -> None:
    bench.network.force_registration(bench.card, 3)
    bench.modem.search_again()
    bench.wait(1)
    assert bench.lines("AT+CREG?") == ["+CREG: 0,3", "OK"]
    assert bench.say("AT+CMGS=24") == "+CMS ERROR: 331"
    assert bench.lines("AT+COPS?") == ["+COPS: 0", "OK"]
    bench.network.force_registration(bench.card, 5)
    bench.modem.search_again()
    bench.wait(1)
    assert bench.lines("AT+CREG?") == ["+CREG: 0,5", "OK"]
    assert "+CMGS: 0" in bench.submit()


@pytest.mark.parametrize(("form", "name"), [("0", "CHINA MOBILE"), ("1", "CMCC"), ("2", "46000")])
def test_operator_is_named_in_the_format_asked_for(bench: OneModem, form: str, name: str) -> None:
    bench.say(f"AT+COPS=3,{form}")
    assert bench.lines("AT+COPS?") == [f'+COPS: 0,{form},"{name}"', "OK"]


def test_lte_has_eps_registration_and_technology(tmp_path: Path) -> None:
    bench = OneModem(tmp_path, "quectel")
    bench.say("AT+CEREG=2")
    assert bench.lines("AT+CEREG?") == ['+CEREG: 2,1,"8BE3","2BAF",7', "OK"]
    assert bench.lines("AT+COPS?") == ['+COPS: 0,0,"CHINA MOBILE",7', "OK"]


# ---------------------------------------------------------------- USSD


def test_ussd_answers_after_ok_in_the_character_set(bench: OneModem) -> None:
    assert bench.type(b'AT+CUSD=1,"*100#",15\r') == "\r\nOK\r\n"
    assert bench.wait(2) == '\r\n+CUSD: 0,"Balance 10.00 CNY",15\r\n'
    bench.say('AT+CSCS="UCS2"')
    bench.type(b'AT+CUSD=1,"002A0031003000300023",15\r')
    assert bench.wait(2).startswith('\r\n+CUSD: 0,"00420061')


def test_huawei_codes_ussd_as_packed_septets(tmp_path: Path) -> None:
    bench = OneModem(tmp_path, "huawei")
    bench.type(b'AT+CUSD=1,"AA180C3602",15\r')
    said = bench.wait(2)
    assert '+CUSD: 0,"C2303B' in said
    assert bench.say('AT+CUSD=1,"*100#",15') == "+CME ERROR: 50"


def test_latency_can_change_while_running(bench: OneModem) -> None:
    bench.network.times = Times(latency=0, report_delay=0)
    bench.type(b"AT+CMGS=24\r")
    octets, length = to("+8613900000001")
    bench.type(b"\x1b")
    bench.type(f"AT+CMGS={length}\r".encode())
    assert bench.type(octets.encode() + b"\x1a") == "\r\n+CMGS: 0\r\n\r\nOK\r\n"


# ---------------------------------------------------------------- the same seed, the same story

STORMY = (
    Carrier(
        name="A",
        numeric="46000",
        latency=Latency(shape=Shape.LOGNORMAL, seconds=0.8, sigma=0.8, most=20.0),
        report_delay=Latency(shape=Shape.EXPONENTIAL, seconds=5.0),
        delivery=Latency(shape=Shape.UNIFORM, least=0.0, most=9.0),
        limits=(Limit(count=25, per=Period.HOUR, beyond=Beyond.DENIED, lasts=900.0),),
        price=Decimal("0.05"),
    ),
    Carrier(name="B", numeric="46001", guests=("46000",), per_second=1.0, queue=3),
)


def story(folder: Path, seed: int, n_lines: int) -> bytes:
    """A story that tells itself until the ledger has so many lines; the ledger's bytes."""
    folder.mkdir()
    world = ClosedWorld(folder, personas=["generic"] * 4, carriers=STORMY, seed=seed)
    world.network.set_rules(
        [
            Rule(cms=38, rate=0.05),
            Rule(outcome=Fate.TAKEN_ERROR, rate=0.05),
            Rule(report=ReportFate.DOUBLED, rate=0.1),
            Rule(unreachable_for=600.0, rate=0.1),
        ]
    )
    world.network.set_call_rules([CallRule(outcome=CallOutcome.BUSY, rate=0.5)])
    numbers = [*(seat.number for seat in world.seats), OUTSIDE]
    for step in itertools.count():
        seat = world[step % 4]
        seat.send_to(numbers[step % 5], f"n{step}")
        if step % 7 == 0:
            seat.say(f"ATD{numbers[step % 5]};")
        if step % 11 == 0:
            world[(step + 1) % 4].say("ATA")
        if step % 13 == 0:
            seat.say('AT+CUSD=1,"*101#",15')
        if step % 50 == 49:
            world.network.lose_coverage(carrier="A", modem=seat.modem.name)
        if step % 50 == 20:
            world.network.restore_coverage()
        for one in world.seats:
            one.say("AT+CMGD=1,4")
        world.wait(10)
        if world.ledger.count >= n_lines:
            return (folder / "ledger.jsonl").read_bytes()
    raise AssertionError


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    n_lines = 10_000 if os.environ.get("MODEMCTL_LONG") else 1500
    found = {story(tmp_path / f"run{n}", 7, n_lines) for n in range(3)}
    (first,) = found
    kinds = {json.loads(line)["kind"] for line in first.splitlines()}
    wanted = {"submit", "refused", "deliver", "report", "call", "ussd", "registration", "account"}
    assert kinds >= wanted
    assert story(tmp_path / "other", 8, n_lines) != first
