"""Row by row of at-dialects §3 and peers §2.1: which persona or fault shows it, on the wire.

The vendors of this file: generic, Telit, Sierra, u-blox, Cinterion, Wavecom; and the general rows.
A step is what is done, then what the client must see: `AT…` types a line, `~2` lets two seconds
pass, `!…` is done from outside (`_ACTS`). `{iccid}` and `{pin}` are the card's.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from simulator import commands, pdu, persona, scenario
from simulator.bank import Bank
from simulator.card import Card, Subscription
from simulator.clock import VirtualClock
from simulator.commands.messaging import CODES
from simulator.faults import Fault, FaultKind
from simulator.persona import PortRole
from simulator.phone import CallOutcome, CallPlan
from simulator.scenario import Scenario
from tests.support.one_modem import HELLO, HELLO_LENGTH, OneModem, Terminal

Steps = tuple[tuple[str, tuple[str, ...]], ...]
ROSTER = ("generic", "le910", "mc7304", "sara", "bgs2", "pls8", "wavecom")
FAR = "+8613900000000"


@dataclass(frozen=True)
class Row:
    """One fact of the document, and how it shows."""

    section: str
    fact: str
    name: str
    steps: Steps
    is_locked: bool = False


def _call_in(bench: OneModem, outcome: CallOutcome = CallOutcome.MISSED) -> None:
    plan = CallPlan(number=FAR, outcome=outcome, rings=1, seconds=3, ring_seconds=5)
    bench.modem.phone.ring(plan)


def _text(bench: OneModem, **options: int) -> None:
    bench.network.send_text(to=bench.card, origin="10086", text="hi", **options)


def _fill(bench: OneModem) -> None:
    for _ in range(300):
        _text(bench)
        if bench.network.waiting(bench.card):
            break


_ACTS: dict[str, Callable[[OneModem], object]] = {
    "!pull": lambda bench: bench.modem.insert(None),
    "!insert": lambda bench: bench.modem.insert(bench.card),
    "!reboot": lambda bench: bench.modem.reboot(),
    "!call": _call_in,
    "!text": _text,
    "!fill": _fill,
    "!listen": lambda bench: bench.modem.client_came(),
    "!busy": lambda bench: bench.modem.faults.set(Fault(kind=FaultKind.SIM_BUSY)),
    "!half": lambda bench: bench.modem.faults.set(Fault(kind=FaultKind.HALF_ICCID)),
    "!answered": lambda bench: bench.modem.phone.dial(
        CallPlan(number=FAR, outcome=CallOutcome.ANSWERED, rings=1, seconds=3, ring_seconds=2),
        is_client=False,
    ),
}


def play(bench: OneModem, steps: Steps) -> None:
    facts = {
        "{half}": bench.card.iccid[:10],
        "{iccid}": bench.card.iccid,
        "{pin}": bench.card.pin,
        "{imei}": bench.modem.imei,
    }
    for act, expected in steps:
        if act.startswith("~"):
            said = bench.wait(float(act[1:]))
        elif act in _ACTS:
            _ACTS[act](bench)
            said = bench.terminal.take()
        else:
            typed = act.replace("{pin}", bench.card.pin)
            said = bench.type(typed.encode() + b"\r")
        lines = [line for line in said.replace("\r\r\n", "\r\n").split("\r\n") if line]
        wanted = list(expected)
        for word, value in facts.items():
            wanted = [line.replace(word, value) for line in wanted]
        assert lines == wanted, (act, lines, wanted)


def row(
    section: str, fact: str, name: str, *steps: tuple[str, ...], is_locked: bool = False
) -> Row:
    told = tuple((step[0], step[1:]) for step in steps)
    return Row(section=section, fact=fact, name=name, steps=told, is_locked=is_locked)


IDENTITY = [
    row("3.1", "generic: free lines", "generic", ("ATI", "Generic GM100", "Revision: 1.04", "OK")),
    row("3.1", "generic: ERROR for what it does not know", "generic", ("AT+XYZ", "ERROR")),
    row("3.1", "Telit: ATI is a number", "le910", ("AT+CGMI", "Telit", "OK"), ("ATI", "332", "OK")),
    row("3.1", "Telit: ERROR", "le910", ("AT+QCCID", "ERROR")),
    row(
        "3.1",
        "Sierra: a block of lines",
        "mc7304",
        ("AT+CGMI", "Sierra Wireless, Incorporated", "OK"),
        (
            "ATI",
            "Manufacturer: Sierra Wireless, Incorporated",
            "Model: MC7304",
            "Revision: SWI9X15C_05.05.58.00 r27038 carmd-fwbuild1 2015/03/04 21:30:23",
            "MEID: 35600001000000",
            "IMEI: {imei}",
            "IMEI SV: 19",
            "FSN: J8529102370510",
            "+GCAP: +CGSM",
            "OK",
        ),
        ("AT+QCCID", "ERROR"),
    ),
    row(
        "3.1",
        "u-blox: name, CME 100 for what it does not know",
        "sara",
        ("AT+CGMI", "u-blox", "OK"),
        ("ATI", "SARA-U270-00S", "OK"),
        ("AT+QCCID", "+CME ERROR: 100"),
        ("AT+CMEE=2", "OK"),
        ("AT+QCCID", "+CME ERROR: unknown"),
        ("AT+CMEE=0", "OK"),
        ("AT+QCCID", "ERROR"),
    ),
    row(
        "3.1",
        "Cinterion: REVISION, CME 4",
        "bgs2",
        ("AT+CGMI", "Cinterion", "OK"),
        ("ATI", "Cinterion", "BGS2-W", "REVISION 02.000", "OK"),
        ("AT+CGMR", "REVISION 02.000", "OK"),
        ("AT+QCCID", "+CME ERROR: 4"),
    ),
    row(
        "3.1",
        "Wavecom: leading blanks, double blanks",
        "wavecom",
        ("AT+CGMI", " WAVECOM MODEM", "OK"),
        ("AT+CGMM", " MULTIBAND  900E  1800", "OK"),
        ("ATI", " WAVECOM MODEM", " MULTIBAND  900E  1800", "OK"),
        ("AT+QCCID", "ERROR"),
    ),
    row("3.2", "bare IMEI", "generic", ("AT+CGSN", "{imei}", "OK"), ("AT+GSN", "{imei}", "OK")),
    row("3.2", "IMEI with its name", "generic", ("AT+CGSN=1", '+CGSN: "{imei}"', "OK")),
    row("3.2", "ICCID: Telit", "le910", ("AT#CCID", "#CCID: {iccid}", "OK"), is_locked=True),
    row(
        "3.2",
        "ICCID: Sierra",
        "mc7304",
        ("AT!ICCID?", "!ICCID: {iccid}", "OK"),
        ("AT+ICCID", "ICCID: {iccid}", "OK"),
        is_locked=True,
    ),
    row("3.2", "ICCID: u-blox", "sara", ("AT+CCID", "+CCID: {iccid}", "OK"), is_locked=True),
    row(
        "3.2",
        "ICCID: Cinterion",
        "bgs2",
        ("AT+CCID", "+CCID: {iccid}", "OK"),
        ("AT^SCID", "^SCID: {iccid}", "OK"),
        is_locked=True,
    ),
    row("3.2", "ICCID: Wavecom", "wavecom", ("AT+CCID", '+CCID: "{iccid}"', "OK"), is_locked=True),
    row("3.2", "IMSI needs the PIN", "generic", ("AT+CIMI", "+CME ERROR: 11"), is_locked=True),
    row("3.2", "no number on the card", "generic", ("AT+CNUM", "OK")),
    row(
        "3.2",
        "GET RESPONSE wants all its parameters on Sierra",
        "mc7304",
        ("AT+CRSM=192,12258", "+CME ERROR: 50"),
        ("AT+CRSM=192,12258,0,0,255", '+CRSM: 144,0,"0000000A2FE204001100FF01020000"', "OK"),
    ),
    row("3.2", "missing file", "generic", ("AT+CRSM=176,28478,0,0,4", '+CRSM: 106,130,""', "OK")),
    row(
        "peers 2.1",
        "half-read ICCID is not a swap: the second reading is whole",
        "le910",
        ("!half",),
        ("AT#CCID", "#CCID: {half}", "OK"),
        ("AT#CCID", "#CCID: {iccid}", "OK"),
    ),
]

PIN = [
    row("3.3", "27.007 counters", "generic",
        ('AT+CPIN="0000"', "+CME ERROR: 16"),
        ("AT+CPINR", "+CPINR: SIM PIN,2,3", "+CPINR: SIM PUK,10,10", "+CPINR: SIM PIN2,3,3",
         "+CPINR: SIM PUK2,10,10", "OK"), is_locked=True),
    row("3.3", "Telit #PCT counts what is asked for; READY it is PIN2's and tells nothing", "le910",
        ("AT#PCT", "#PCT: 3", "OK"),
        ('AT+CPIN="0000"', "+CME ERROR: 16"),
        ("AT#PCT", "#PCT: 2", "OK"),
        ('AT+CPIN="{pin}"', "OK"),
        ('AT+CLCK="SC",1,"0000"', "+CME ERROR: 16"),
        ("AT#PCT", "#PCT: 3", "OK"),
        ('AT+CLCK="SC",1,"0000"', "+CME ERROR: 16"),
        ('AT+CLCK="SC",1,"0000"', "+CME ERROR: 12"),
        ("AT#PCT", "#PCT: 10", "OK"), is_locked=True),
    row("3.3", "Telit passes APDUs on only after AT+CSIM=1", "le910",
        ('AT+CSIM=10,"0020000100"', "+CME ERROR: 3"),
        ("AT+CSIM=1", "OK"),
        ('AT+CSIM=10,"0020000100"', '+CSIM: 4,"63C3"', "OK"), is_locked=True),
    row("3.3", "u-blox: pin,pin2,puk,puk2", "sara",
        ('AT+CPIN="0000"', "+CME ERROR: 16"),
        ("AT+UPINCNT", "+UPINCNT: 2,3,10,10", "OK"), is_locked=True),
    row("3.3", "Sierra: pin,pin2,puk,puk2", "mc7304",
        ('AT+CPIN="0000"', "+CME ERROR: 16"),
        ("AT+CPINC?", "+CPINC: 2,3,10,10", "OK"), is_locked=True),
    row("3.3", "Cinterion: each facility; blocked, the write form counts PUK", "bgs2",
        ('AT+CPIN="0000"', "+CME ERROR: 16"),
        ('AT^SPIC="SC"', "^SPIC: 2", "OK"),
        ('AT^SPIC="SC",1', "^SPIC: 10", "OK"),
        ('AT^SPIC="P2"', "^SPIC: 3", "OK"),
        ('AT^SPIC="PS"', "^SPIC: 3", "OK"),
        ("AT^SPIC", "^SPIC: 2", "OK"),
        ('AT+CPIN="0000"', "+CME ERROR: 16"),
        ('AT+CPIN="0000"', "+CME ERROR: 12"),
        ('AT^SPIC="SC"', "^SPIC: 10", "OK"), is_locked=True),
    row("3.3", "Cinterion's trap: bare and READY it is PIN2's while PIN1 burns, then PUK's", "bgs2",
        ("AT^SPIC", "^SPIC: 3", "OK"),
        ('AT+CLCK="SC",1,"0000"', "+CME ERROR: 16"),
        ('AT+CLCK="SC",1,"0000"', "+CME ERROR: 16"),
        ("AT^SPIC", "^SPIC: 3", "OK"),
        ('AT^SPIC="SC"', "^SPIC: 1", "OK"),
        ('AT+CLCK="SC",1,"0000"', "+CME ERROR: 12"),
        ("AT^SPIC", "^SPIC: 10", "OK")),
    row("3.3", "empty VERIFY, all four secrets", "wavecom",
        ('AT+CSIM=10,"0020000100"', '+CSIM: 4,"63C3"', "OK"),
        ('AT+CSIM=10,"002C000100"', '+CSIM: 4,"63CA"', "OK"),
        ('AT+CSIM=10,"0020008100"', '+CSIM: 4,"63C3"', "OK"),
        ('AT+CSIM=10,"002C008100"', '+CSIM: 4,"63CA"', "OK"), is_locked=True),
    row("3.3", "Wavecom's +CPIN? has no OK", "wavecom",
        ("AT+CPIN?", "+CPIN: SIM PIN"), ("AT", "OK"), is_locked=True),
    row("3.3", "no card", "generic", ("!pull",), ("AT+CPIN?", "+CME ERROR: 10")),
    row("3.3", "the card is busy", "generic", ("!busy",), ("AT+CIMI", "+CME ERROR: 14")),
    row("3.3", "the lock's state", "generic", ('AT+CLCK="SC",2', "+CLCK: 1", "OK"), is_locked=True),
    row("3.3", "change only while the lock is on", "generic",
        ('AT+CPWD="SC","{pin}","5678"', "+CME ERROR: 3")),
]  # fmt: skip

READY = [
    row("3.3", "Telit: READY too early, #QSS: 3 in mode 2", "le910",
        ("AT#QSS=2", "OK"),
        ('AT+CPIN="{pin}"', "OK"), ("~0.1", "#QSS: 2"),
        ("AT+CPIN?", "+CPIN: READY", "OK"),
        ("AT+CIMI", "+CME ERROR: 14"),
        ("~1", "#QSS: 3"),
        ("AT#QSS?", "#QSS: 2,3", "OK"), is_locked=True),
    row("3.3", "Telit: insertion, as #QSS says", "le910",
        ("AT#QSS=1", "OK"), ("!pull", "#QSS: 0"), ("AT#QSS?", "#QSS: 1,0", "OK"),
        ("!insert", "#QSS: 1"), ("~3",), ("AT#SIMDET?", "#SIMDET: 2", "OK")),
    row("3.3", "u-blox: +UUSIMSTAT by the bits of +USIMSTAT", "sara",
        ("AT+USIMSTAT=7", "OK"),
        ('AT+CPIN="{pin}"', "OK"),
        ("~0.9", "+UUSIMSTAT: 6"),
        ("~1.2", "+PBREADY", "+UUSIMSTAT: 7"),
        ("!pull", "+UUSIMSTAT: 0"), ("!insert", "+UUSIMSTAT: 1"), is_locked=True),
    row("3.3", "u-blox: PIN blocked", "sara",
        ("AT+USIMSTAT=1", "OK"),
        ('AT+CPIN="0000"', "+CME ERROR: 16"), ('AT+CPIN="0000"', "+CME ERROR: 16"),
        ('AT+CPIN="0000"', "+CME ERROR: 12"), ("~0.1", "+UUSIMSTAT: 2"), is_locked=True),
    row("3.3", "Cinterion: ^SSIM READY, +PBREADY; early commands CME 515", "bgs2",
        ("AT^SSET=1", "OK"),
        ('AT+CPIN="{pin}"', "OK"),
        ("AT+CIMI", "+CME ERROR: 515"),
        ("AT+CPMS?", "+CMS ERROR: 532"),
        ("~1.1", "^SSIM READY"), ("~1", "+PBREADY"),
        ("AT+CREG?", "+CREG: 0,1", "OK"), is_locked=True),
    row("3.3", "Cinterion: the tray's switch, lost on reset; an empty tray says 1 then 0", "bgs2",
        ("AT^SCKS=1", "OK"), ("AT^SCKS?", "^SCKS: 1,1", "OK"), ("!pull", "^SCKS: 0"),
        ("!pull", "^SCKS: 1", "^SCKS: 0"), ("!insert", "^SCKS: 1"), ("~3", "+PBREADY"),
        ("!reboot",), ("~9", "^SYSSTART", "+PBREADY"), ("ATE0", "ATE0", "OK"),
        ("AT^SCKS?", "^SCKS: 0,1", "OK")),
    row("3.3", "Cinterion: the simstatus indicator", "bgs2",
        ('AT^SIND="simstatus",1', "^SIND: simstatus,1,5", "OK"),
        ("!pull", "+CIEV: simstatus,0"), ("!insert", "+CIEV: simstatus,1"),
        ("~3", "+CIEV: simstatus,5", "+PBREADY")),
    row("3.3", "Wavecom: +WIND: 4, early commands 515", "wavecom",
        ('AT+CPIN="{pin}"', "OK"),
        ("AT+CIMI", "+CME ERROR: 515"),
        ("AT+CPMS?", "+CMS ERROR: 515"),
        ("~1.2", "+WIND: 4"), is_locked=True),
    row("3.3", "Wavecom: removed, inserted, rack opened", "wavecom",
        ("AT+WIND=16383", "OK"), ("!pull", "+WIND: 8", "+WIND: 0"), ("!pull", "+WIND: 13"),
        ("!insert", "+WIND: 1"), ("~3", "+WIND: 4")),
]  # fmt: skip

NETWORK = [
    row("3.4", "+CSQ", "generic", ("AT+CSQ", "+CSQ: 20,99", "OK")),
    row("3.4", "+CESQ", "le910", ("AT+CESQ", "+CESQ: 99,99,255,255,20,67", "OK")),
    row("3.4", "no cell before n=2, quoted then", "generic",
        ("AT+CREG?", "+CREG: 0,1", "OK"), ("AT+CREG=2", "OK"),
        ("AT+CREG?", '+CREG: 2,1,"8BE3","2BAF"', "OK")),
    row("3.4", "unquoted hex: Sierra", "mc7304",
        ("AT+CREG=2", "OK"), ("AT+CREG?", "+CREG: 2,1,8BE3,2BAF,7", "OK")),
    row("3.4", "formats of +COPS", "generic",
        ("AT+COPS=3,2", "OK"), ("AT+COPS?", '+COPS: 0,2,"46000"', "OK"),
        ("AT+COPS=3,0", "OK"), ("AT+COPS?", '+COPS: 0,0,"CHINA MOBILE"', "OK")),
    row("3.4", "the operator's name in UCS2 where +CSCS wants it", "sara",
        ('AT+CSCS="UCS2"', "OK"), ("AT+COPS=3,1", "OK"),
        ("AT+COPS?", '+COPS: 0,1,"0043004D00430043",2', "OK")),
    row("peers 2.1", "ICCID unreadable at minimum function, readable in flight mode", "sara",
        ("AT+CFUN=0", "OK"), ("AT+CCID", "+CME ERROR: 10"), ("AT+CFUN=4", "OK"),
        ("AT+CCID", "+CCID: {iccid}", "OK")),
    row("3.4", "no service: +COPS: 0", "generic",
        ("AT+CFUN=4", "OK"), ("AT+COPS?", "+COPS: 0", "OK")),
    row("3.4", "others' signal: Telit", "le910",
        ("AT#RFSTS",
         '#RFSTS: "460 00",1850,-81,-52,-10,8BE3,,255,,128,0,0,"2BAF","460000000000001","CMCC",3,3',
         "OK")),
    row("3.4", "others' signal: Cinterion", "bgs2",
        ("AT^SMONI", "^SMONI: 2G,71,-61,460,00,8BE3,2BAF,33,33,3,6,G,NOCONN", "OK")),
    row("3.4", "others' signal: u-blox", "sara",
        ("AT+UCGED?", "+UCGED: 2", "2,4,1d,1d", "10562,8,460,00,8BE3,2BAF,,,120,22,22", "OK")),
    row("3.5", "Sierra: nothing goes before +CFUN=1", "mc7304",
        ("!reboot",), ("~9", "+PACSP1"), ("ATE0", "ATE0", "OK"), ("AT+CFUN?", "+CFUN: 4", "OK"),
        ("AT+CREG?", "+CREG: 0,0", "OK"), ("AT+CFUN=1", "OK"), ("~2",),
        ("AT+CREG?", "+CREG: 0,1", "OK")),
]  # fmt: skip

MESSAGES = [
    row("3.5", "CNMI: generic takes mode 2 with ds 1", "generic", ("AT+CNMI=2,2,0,1,0", "OK")),
    row("3.5", "CNMI: Telit", "le910", ("AT+CNMI=2,2,0,1,0", "OK")),
    row("3.5", "CNMI: u-blox", "sara", ("AT+CNMI=2,1,0,2,0", "OK")),
    row("3.5", "CNMI: Cinterion shows directly only with +CSMS=1 and bfr 1", "bgs2",
        ("AT+CNMI=?", "+CNMI: (0,1,2),(0,1),(0,2),(0,2),(0,1)", "OK"),
        ("AT+CNMI=2,1,0,0,1", "OK"), ("AT+CNMI=2,1,0,2,1", "OK"),
        ("AT+CNMI=2,2,0,0,1", "+CMS ERROR: 303"), ("AT+CNMI=2,1,0,1,1", "+CMS ERROR: 303"),
        ("AT+CSMS=1", "+CSMS: 1,1,1", "OK"),
        ("AT+CNMI=2,2,0,1,0", "+CMS ERROR: 303"), ("AT+CNMI=2,2,0,1,1", "OK"),
        ("AT+CNMI=?", "+CNMI: (0,1,2),(0,1,2,3),(0,2),(0,1,2),(0,1)", "OK")),
    row("3.5", "CNMI: Wavecom takes ds 1", "wavecom", ("AT+CNMI=2,1,0,1,0", "OK")),
    row("3.5", "CNMI is lost on reset", "generic",
        ("AT+CNMI=2,1,0,2,0", "OK"), ("!reboot",), ("~5",), ("ATE0", "ATE0", "OK"),
        ("AT+CNMI?", "+CNMI: 0,0,0,0,0", "OK")),
    row("3.5", "three memories", "generic",
        ('AT+CPMS="SM","ME","SM"', "+CPMS: 0,5,0,100,0,5", "OK")),
    row("3.5", "Cinterion: MT is both stores", "bgs2",
        ("AT+CPMS?", '+CPMS: "MT",0,30,"MT",0,30,"MT",0,30', "OK"),
        ("AT+CNMI=2,1,0,0,1", "OK"), ("!text", '+CMTI: "MT",6'),
        ("AT+CPMS?", '+CPMS: "MT",1,30,"MT",1,30,"MT",1,30', "OK"),
        ('AT+CPMS="ME"', "+CPMS: 1,25,1,30,1,30", "OK")),
    row("3.5", "Wavecom: two memories, three are refused", "wavecom",
        ("AT+CPMS=?", '+CPMS: (("SM","BM","SR"),("SM"))', "OK"),
        ('AT+CPMS="SM","SM"', "+CPMS: 0,5,0,5", "OK"),
        ('AT+CPMS="SM","SM","SM"', "+CMS ERROR: 302"),
        ('AT+CPMS="SM","SR"', "+CMS ERROR: 302"),
        ("AT+CPMS?", '+CPMS: "SM",0,5,"SM",0,5', "OK"),
        ('AT+CPMS="BM"', "+CPMS: 0,10,0,5", "OK"), ('AT+CPMS="SR"', "+CPMS: 0,20,0,5", "OK")),
    row("3.5", "Sierra: ME by default, kept over a reset", "mc7304",
        ("AT+CPMS?", '+CPMS: "ME",0,100,"ME",0,100,"ME",0,100', "OK"),
        ('AT+CPMS="SM","SM","SM"', "+CPMS: 0,5,0,5,0,5", "OK"),
        ("!reboot",), ("~9", "+PACSP1"), ("ATE0", "ATE0", "OK"),
        ("AT+CPMS?", '+CPMS: "SM",0,5,"SM",0,5,"SM",0,5', "OK")),
    row("3.5", "Cinterion: CME 4, CMS of its own for a PDU that is wrong", "bgs2",
        ("AT+CMGS=24", "> "), ("zz\x1a", "+CMS ERROR: 517"), ("AT+CMGS=23", "> "),
        (f"{HELLO}\x1a", "+CMS ERROR: 548")),
    row("3.5", "no service: 331; Wavecom 512; Sierra 350", "wavecom",
        ("AT+CFUN=4", "+WIND: 8", "OK"), ("AT+CMGS=24", "+CMS ERROR: 512")),
    row("4", "no service: 350 of Sierra", "mc7304",
        ("AT+CFUN=4", "OK"), ("AT+CMGS=24", "+CMS ERROR: 350")),
    row("3.5", "u-blox: CMS in words with CMEE=2", "sara",
        ("AT+CMEE=2", "OK"), ("AT+CMGR=9", "+CMS ERROR: invalid memory index"),
        ("AT+CPIN=\"1\"", "+CME ERROR: operation not allowed"), ("AT+CMEE=1", "OK"),
        ("AT+CMGR=9", "+CMS ERROR: 321")),
    row("3.5", "others: CMS stays a number", "generic",
        ("AT+CMEE=2", "OK"), ("AT+CMGR=9", "+CMS ERROR: 321")),
    row("3.5", "storage full: Cinterion", "bgs2",
        ('AT+CPMS="SM","SM","SM"', "+CPMS: 0,5,0,5,0,5", "OK"),
        ('AT^SIND="smsfull",1', "^SIND: smsfull,1,0", "OK"), ("AT^SMGO=1", "OK"),
        ("!fill", "+CIEV: smsfull,1", "^SMGO: 2")),
    row("3.5", "storage full: the generic indicator", "generic",
        ("AT+CMER=3,0,0,1", "OK"), ("!fill", "+CIEV: 7,1"),
        ("AT+CIND?", "+CIND: 5,4,1,1,0,0,1", "OK")),
    row("3.5", "CMMS falls back by itself", "sara",
        ("AT+CMMS=1", "OK"), ("AT+CMMS?", "+CMMS: 1", "OK")),
]  # fmt: skip

POWER = [
    row("3.8", "generic: CFUN=1,1", "generic",
        ("AT+CFUN=1,1", "OK"), ("~3",), ("ATE0", "ATE0", "OK"), ("AT+CMEE?", "+CMEE: 0", "OK")),
    row("3.8", "Telit: #REBOOT; #QSS if it is on", "le910",
        ("AT#QSS=2", "OK"), ("AT#REBOOT", "OK"), ("~9", "#QSS: 1", "#QSS: 2", "#QSS: 3")),
    row("3.8", "Telit: #SHDN", "le910", ("AT#SHDN", "OK"), ("~60",), ("AT",)),
    row("3.8", "Telit: noise has switches", "le910",
        ("!listen",), ("~60",), ("AT#PSNT=1", "OK"), ("~21", "#PSNT: 4"),
        ("AT#PSNT=0", "OK"), ("AT#NITZ=1", "OK"), ("~20", "#NITZ: 26/11/22,12:01:45"),
        ("AT#NITZ=0", "OK"), ("~60",)),
    row("3.8", "Sierra: !RESET, +PACSP1", "mc7304", ("AT!RESET", "OK"), ("~9", "+PACSP1")),
    row("3.8", "u-blox: +CFUN=16, +AT: READY, +PBREADY", "sara",
        ("AT+CFUN=16", "OK"), ("~5",), ("AT",), ("~9", "+AT: READY", "+PBREADY")),
    row("3.8", "u-blox: +CPWROFF", "sara", ("AT+CPWROFF", "OK"), ("~60",), ("AT",)),
    row("3.8", "Cinterion: ^SYSSTART", "bgs2",
        ("AT+CFUN=1,1", "OK"), ("~9", "^SYSSTART", "+PBREADY")),
    row("3.8", "Cinterion: ^SYSSTART AIRPLANE MODE", "bgs2",
        ('AT^SCFG="MEopMode/Airplane","on"', '^SCFG: "MEopMode/Airplane","on"', "OK"),
        ("AT+CFUN=1,1", "OK"), ("~9", "^SYSSTART AIRPLANE MODE", "+PBREADY"),
        ("ATE0", "ATE0", "OK"), ("AT+CREG?", "+CREG: 0,0", "OK"),
        ('AT^SCFG="MEopMode/Airplane","off"', '^SCFG: "MEopMode/Airplane","off"', "OK"),
        ("~3",), ("AT+CREG?", "+CREG: 0,1", "OK")),
    row("3.8", "Cinterion: ^SMSO", "bgs2",
        ("AT^SMSO", "^SMSO: MS OFF", "OK"), ("~1", "^SHUTDOWN"), ("AT",)),
    row("3.8", "Cinterion: noise of ^SIND and ^SCTM", "bgs2",
        ("!listen",), ("~60",), ('AT^SIND="rssi",1', "^SIND: rssi,1,4", "OK"),
        ("~21", "+CIEV: rssi,4"), ('AT^SIND="rssi",0', "^SIND: rssi,0,4", "OK"),
        ("AT^SCTM=1", "OK"), ("~20", "^SCTM_B: 0")),
    row("3.8", "Wavecom: +WIND 1, 3, 7, 4; its mask outlives the restart", "wavecom",
        ("AT+CFUN=1,1", "OK"), ("~9", "+WIND: 1", "+WIND: 3", "+WIND: 7", "+WIND: 4"),
        ("ATE0", "ATE0", "OK"), ("AT+WIND=0", "OK"), ("!reboot",), ("~9",),
        ("ATE0", "ATE0", "OK"), ("AT+WIND?", "+WIND: 0", "OK")),
    row("3.8", "Wavecom: +CFUN=1 out of 0 is a restart", "wavecom",
        ("AT+CFUN=0", "+WIND: 8", "OK"), ("AT+CFUN=1", "OK"),
        ("~9", "+WIND: 1", "+WIND: 3", "+WIND: 7", "+WIND: 4")),
]  # fmt: skip

CALLS = [
    row("3.7", "a call comes in, generic", "generic",
        ("AT+CRC=1", "OK"), ("AT+CLIP=1", "OK"),
        ("!call", "+CRING: VOICE", f'+CLIP: "{FAR}",145,,,,0'), ("~6", "NO CARRIER")),
    row("3.7", "Telit #ECAM", "le910",
        ("AT#ECAM=1", "OK"),
        ("!answered", f'#ECAM: 0,1,1,,,"{FAR}",145'), ("~1", "#ECAM: 0,6,1,,,,"),
        ("~2", "#ECAM: 0,3,1,,,,"), ("~3", "#ECAM: 0,0,1,,,,", "NO CARRIER")),
    row("3.7", "u-blox +UCALLSTAT", "sara",
        ("AT+UCALLSTAT=1", "OK"), ("!answered", "+UCALLSTAT: 1,2"), ("~1", "+UCALLSTAT: 1,3"),
        ("~2", "+UCALLSTAT: 1,7", "+UCALLSTAT: 1,0"), ("~3", "+UCALLSTAT: 1,6", "NO CARRIER"),
        ("!call", "+UCALLSTAT: 1,4", "RING"), ("~6", "+UCALLSTAT: 1,6", "NO CARRIER"),
        ("AT+CEER", '+CEER: "Call cleared",16,"Normal call clearing"', "OK")),
    row("3.7", "Cinterion ^SLCC, ended by an empty line", "bgs2",
        ("AT^SLCC=1", "OK"),
        ("!call", f'^SLCC: 1,1,4,0,0,0,"{FAR}",145', "^SLCC: ", "RING"),
        ("AT^SLCC", f'^SLCC: 1,1,4,0,0,0,"{FAR}",145', "^SLCC: ", "OK"),
        ("~6", "^SLCC: ", "NO CARRIER"),
        ("AT^SLCC", "^SLCC: ", "OK"), ("AT+CEER", "+CEER: 8,16,0", "OK")),
    row("3.7", "Wavecom: created, alerting, OK only when answered, released", "wavecom",
        ("AT+WIND=16383", "OK"),
        (f"ATD{FAR};",), ("~0.1", "+WIND: 5,1"), ("~1", "+WIND: 2"), ("~6", "OK"),
        ("~60", "NO CARRIER", "+WIND: 6,1")),
]  # fmt: skip

MODEM_MANAGER = [
    row("6.6", "cinterion, LTE", "pls8",
        ("AT^SXRAT=?", "^SXRAT: (0-6),(0,2,3),(0,2,3)", "OK"),
        ('AT^SCFG="MEopMode/Prov/Cfg"', '^SCFG: "MEopMode/Prov/Cfg","fallback"', "OK"),
        ("AT+CGCONTRDP", "OK")),
    row("6.6", "cinterion", "bgs2",
        ("AT\\Q3", "OK"), ("AT^SCKS=1", "OK"), ("AT^SLCC=?", "^SLCC: (0,1)", "OK"),
        ("AT^SMONI=?", "OK"), ("AT^SGAUTH?", "^SGAUTH: 2", "OK"),
        ("AT^SCFG=?", '^SCFG: "MEopMode/Airplane",("off","on")', "OK"),
        ("AT^SXRAT=?", "+CME ERROR: 4"),
        ('AT^SCFG="MEopMode/Prov/Cfg"', "+CME ERROR: 50"), ('AT^SPIC="SC",1', "^SPIC: 10", "OK")),
    row("6.6", "u-blox", "sara",
        ("AT+URAT=?", "+URAT: (0-2),(0-2)", "OK"), ("AT+UDTMFD=?", "+UDTMFD: (0-2)", "OK"),
        ("AT+UBANDSEL?", "+UBANDSEL: 850,900,1800,1900,2100", "OK"), ("AT+UCALLSTAT=1", "OK")),
    row("6.6", "wavecom", "wavecom",
        ("AT+CGCLASS=?", '+CGCLASS: ("B","CG","CC")', "OK"), ("AT+WUBS?", '+WUBS: "4",1', "OK"),
        ("AT+WGPRS=9,2", "OK"), ("AT+CIND?", "+CIND: 5,4,1,0,0,0,0", "OK")),
    row("6.6", "telit", "le910",
        ("AT#QSS=?", "#QSS: (0-2)", "OK"), ("AT$GPSP=?", "$GPSP: (0,1)", "OK"),
        ("AT#PSNT?", "#PSNT: 0,4", "OK"), ("AT+SERVICE?", "+SERVICE: 1", "OK"),
        ("AT#BND=?", "#BND: (0-3),(0-6),(1-134742231)", "OK")),
]  # fmt: skip

ROWS = [*IDENTITY, *PIN, *READY, *NETWORK, *MESSAGES, *POWER, *CALLS, *MODEM_MANAGER]


@pytest.mark.parametrize("case", ROWS, ids=lambda case: f"{case.section}-{case.name}-{case.fact}")
def test_row(tmp_path: Path, case: Row) -> None:
    play(OneModem(tmp_path, case.name, is_locked=case.is_locked), case.steps)


def test_every_persona_of_this_file_has_rows_of_its_own() -> None:
    assert {case.name for case in ROWS} == set(ROSTER)


# ---------------------------------------------------------------- what is no dialogue


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
    assert words <= {*commands.facts, *_CALL_WORDS}
    known = {*commands.default_settings(described), *described.keeps, *described.settings}
    used = {told.setting for told in described.told if told.setting}
    used |= {word for line in lines for word in re.findall(r"\{=([^}]+)\}", line)}
    assert {word for word in used if "/" not in word} <= known
    assert {*described.sms_codes} <= {*CODES}
    assert {*described.nonvolatile} <= {*known, "+CPMS"}
    assert described.name == name
