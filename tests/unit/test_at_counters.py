"""Tries left, in every form in which modems tell them: whole and byte by byte.

A wrong reading locks cards, so each form also has the answers that must tell nothing.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.at.counters import READERS, CounterForm
from drivers.at.session import Completed, Session
from drivers.at.urcs import SHARED
from drivers.families import (
    cinterion,
    generic,
    huawei,
    mbm,
    quectel,
    sierra,
    simcom,
    telit,
    ublox,
    zte,
)
from drivers.family import COUNTER_CPINR, COUNTER_STATUS, COUNTER_VERIFY, CounterQuery, Family
from drivers.interface import PinCounter

FULL = PinCounter(pin=3, puk=10)
TWO_LEFT = PinCounter(pin=2, puk=10)


def query(family: Family, command: str) -> CounterQuery:
    """The family's way of asking whose last command is this."""
    return next(one for one in family.counters if one.commands[-1].text == command)


HUAWEI = query(huawei.HUAWEI, "AT^CPIN?")
ZTE = query(zte.ZTE, "AT+ZPINPUK=?")
QUECTEL = query(quectel.QUECTEL, "AT+QPINC?")
QUECTEL_2G = query(quectel.QUECTEL, "AT+QTRPIN")
SIMCOM = query(simcom.SIMCOM, "AT+SPIC")
TELIT = query(telit.TELIT, "AT#PCT")
UBLOX = query(ublox.UBLOX, "AT+UPINCNT")
SIERRA = query(sierra.SIERRA, "AT+CPINC?")
CINTERION = query(cinterion.CINTERION, 'AT^SPIC="SC",1')
MBM = query(mbm.MBM, "AT*EPIN?")
ICERA = query(generic.GENERIC, "AT%PINNUM?")
INFINEON = query(generic.GENERIC, "AT+XPINCNT")
ERICSSON = query(generic.GENERIC, "AT*EPIN?")
OPTION = query(generic.GENERIC, "AT_OERCN?")
ALCATEL = query(generic.GENERIC, "AT+PNNM?")
SPEEDUP = query(generic.GENERIC, "AT+CPNNUM")

# A 2G card's answer to STATUS of its master file; octets 19 and 20 are what is counted.
MF_HEAD = "0000000A3F00010000000000091102"
MF = f'+CRSM: 144,0,"{MF_HEAD}080400838A838A"'
FCP = f'+CRSM: 144,0,"62{"83" * 24}"'

Told = tuple[str, ...]
ANSWERS: list[tuple[CounterQuery, tuple[Told, ...], PinCounter | None, str]] = [
    # 27.007, release 9 on
    (COUNTER_CPINR, (("+CPINR: SIM PIN,3,3", "+CPINR: SIM PUK,10,10"),), FULL, "TS 27.007 §8.65"),
    (COUNTER_CPINR, (('+CPINR: "SIM PIN",2',),), PinCounter(pin=2, puk=None), "quoted name"),
    (
        COUNTER_CPINR,
        (('+CPINR: "SIM PIN2",3,3', '+CPINR: "SIM PIN",1,3', "+CPINRE: 0"),),
        PinCounter(pin=1, puk=None),
        "PIN2 told first, and a line to be ignored",
    ),
    (
        COUNTER_CPINR,
        (("+CPINRE: SIM PIN,3", "+CPINR: SIM PIN,1"),),
        PinCounter(pin=1, puk=None),
        "a line to be ignored, first",
    ),
    (COUNTER_CPINR, (("+CPINR: SIM PIN,3", "+CPINR: SIM PIN,1"),), None, "PIN2, its 2 lost"),
    (COUNTER_CPINR, (("+CPINR: SIM PIN,2",) * 2,), PinCounter(pin=2, puk=None), "twice"),
    (COUNTER_CPINR, (("+CPINR: SIM PIN2,3", "+CPINR: SIM PUK2,10"),), None, "PIN2's alone"),
    (COUNTER_CPINR, (("+CPINR: SIM PIN",),), None, "no number"),
    # Huawei
    (HUAWEI, (("^CPIN: READY,,10,3,10,3",),), FULL, "times empty when READY"),
    (HUAWEI, (("^CPIN: SIM PIN,2,10,2,10,3",),), PinCounter(pin=2, puk=10), "PUK before PIN"),
    (HUAWEI, (("^CPIN: SIM PUK,9,9,0,10,3",),), PinCounter(pin=0, puk=9), "blocked"),
    (HUAWEI, (("^CPIN: SIM PIN",),), None, "old firmware"),
    (HUAWEI, (("^CPIN: SIM PIN,,10,3,10,3",),), FULL, "times left out"),
    (HUAWEI, (("^CPIN: SIM PIN,1,10,3,10,3",),), None, "told twice, not alike"),
    (HUAWEI, (("^CPIN: SIM PIN2,1,10,3,10,1",),), FULL, "times of PIN2"),
    (HUAWEI, (("^CPIN: SIM PIN,3,3,10,3,10",),), None, "the other way round: not believed"),
    # ZTE
    (ZTE, (("+ZPINPUK: 3,10",),), FULL, "MF190"),
    (ZTE, (("+ZPINPUK: 0,7",),), PinCounter(pin=0, puk=7), "blocked"),
    (ZTE, (("+ZPINPUK: 3",),), None, "one number"),
    (ZTE, (("+ZPINPUK: 10,3",),), None, "the other way round: not believed"),
    # Quectel
    (QUECTEL, (('+QPINC: "SC",3,10', '+QPINC: "P2",3,10'),), FULL, "EC25"),
    (QUECTEL, (('+QPINC: "P2",1,9', '+QPINC: "SC",2,10'),), PinCounter(pin=2, puk=10), "P2 first"),
    (QUECTEL, (('+QPINC: "P2",3,10',),), None, "PIN2's line alone"),
    (QUECTEL, (('+QPINC: "SC",3,10', '+QPINC: "SC",1,10'),), None, "two that differ"),
    (QUECTEL_2G, (("+QTRPIN: 3,3,10,10",),), FULL, "M35"),
    (QUECTEL_2G, (("+QTRPIN: 1,3,10,10",),), PinCounter(pin=1, puk=10), "M35"),
    (QUECTEL_2G, (("+QTRPIN: 3,3",),), None, "two numbers"),
    # SIMCom's two orders
    (SIMCOM, (("+SPIC: 3,3,10,10",),), FULL, "SIM800: pin1,pin2,puk1,puk2"),
    (SIMCOM, (("+SPIC: 3,10,3,10",),), FULL, "SIM7600: pin1,puk1,pin2,puk2"),
    (SIMCOM, (("+SPIC: 2,10,3,10",),), PinCounter(pin=2, puk=10), "SIM7600"),
    (SIMCOM, (("+SPIC: 1,3,10,10",),), PinCounter(pin=1, puk=10), "SIM800"),
    (SIMCOM, (("+SPIC: 0,3,2,10",),), PinCounter(pin=0, puk=None), "which order? PIN1 is first"),
    (SIMCOM, (("+SPIC: 3,3",),), None, "two numbers"),
    (SIMCOM, (("+SPIC: 10,3,10,3",),), None, "a PUK in PIN1's place"),
    # Telit: of the code that is asked for now
    (TELIT, (("+CPIN: SIM PIN",), ("#PCT: 2",)), PinCounter(pin=2, puk=None), "LE910, PIN wanted"),
    (TELIT, (("+CPIN: SIM PUK",), ("#PCT: 9",)), PinCounter(pin=0, puk=9), "LE910, PUK wanted"),
    (TELIT, (("+CPIN: READY",), ("#PCT: 3",)), None, "READY: PIN2's"),
    (TELIT, (("+CPIN: SIM PIN2",), ("#PCT: 3",)), None, "PIN2 wanted"),
    (TELIT, (("+CPIN: SIM PIN",), ("#PCT: 10",)), None, "a PUK's number for a PIN"),
    # u-blox, Sierra
    (UBLOX, (("+UPINCNT: 3,3,10,10",),), FULL, "SARA-U270"),
    (UBLOX, (("+UPINCNT: 1,3,10,10",),), PinCounter(pin=1, puk=10), "SARA-U270"),
    (UBLOX, (("+UPINCNT: 3,3,10",),), None, "three numbers"),
    (SIERRA, (("+CPINC: 3,3,10,10",),), FULL, "MC7304"),
    (SIERRA, (("+CPINC: 0,3,4,10",),), PinCounter(pin=0, puk=4), "blocked"),
    # Cinterion, by facility
    (CINTERION, (("^SPIC: 3",), ("^SPIC: 10",)), FULL, "BGS2"),
    (CINTERION, (("^SPIC: 1",), ("^SPIC: 10",)), PinCounter(pin=1, puk=10), "BGS2"),
    (CINTERION, (("^SPIC: 10",), ("^SPIC: 10",)), PinCounter(pin=0, puk=10), "counts the PUK's"),
    (CINTERION, (("^SPIC: 4",), ("^SPIC: 4",)), PinCounter(pin=0, puk=4), "counts the PUK's"),
    (CINTERION, (("^SPIC: 3",), ("^SPIC: 3",)), None, "the PUK's third-last try, or both 3?"),
    (CINTERION, (("^SPIC: 7",), ("^SPIC: 10",)), None, "no PIN has 7"),
    (CINTERION, (("^SPIC: 3,3",), ("^SPIC: 10",)), None, "two numbers"),
    # the rarer makers
    (ICERA, (("%PINNUM: 3,10,3,10",),), FULL, "E450: pin,puk,pin2,puk2"),
    (ICERA, (("%PINNUM: 2,10,3,10",),), PinCounter(pin=2, puk=10), "E450"),
    (INFINEON, (("+XPINCNT: 3,3,10,10",),), FULL, "XMM6180: pin,pin2,puk,puk2"),
    (INFINEON, (("+XPINCNT: 2,3,10,10",),), PinCounter(pin=2, puk=10), "XMM6180"),
    (ERICSSON, (("*EPIN: 3,10,3,10",),), FULL, "F5521gw: pin,puk,pin2,puk2"),
    (ERICSSON, (("*EPIN: 1,10,3,10",),), PinCounter(pin=1, puk=10), "F5521gw"),
    (MBM, (("*EPIN: 2,10,3,9",),), PinCounter(pin=2, puk=10), "F5521gw"),
    (OPTION, (("_OERCN: 2,10",),), PinCounter(pin=2, puk=10), "GTM378: pin,puk"),
    (OPTION, (("_OERCN: 10,2",),), None, "the other way round: not believed"),
    (ALCATEL, (("+PNNM: 1,10",),), PinCounter(pin=1, puk=10), "pin,puk, as ofono reads it"),
    (ALCATEL, (("+PNNM: 10,3",),), None, "the other way round: not believed"),
    (ALCATEL, (("+PNNM: 3,10,3,10",),), None, "four numbers"),
    (SPEEDUP, (("PIN1=3; PUK1=10; PIN2=3; PUK2=10",),), FULL, "SU8500: words"),
    (SPEEDUP, (("+CPNNUM: PIN1=2;PUK1=10;PIN2=1;PUK2=9",),), PinCounter(pin=2, puk=10), "glued"),
    (SPEEDUP, (("PIN1=?; PUK1=10",),), None, "no number"),
    (SPEEDUP, (("PIN1=3; PUK1=10; PIN1=1",),), None, "two that differ"),
    # empty VERIFY
    (COUNTER_VERIFY, (('+CSIM: 4,"63C3"',), ('+CSIM: 4,"63CA"',)), FULL, "TS 102 221 §11.1.9"),
    (COUNTER_VERIFY, (("+CSIM: 4,63C1",), ("+CSIM: 4,63CA",)), PinCounter(pin=1, puk=10), "bare"),
    (COUNTER_VERIFY, (("+CSIM: 4,6983",), ("+CSIM: 4,63C8",)), PinCounter(pin=0, puk=8), "blocked"),
    (COUNTER_VERIFY, (('+CSIM:8,"000063C2"',), ('+CSIM: 4,"63CA"',)), TWO_LEFT, "with data"),
    (COUNTER_VERIFY, (('+CSIM: 10,"000063C2"',), ('+CSIM: 4,"63CA"',)), None, "octets are lost"),
    (COUNTER_VERIFY, (('+CSIM: 4,"6E00"',), ('+CSIM: 4,"6E00"',)), None, "2G-only card"),
    (COUNTER_VERIFY, (('+CSIM: 4,"9000"',), ('+CSIM: 4,"63CA"',)), None, "PIN shown: not counted"),
    # STATUS of a 2G card
    (COUNTER_STATUS, ((MF,),), FULL, "TS 51.011 §9.2.1"),
    (COUNTER_STATUS, ((MF.replace("0400838A", "0400818A"),),), PinCounter(pin=1, puk=10), "one"),
    (COUNTER_STATUS, ((MF.replace("0400838A", "0400038A"),),), None, "CHV1 not initialised"),
    (COUNTER_STATUS, (('+CRSM: 144,0,"0000000A3F00"',),), None, "too short"),
    (COUNTER_STATUS, ((FCP,),), None, "a USIM's form"),
    (COUNTER_STATUS, (("+CRSM: 106,130",),), None, "not found"),
]  # fmt: skip


@pytest.mark.parametrize("more", ["", "00"])
def test_status_that_lost_octets_tells_no_other_pins_tries(more: str) -> None:
    """Two octets lost anywhere before CHV1's put CHV2's in their place."""
    whole = f"0000000A3F00010000000000{9 + len(more) // 2:02X}B102040400818A838A{more}"
    assert COUNTER_STATUS.read([[f'+CRSM: 144,0,"{whole}"']]) == PinCounter(pin=1, puk=10)
    told = {
        COUNTER_STATUS.read([[f'+CRSM: 144,0,"{whole[:start]}{whole[end:]}"']])
        for start in range(len(whole))
        for end in range(start + 1, len(whole) + 1)
    }
    assert told <= {None, PinCounter(pin=1, puk=10)}


def heard(asked: CounterQuery, told: tuple[Told, ...], *, step: int) -> list[list[str]]:
    """What a session makes of the answers when they come in pieces of `step` octets."""
    session = Session(SHARED)
    answers: list[list[str]] = []
    for command, lines in zip(asked.commands, told, strict=True):
        session.send(command, 0.0)
        session.data_to_send()
        octets = "".join(f"\r\n{line}\r\n" for line in (*lines, "OK")).encode("ascii")
        for start in range(0, len(octets), step):
            session.receive_data(octets[start : start + step], 0.1)
        event = session.next_event()
        assert isinstance(event, Completed)
        answers.append([line.text for line in event.lines])
    assert session.next_event() is None
    return answers


@pytest.mark.parametrize("step", [1, 1000], ids=["byte by byte", "whole"])
@pytest.mark.parametrize(
    ("asked", "told", "counter"),
    [answer[:3] for answer in ANSWERS],
    ids=[f"{answer[1][-1][0]} ({answer[3]})" for answer in ANSWERS],
)
def test_answer_tells_the_tries(
    asked: CounterQuery, told: tuple[Told, ...], counter: PinCounter | None, step: int
) -> None:
    assert asked.read(heard(asked, told, step=step)) == counter


def test_every_form_is_read() -> None:
    assert set(READERS) == set(CounterForm)


@pytest.mark.parametrize("form", [form for form in CounterForm if "," in form])
def test_numbers_are_taken_from_the_places_that_the_form_names(form: CounterForm) -> None:
    values = {"pin1": 2, "puk1": 9, "pin2": 1, "puk2": 8}
    line = "+X: " + ",".join(str(values[name]) for name in form.split(","))
    assert READERS[form]([[line]]) == PinCounter(pin=2, puk=9)
    assert READERS[form]([[f"{line},1"]]) is None


def test_cinterion_never_asks_for_what_is_asked_for_now() -> None:
    """Bare `^SPIC` counts PIN2 once READY: it stays at 3 while wrong PIN1s are burnt."""
    texts = [c.text for one in cinterion.CINTERION.counters for c in one.commands]
    assert 'AT^SPIC="SC"' in texts
    assert "AT^SPIC" not in texts


@given(
    st.sampled_from(list(CounterForm)), st.text(alphabet='0123456789,:"=;+ PINUKSC', max_size=40)
)
def test_no_answer_makes_more_than_three_tries(form: CounterForm, rest: str) -> None:
    counter = READERS[form]([[f"+X: {rest}"]])
    assert counter is None or 0 <= counter.pin <= 3
