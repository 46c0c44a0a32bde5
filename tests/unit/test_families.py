"""What each family's own lines mean, and which modem belongs to which family."""

from __future__ import annotations

import pytest

from drivers.at.session import urc_key
from drivers.at.urcs import SHARED, call_of_stat
from drivers.errors import ProtocolError
from drivers.families.cinterion import CINTERION
from drivers.families.generic import GENERIC
from drivers.families.huawei import HUAWEI
from drivers.families.quectel import QUECTEL
from drivers.families.sierra import SIERRA
from drivers.families.simcom import SIMCOM, SIMCOM_2G
from drivers.families.telit import TELIT
from drivers.families.ublox import UBLOX
from drivers.families.wavecom import WAVECOM
from drivers.families.zte import ZTE
from drivers.family import ICCID_BY_FILE, Family
from drivers.interface import (
    CallEvent,
    CallEventKind,
    DriverEvent,
    Identity,
    LateSubmitResult,
    Rebooted,
    Registration,
    RegistrationChanged,
    SignalChanged,
    SimChanged,
    SimState,
    SmsStored,
    StorageFull,
)
from drivers.registry import FAMILIES, family_of
from drivers.ussd_reply import UssdHeard

K = CallEventKind


def call(
    kind: CallEventKind,
    call_id: int | None = None,
    is_incoming: bool | None = None,
    number: str | None = None,
    **more: object,
) -> CallEvent:
    return CallEvent(kind=kind, call_id=call_id, is_incoming=is_incoming, number=number, **more)


LINES: list[tuple[Family, str, DriverEvent | None]] = [
    # TS 27.005, TS 27.007
    (GENERIC, '+CMTI: "ME",0', SmsStored(memory="ME", index=0)),
    (GENERIC, '+CDSI: "SR",4', SmsStored(memory="SR", index=4)),
    (GENERIC, "+CREG: 3", RegistrationChanged(registration=Registration(stat=3))),
    (GENERIC, "+CGREG: 1", None),
    (GENERIC, "+CSQ: 99,99", SignalChanged(rssi_dbm=None)),
    (GENERIC, "+CPIN: NOT INSERTED", SimChanged(state=SimState.ABSENT)),
    (GENERIC, "+CRING: VOICE", call(K.RING, None, True)),
    (GENERIC, '+CCWA: "+4917",145,1', call(K.RING, None, True, "+4917")),
    (GENERIC, '+CLIP: "",128', call(K.CALLER, None, True)),
    (GENERIC, "BUSY", call(K.ENDED, cause="busy")),
    (GENERIC, "+CMGS: 255", LateSubmitResult(mr=255)),
    (GENERIC, '+CUSD: 0,"x",15', UssdHeard(state=0, text="x", dcs=15)),
    # Huawei E1750, E173, E3372
    (HUAWEI, "^RSSI:18", SignalChanged(rssi_dbm=-77)),
    (HUAWEI, "^RSSI:x", SignalChanged(rssi_dbm=None)),
    (HUAWEI, "^BOOT:27710117,0,0,0,75", None),
    (HUAWEI, '^HCSQ:"LTE",43,38,151,19', None),
    (HUAWEI, "^SIMST:255", SimChanged(state=SimState.ABSENT)),
    (HUAWEI, "^SIMST:1", None),
    (HUAWEI, '^SMMEMFULL: "SM"', StorageFull(memory="SM")),
    (HUAWEI, "^ORIG:1,0", call(K.DIALLING, 1, False)),
    (HUAWEI, "^CONF:1", call(K.ALERTING, 1, False)),
    (HUAWEI, "^CONN:1,0", call(K.CONNECTED, 1)),
    (HUAWEI, "^CEND:1,5,29,16", call(K.ENDED, 1, cause="ended by us, Q.850 16", duration=5)),
    (HUAWEI, "^CEND:1,0,21", call(K.ENDED, 1, cause="no service", duration=0)),
    (HUAWEI, "^CEND:2,0,99", call(K.ENDED, 2, cause="end status 99", duration=0)),
    # Quectel EC25, M95
    (QUECTEL, "RDY", Rebooted(evidence="RDY")),
    (QUECTEL, "+CFUN: 1", Rebooted(evidence="+CFUN: 1")),
    (QUECTEL, "+QUSIM: 1", None),
    (QUECTEL, "+QIND: SMS DONE", None),
    (QUECTEL, '+QIND: "smsfull","ME"', StorageFull(memory="ME")),
    (QUECTEL, "+QSIMSTAT: 1,0", SimChanged(state=SimState.ABSENT)),
    (QUECTEL, "+QSIMSTAT: 1,1", SimChanged(state=SimState.BUSY)),
    (QUECTEL, "+QSIMSTAT: 1,2", None),
    (QUECTEL, '^DSCI: 1,1,4,0,"+4917",145', call(K.RING, 1, True, "+4917")),
    (QUECTEL, '^DSCI: 1,0,2,0,"110",129', call(K.DIALLING, 1, False, "110")),
    (QUECTEL, "^DSCI: 1,0,7,0", call(K.ALERTING, 1, False)),
    (QUECTEL, '^DSCI: 1,1,3,0,"",128', call(K.CONNECTED, 1, True)),
    (QUECTEL, '^DSCI: 1,1,6,0,"",128', call(K.ENDED, 1, True)),
    (QUECTEL, '^DSCI: 1,1,5,0,"",128', None),
    (QUECTEL, '^DSCI: 1,1,3,1,"",128', None),
    (QUECTEL, '+QIND: "ccinfo",2,1,4,0,0,"+4917",145', call(K.RING, 2, True, "+4917")),
    (QUECTEL, '+QIND: "ccinfo",2,1,-1,0,0,"",128', call(K.ENDED, 2, True)),
    (QUECTEL, '+QIND: "ccinfo",2,0,1,0,0,"",128', None),
    (QUECTEL, '+QIND: "ccinfo",2,0,0,1,0,"",128', None),
    # SIMCom SIM800, SIM7600
    (SIMCOM, "*ATREADY: 1", Rebooted(evidence="*ATREADY: 1")),
    (SIMCOM, "VOICE CALL: BEGIN", call(K.CONNECTED)),
    (SIMCOM, "VOICE CALL: END: 000041", call(K.ENDED, duration=41)),
    (SIMCOM, "VOICE CALL: END", call(K.ENDED)),
    (SIMCOM, "MISSED_CALL: 11:01AM 07711", call(K.ENDED, None, True, "07711", cause="missed")),
    (SIMCOM, "MISSED_CALL: 11:01AM", call(K.ENDED, None, True, cause="missed")),
    (SIMCOM, "+SMS FULL", StorageFull(memory="SM")),
    (SIMCOM, "SIM REMOVED", SimChanged(state=SimState.ABSENT)),
    (SIMCOM_2G, '+CLCC: 1,1,4,0,0,"+4917",145', call(K.RING, 1, True, "+4917")),
    (SIMCOM_2G, '+CLCC: 1,1,6,0,0,"+4917",145', call(K.ENDED, 1, True, "+4917")),
    (SIMCOM_2G, "+CLCC: 1,1,1,0,0", None),
    (SIMCOM_2G, "+CLCC: 1,1,0,1,0", None),
    (SIMCOM_2G, "MO RING", call(K.ALERTING, None, False)),
    (SIMCOM_2G, "MO CONNECTED", call(K.CONNECTED, None, False)),
    (SIMCOM_2G, "+CSMINS: 1,0", SimChanged(state=SimState.ABSENT)),
    (SIMCOM_2G, "+CSMINS: 1,1", SimChanged(state=SimState.BUSY)),
    (SIMCOM_2G, "UNDER-VOLTAGE WARNNING", None),
    (SIMCOM_2G, "Call Ready", None),
    # Telit LE910
    (TELIT, '#ECAM: 0,1,1,,,"+4917",145', call(K.DIALLING, None, False, "+4917")),
    (TELIT, "#ECAM: 0,1,1,,,", call(K.DIALLING, None, False)),
    (TELIT, "#ECAM: 0,3,1,,,,", call(K.CONNECTED)),
    (TELIT, "#ECAM: 0,5,1,,,,", call(K.RING)),
    (TELIT, "#ECAM: 0,6,1,,,,", None),  # alerting: of which direction, it does not say
    (TELIT, "#ECAM: 0,7,1,,,,", None),
    (TELIT, "#ECAM: 0,0,1,,,,", call(K.ENDED)),
    (TELIT, "#ECAM: 0,3,2,,,,", None),  # data
    (TELIT, "#QSS: 0", SimChanged(state=SimState.ABSENT)),
    (TELIT, "#QSS: 1", SimChanged(state=SimState.BUSY)),
    (TELIT, "#QSS: 3", None),
    (TELIT, "#NITZ: 26/11/22,12:00:00", None),
    # Sierra MC7304
    (SIERRA, "+PACSP1", None),
    # u-blox SARA-U270
    (UBLOX, "+AT: READY", Rebooted(evidence="+AT: READY")),
    (UBLOX, "+PBREADY", None),
    (UBLOX, "+UUSIMSTAT: 0", SimChanged(state=SimState.ABSENT)),
    (UBLOX, "+UUSIMSTAT: 1", SimChanged(state=SimState.PIN)),
    (UBLOX, "+UUSIMSTAT: 2", SimChanged(state=SimState.PUK)),
    (UBLOX, "+UUSIMSTAT: 6", None),
    (UBLOX, "+UUSIMSTAT: x", None),
    (UBLOX, "+UCALLSTAT: 1,2", call(K.DIALLING, 1, False)),
    (UBLOX, "+UCALLSTAT: 1,3", call(K.ALERTING, 1, False)),
    (UBLOX, "+UCALLSTAT: 1,4", call(K.RING, 1, True)),
    (UBLOX, "+UCALLSTAT: 1,0", call(K.CONNECTED, 1)),
    (UBLOX, "+UCALLSTAT: 1,6", call(K.ENDED, 1)),
    (UBLOX, "+UCALLSTAT: 1,1", None),
    # Cinterion BGS2, EHS6, PLS8
    (CINTERION, "^SYSSTART", Rebooted(evidence="^SYSSTART")),
    (CINTERION, "^SYSSTART AIRPLANE MODE", Rebooted(evidence="^SYSSTART AIRPLANE MODE")),
    (CINTERION, "+PBREADY", None),
    (CINTERION, "^SSIM READY", None),
    (CINTERION, "^SCKS: 0", SimChanged(state=SimState.ABSENT)),
    (CINTERION, "^SCKS: 1", SimChanged(state=SimState.BUSY)),
    (CINTERION, '^SLCC: 1,1,4,0,0,0,"+4917",145', call(K.RING, 1, True, "+4917")),
    (CINTERION, '^SLCC: 1,0,2,0,0,0,"110",129', call(K.DIALLING, 1, False, "110")),
    (CINTERION, "^SLCC: 1,0,0,0,0,1", call(K.CONNECTED, 1, False)),
    (CINTERION, "^SLCC: 1,0,0,1,0,1", None),  # data
    (CINTERION, "^SLCC: ", None),
    (CINTERION, "^SMGO: 2", StorageFull(memory="SM")),
    (CINTERION, "^SMGO: 0", None),
    (CINTERION, "+CIEV: smsfull,1", StorageFull(memory="SM")),
    (CINTERION, "+CIEV: rssi,4", None),
    # Wavecom Q2403
    (WAVECOM, "+WIND: 0", SimChanged(state=SimState.ABSENT)),
    (WAVECOM, "+WIND: 1", SimChanged(state=SimState.BUSY)),
    (WAVECOM, "+WIND: 3", Rebooted(evidence="+WIND: 3")),
    (WAVECOM, "+WIND: 5,1", None),
    # ZTE MF190
    (ZTE, "+ZUSIMR:2", None),
    (ZTE, '+ZDONR: "op",262,1,"CS_ONLY","ROAM_OFF"', None),
    (ZTE, "HANGUP: 16", call(K.ENDED, cause="Q.850 16")),
    (ZTE, '+ZSMMEMFULL: "SM"', StorageFull(memory="SM")),
]


@pytest.mark.parametrize(("family", "line", "event"), LINES, ids=[case[1] for case in LINES])
def test_line_tells_its_event(family: Family, line: str, event: DriverEvent | None) -> None:
    key = urc_key(line)
    row = family.urcs.get(key) or SHARED[key]
    assert row.read(line, None) == event


@pytest.mark.parametrize(
    ("family", "line"),
    [
        (GENERIC, "+CMTI: x"),
        (GENERIC, "+CMT: ,24"),
        (GENERIC, "+CREG: x"),
        (GENERIC, "+CMGS: 256"),
        (HUAWEI, "^CEND:1,5"),
        (QUECTEL, "^DSCI: 1,0"),
        (QUECTEL, '+QIND: "ccinfo",1'),
        (TELIT, "#ECAM: 0,1"),
        (UBLOX, "+UCALLSTAT: 1"),
        (CINTERION, "^SLCC: 1,1"),
    ],
)
def test_unreadable_line_raises(family: Family, line: str) -> None:
    row = family.urcs.get(urc_key(line)) or SHARED[urc_key(line)]
    with pytest.raises(ProtocolError):
        row.read(line, None)


@pytest.mark.parametrize(
    ("manufacturer", "model", "family"),
    [
        ("huawei", "E1750", "huawei"),
        ("Huawei Technologies Co., Ltd.", "E3372", "huawei"),
        ("Quectel", "EC25", "quectel"),
        ("Quectel_Ltd", "Quectel_M35", "quectel"),
        ("SIMCOM INCORPORATED", "SIMCOM_SIM7600E", "simcom"),
        ("SIMCOM_Ltd", "SIMCOM_SIM800L", "simcom-2g"),
        ("SIMCOM INCORPORATED", "SIM8200EA-M2", "simcom"),  # 5G
        ("SIMCOM_Ltd", "SIMCOM_SIM900", "simcom-2g"),
        ("WAVECOM MODEM", "MULTIBAND  900E  1800", "wavecom"),
        ("ZTE INCORPORATED", "MF190", "zte"),
        ("Telit", "LE910-EUG", "telit"),
        ("Sierra Wireless, Incorporated", "MC7304", "sierra"),
        ("Sierra Wireless", "MC8790", "sierra"),
        ("u-blox", "SARA-U270", "u-blox"),
        ("Cinterion", "EHS6", "cinterion"),
        ("Gemalto", "PLS8-E", "cinterion"),
        ("SIEMENS", "TC65", "cinterion"),
        ("ACME", "Telit", "generic"),
        ("unknown", "unknown", "generic"),
    ],
)
def test_modem_belongs_to_one_family(manufacturer: str, model: str, family: str) -> None:
    identity = Identity(
        manufacturer=manufacturer, model=model, revision="1", imei="490154203237518"
    )
    assert family_of(identity).capabilities.family == family


def test_no_two_families_share_a_name_and_the_last_takes_all() -> None:
    names = [family.capabilities.family for family in FAMILIES]
    assert len(set(names)) == len(names)
    assert FAMILIES[-1] is GENERIC


def test_lines_with_numbers_or_text_are_private() -> None:
    tables = [SHARED, *(family.urcs for family in FAMILIES)]
    rows = {key: row for table in tables for key, row in table.items()}
    for key in ("+CLIP:", "+CCWA:", "+CMT:", "+CDS:", "+CUSD:", "+CLCC:", "^DSCI:", "+QIND:"):
        assert rows[key].is_private, key
    for key in ("MISSED_CALL:", "#ECAM:", "^SLCC:"):
        assert rows[key].is_private, key


def test_state_of_a_call_that_changes_nothing_is_none() -> None:
    assert call_of_stat(1) is None
    assert call_of_stat(None) is None
    assert call_of_stat(2) is K.DIALLING
    assert call_of_stat(3) is K.ALERTING


def test_every_family_tries_several_routings_and_ends_with_storage() -> None:
    for family in FAMILIES:
        assert all(value.split(",")[1] == "1" for value in family.cnmi)  # stored first
        assert ICCID_BY_FILE in family.iccid, "the standard's way is among them"
