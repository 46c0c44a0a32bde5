"""Every quirk of Huawei, ZTE, Quectel and SIMCom that the facts name is shown by some persona.

One row a quirk: what is asked and answered, at-dialects §3 (line by line for these vendors) and
§6.1. What a model says by itself, and the faults: `test_simulator_stories_a.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from simulator import persona
from tests.support.one_modem import OneModem


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What a model answers. `{name}` in a line: a fact of the bench's card or modem."""

    quirk: str
    model: str
    command: str
    lines: tuple[str, ...]
    before: tuple[str, ...] = ()
    is_locked: bool = False


def row(quirk: str, model: str, command: str, *lines: str, before: str = "") -> Row:
    return Row(
        quirk=quirk,
        model=model,
        command=command,
        lines=lines,
        before=tuple(before.split(" / ")) if before else (),
    )


def locked(quirk: str, model: str, command: str, *lines: str, before: str = "") -> Row:
    return Row(
        quirk=quirk,
        model=model,
        command=command,
        lines=lines,
        before=tuple(before.split(" / ")) if before else (),
        is_locked=True,
    )


OK = "OK"
WRONG_PIN = 'AT+CPIN="9999"'

ROWS = [
    # §3.1 Recognising the vendor
    row("3.1 Huawei, older name", "e1550", "AT+CGMI", "huawei", OK),
    row("3.1 Huawei, newer name", "e3372", "AT+CGMI", "Huawei Technologies Co., Ltd.", OK),
    row(
        "3.1 Huawei's ATI", "huawei", "ATI", "Manufacturer: huawei", "Model: E1750",
        "Revision: 11.126.16.00.60", "IMEI: {imei}", "+GCAP: +CGSM,+DS,+ES", OK,
    ),
    row(
        "3.1 ZTE's ATI", "zte", "ATI", "Manufacturer: ZTE INCORPORATED", "Model: MF190",
        "Revision: BD_MF190V1.0.0B04", "IMEI: {imei}", "+GCAP: +CGSM,+DS,+ES", OK,
    ),
    row("3.1 Quectel's ATI", "quectel", "ATI", "Quectel", "EC25", "Revision: EC25EFAR06A01M4G", OK),
    row("3.1 M35's maker", "m35", "AT+CGMI", "Quectel_Ltd", OK),
    row("3.1 SIM800's ATI", "simcom", "ATI", "SIM800 R14.18", OK),
    row("3.1 SIMCom LTE's maker", "sim7600", "AT+CGMI", "SIMCOM INCORPORATED", OK),
    row("3.1 model with a prefix", "huawei", "AT+CGMM", "+CGMM: E1750", OK),
    row("3.1 and with quotes", "sim7600", "AT+CGMM", '+CGMM: "SIMCOM_SIM7600E-H"', OK),
    row("3.1 unknown command, Huawei", "huawei", "AT+XYZZY", "COMMAND NOT SUPPORT"),
    row("3.1 the same, newer", "e3372", "AT+XYZZY", "ERROR"),
    row("3.1 unknown command, ZTE", "zte", "AT+XYZZY", "ERROR"),
    row("3.1 unknown command, Quectel", "ec20", "AT^CURC=0", "ERROR"),
    row("3.1 gammu's demand 1 of a Huawei", "e1550", "AT^CURC=0", OK),
    row("3.1 gammu's demand 2 of a Huawei", "e1550", "AT+CFUN=1", OK),
    row("3.1 gammu's demand 3 of a Huawei", "e1550", "AT^PORTSEL=1", OK),
    row(
        "3.1 gammu's demand 1 of a ZTE", "zte", "AT+ZCDRUN=8",
        "Close autorun state result(0:FAIL 1:SUCCESS):1", OK,
    ),
    row("3.1 gammu's demand 2 of a ZTE", "zte", "AT+ZOPRT=5", OK),
    # §3.2 Identity
    row("3.2 IMEI, bare", "e1550", "AT+CGSN", "{imei}", OK),
    row("3.2 IMEI, in quotes", "eg06", "AT+CGSN", '"{imei}"', OK),
    row("3.2 IMEI, with a word", "zte", "AT+CGSN", "IMEI: {imei}", OK),
    row("3.2 IMEI, several values", "mu609", "AT+CGSN", "{imei},{imeisv}", OK),
    row("3.2 IMEI, 16 digits", "e3372", "AT+CGSN", "{imeisv}", OK),
    row("3.2 IMEI, 14 digits", "e173", "AT+CGSN", "{imei14}", OK),
    row("3.2 IMEI, snt form", "quectel", "AT+CGSN=1", '+CGSN: "{imei}"', OK),
    row("3.2 own number, not stored", "e1550", "AT+CNUM", OK),
    row("3.2 own number", "eg06", "AT+CNUM", '+CNUM: "me","{number}",145', OK),
    row("3.2 own number, empty alpha", "ec20", "AT+CNUM", '+CNUM: ,"{number}",145', OK),
    row("3.2 own number, refused", "zte", "AT+CNUM", "ERROR"),
    row("3.2 own number, glued", "mu609", "AT+CNUM", 'ERROR+CNUM: ,"{number}",145', OK),
    row("3.2 provider, SIMCom", "simcom", "AT+CSPN?", '+CSPN: "CMCC",0', OK),
    row(
        "3.2 provider, Quectel", "quectel", "AT+QSPN",
        '+QSPN: "CMCC","CMCC","CMCC",0,"46000"', OK,
    ),
    row(
        "3.2 provider, Quectel LTE", "ec20", "AT+QSPN",
        '+QSPN: "CMCC","CMCC","CMCC",0,"46000"', OK,
    ),
    # §3.2 ICCID
    locked("3.2 ICCID by file", "huawei", "AT+CRSM=176,12258,0,0,10",
           '+CRSM: 144,0,"{swapped}"', OK),
    locked("3.2 without quotes", "e1550", "AT+CRSM=176,12258,0,0,10",
           "+CRSM: 144,0,{swapped}", OK),
    locked("3.2 toolkit data pending", "e173", "AT+CRSM=176,12258,0,0,10",
           '+CRSM: 145,32,"{swapped}"', OK),
    row("3.2 no such file, USIM", "quectel", "AT+CRSM=176,28999,0,0,10", '+CRSM: 106,130,""', OK),
    row("3.2 no such file, SIM", "mu609", "AT+CRSM=176,28999,0,0,10", '+CRSM: 148,4,""', OK),
    row("3.2 GET RESPONSE in short, ZTE", "zte", "AT+CRSM=192,12258", "+CME ERROR: 50"),
    row("3.2 the same, Huawei", "huawei", "AT+CRSM=192,12258", "+CME ERROR: 50"),
    row("3.2 the same, SIMCom", "sim7600", "AT+CRSM=192,12258", "+CME ERROR: 50"),
    locked("3.2 Huawei's ICCID", "huawei", "AT^ICCID?", "^ICCID: {padded}", OK),
    locked("3.2 old E1xx has none", "e1550", "AT^ICCID?", "COMMAND NOT SUPPORT"),
    locked("3.2 or comes swapped", "e3372", "AT^ICCID?", "^ICCID: {swapped}", OK),
    locked("3.2 ZTE's ICCID", "zte", "AT+ZICCID?", "+ZICCID: {iccid}", OK),
    locked("3.2 ZTE's other one", "zte", "AT+ICCID", "ICCID: {iccid}", OK),
    locked("3.2 Quectel's ICCID", "quectel", "AT+QCCID", "+QCCID: {padded}", OK),
    locked("3.2 M35's, bare", "m35", "AT+CCID", "{padded}", OK),
    locked("3.2 SIM800's, bare, lower case", "simcom", "AT+CCID", "{lower}", OK),
    locked("3.2 SIM7600's ICCID", "sim7600", "AT+CICCID", "+ICCID: {iccid}", OK),
    # §3.3 PIN and counters
    locked("3.3 quotes, a missing blank", "e173", "AT+CPIN?", '+CPIN:"SIM PIN"', OK),
    locked("3.3 Huawei's counter", "huawei", "AT^CPIN?", "^CPIN: SIM PIN,2,10,2,10,3", OK,
           before=WRONG_PIN),
    row("3.3 and when READY", "huawei", "AT^CPIN?", "^CPIN: READY,,10,3,10,3", OK),
    locked("3.3 ZTE's counter", "zte", "AT+ZPINPUK=?", "+ZPINPUK: 2,10", OK, before=WRONG_PIN),
    locked("3.3 Quectel's counter", "ec20", "AT+QPINC?", '+QPINC: "SC",2,10',
           '+QPINC: "P2",3,10', OK, before=WRONG_PIN),
    locked("3.3 Quectel 2G's counter", "m35", "AT+QTRPIN", "+QTRPIN: 2,3,10,10", OK,
           before=WRONG_PIN),
    locked("3.3 SIM800's order", "simcom", "AT+SPIC", "+SPIC: 2,3,10,10", OK, before=WRONG_PIN),
    locked("3.3 SIM7600's order", "sim7600", "AT+SPIC", "+SPIC: 2,10,3,10", OK, before=WRONG_PIN),
    locked("3.3 no empty VERIFY on 2G", "m35", 'AT+CSIM=10,"0020000100"', "ERROR"),
    row("3.3 Quectel's readiness", "quectel", "AT+QINISTAT", "+QINISTAT: 7", OK),
    locked("3.3 and before the PIN", "quectel", "AT+QINISTAT", "+QINISTAT: 0", OK),
    row("3.3 ^SYSINFO tells the card", "huawei", "AT^SYSINFO", "^SYSINFO:2,3,0,5,1,,4", OK),
    locked("3.3 locked", "huawei", "AT^SYSINFO", "^SYSINFO:0,3,0,5,0,,4", OK),
    # §3.4 Signal and registration
    row("3.4 +CSQ with a blank", "zte", "AT+CSQ", "+CSQ: 20, 99", OK),
    row("3.4 +CSQ with a point", "mu609", "AT+CSQ", "+CSQ: 20.99", OK),
    row("3.4 ^HCSQ", "e3372", "AT^HCSQ?", '^HCSQ: "LTE",51,44,146,28', OK),
    row("3.4 +QCSQ", "quectel", "AT+QCSQ", '+QCSQ: "LTE",52,-81,195,-10', OK),
    row("3.4 hex without quotes", "huawei", "AT+CREG?", "+CREG: 2,1,8BE3,2BAF", OK,
        before="AT+CREG=2"),
    row("3.4 with quotes and technology", "ec20", "AT+CREG?", '+CREG: 2,1,"8BE3","2BAF",7', OK,
        before="AT+CREG=2"),
    row("3.4 blanks inside", "mu609", "AT+CREG?", "+CREG: 2,1, 8BE3, 2BAF, 2", OK,
        before="AT+CREG=2"),
    row("3.4 junk for a place", "e3372", "AT+CREG?", "+CREG: 2,0,00,0", OK,
        before="AT+CREG=2 / AT+CFUN=7"),
    row("3.4 read answered as if unasked", "e173", "AT+CREG?", "+CREG: 1,8BE3,2BAF", OK,
        before="AT+CREG=2"),
    # §3.5 Message set-up
    row("3.5 a first field more", "e1550", "AT+CSMS?", "+CSMS: 0,1,1,1", OK),
    row("3.5 mode 2 listed", "huawei", "AT+CNMI=?",
        "+CNMI: (0,1,2,3),(0,1,2,3),(0,2),(0,1,2),(0,1)", OK),
    row("3.5 and refused, Huawei", "huawei", "AT+CNMI=2,1,0,2,0", "ERROR"),
    row("3.5 and refused, ZTE", "zte", "AT+CNMI=2,1,0,2,0", "+CMS ERROR: 303"),
    row("3.5 and refused, SIMCom LTE", "sim7600", "AT+CNMI=2,1,0,2,0", "ERROR"),
    row("3.5 mode 1 instead", "huawei", "AT+CNMI=1,1,0,2,0", OK),
    row("3.5 many E1xx take mode 2", "e1550", "AT+CNMI=2,1,0,2,0", OK),
    row("3.5 ds 1 refused, Qualcomm", "ec20", "AT+CNMI=2,1,2,1,0", "+CMS ERROR: 303"),
    row("3.5 some combinations only", "e3372", "AT+CNMI=1,1,0,1,1", "ERROR"),
    row("3.5 Quectel takes all", "quectel", "AT+CNMI=2,2,0,1,0", OK),
    row("3.5 SIM800 takes all", "simcom", "AT+CNMI=2,1,0,1,0", OK),
    row("3.5 +CMMS=2 on E1752", "e1752", "AT+CMMS=2", "+CMS ERROR: 500"),
    row("3.5 slots from 0", "huawei", "AT+CMGR=0", "+CMS ERROR: 321"),
    row("3.5 an empty slot: nothing", "simcom", "AT+CMGR=1", OK),
    row("3.5 an empty slot: zeros", "e1752", "AT+CMGR=1", "+CMGR: 0,,0", OK),
    row("3.5 deleting it: an error", "zte", "AT+CMGD=1", "+CMS ERROR: 321"),
    row("3.5 deleting it: nothing", "quectel", "AT+CMGD=1", OK),
    row("3.5 +CSMP wipes the centre", "zte", "AT+CSCA?", '+CSCA: "",129', OK,
        before="AT+CSMP=17,167,0,0"),
    row("3.5 and others keep it", "quectel", "AT+CSCA?", '+CSCA: "+8613800100500",145', OK,
        before="AT+CSMP=17,167,0,0"),
    # §3.6 USSD
    row("3.6 text after ^USSDMODE=0", "e1752", "AT^USSDMODE?", "^USSDMODE: 0", OK,
        before="AT^USSDMODE=0"),
    # §3.8 Power; peers §2.1
    row("2.1 (peers) no ICCID without radio", "eg06", "AT+QCCID", "+CME ERROR: 10",
        before="AT+CFUN=0"),
    row("2.1 (peers) but in flight mode", "eg06", "AT+QCCID", "+QCCID: {padded}", OK,
        before="AT+CFUN=4"),
    row("2.1 (peers) nor by file", "eg06", "AT+CRSM=176,12258,0,0,10", "+CME ERROR: 10",
        before="AT+CFUN=0"),
    row("3.8 offline, Huawei", "huawei", "AT+CREG?", "+CREG: 0,0", OK, before="AT+CFUN=7"),
    row("3.8 its radio switch", "huawei", "AT^RFSWITCH?", "^RFSWITCH:0,1", OK,
        before="AT^RFSWITCH=0"),
    row("3.8 offline, ZTE", "zte", "AT+CREG?", "+CREG: 0,0", OK, before="AT+ZOPRT=6"),
    row("2.1 which port is which", "huawei", "AT^GETPORTMODE",
        "^GETPORTMODE:TYPE:WCDMA:Qualcomm,NDIS:0,DIAG:1,PCUI:2,MDM:3,SD:4", OK),
]  # fmt: skip


def filled(bench: OneModem, line: str) -> str:
    iccid = bench.card.iccid
    padded = iccid.upper().ljust(20, "F")
    facts = {
        "imei": bench.modem.imei,
        "imei14": bench.modem.imei[:14],
        "imeisv": bench.modem.imei[:14] + "01",
        "number": bench.card.subscription.number,
        "iccid": iccid,
        "padded": padded,
        "lower": padded.lower(),
        "swapped": "".join(b + a for a, b in zip(padded[::2], padded[1::2], strict=True)),
    }
    return line.format(**facts)


@pytest.mark.parametrize("case", ROWS, ids=[f"{case.model}: {case.quirk}" for case in ROWS])
def test_model_answers_as_the_facts_say(tmp_path: Path, case: Row) -> None:
    bench = OneModem(tmp_path, case.model, is_locked=case.is_locked)
    for line in case.before:
        bench.say(line)
    bench.wait(0.1)
    assert bench.lines(case.command) == [filled(bench, line) for line in case.lines]


@pytest.mark.parametrize(
    ("model", "answer"),
    [
        ("simcom", ["+CPIN: NOT INSERTED", "OK"]),
        ("m35", ["+CPIN: NOT INSERTED", "OK"]),
        ("quectel", ["+CME ERROR: 10"]),
        ("zte", ["+CME ERROR: 13"]),
        ("e1752", ["ERROR"]),
    ],
)
def test_missing_card_is_told_in_five_ways(tmp_path: Path, model: str, answer: list[str]) -> None:
    bench = OneModem(tmp_path, model)
    bench.modem.insert(None)
    bench.wait(1)
    assert bench.lines("AT+CPIN?") == answer


@pytest.mark.parametrize(
    ("model", "usb_id", "ports"),
    [
        ("e1550", "12d1:1001", {"modem": 0, "diag": 1, "at": 2}),
        ("huawei", "12d1:1406", {"modem": 0, "diag": 1, "at": 2}),
        ("e173", "12d1:1436", {"modem": 0, "diag": 1, "at": 2}),
        ("e3372", "12d1:1506", {"modem": 0, "at": 1}),
        ("mu609", "12d1:1573", {"modem": 0, "diag": 1, "at": 2, "nmea": 3}),
        ("zte", "19d2:0083", {"diag": 0, "app": 1, "at": 2, "modem": 3}),
        ("quectel", "2c7c:0125", {"diag": 0, "nmea": 1, "at": 2, "modem": 3}),
        ("ec20", "05c6:9215", {"diag": 0, "nmea": 1, "at": 2, "modem": 3}),
        ("eg06", "2c7c:0306", {"diag": 0, "nmea": 1, "at": 2, "modem": 3}),
        ("sim7600", "1e0e:9001", {"diag": 0, "nmea": 1, "at": 2, "modem": 3, "audio": 4}),
        ("m35", "0403:6011", {"at": 0}),
        ("simcom", "0403:6011", {"at": 0}),
    ],
)
def test_ports_are_those_of_the_interface_maps(
    model: str, usb_id: str, ports: dict[str, int]
) -> None:
    described = persona.load(model)
    assert described.usb_id == usb_id
    assert {port.role.value: port.interface for port in described.ports} == ports
