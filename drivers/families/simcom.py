"""SIMCom modules: LTE (SIM7xxx, A76xx) and 2G (SIM800, SIM900), two rows of one family."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from drivers.at.counters import CounterForm
from drivers.at.temperatures import SIMCOM_TEMPERATURE
from drivers.at.urcs import UrcRow, always, call_of_stat, noise, reboot
from drivers.at.values import answer_fields, current_call, integer
from drivers.family import (
    COUNTER_CPINR,
    COUNTER_VERIFY,
    ICCID_BY_FILE,
    Family,
    counter_by,
    iccid_by,
)
from drivers.interface import (
    CallEvent,
    CallEventKind,
    Capabilities,
    DriverEvent,
    Identity,
    SimChanged,
    SimState,
    StorageFull,
)


def _clcc(line: str, _payload: str | None) -> DriverEvent | None:
    call = current_call(line)
    kind = None if call is None else call_of_stat(call.stat)
    if call is None or kind is None:
        return None
    return CallEvent(
        kind=kind, call_id=call.call_id, is_incoming=call.is_incoming, number=call.number
    )


def _voice_call(line: str, _payload: str | None) -> DriverEvent | None:
    """`VOICE CALL: BEGIN`, `VOICE CALL: END: 000041` (seconds), `VOICE CALL: END` unanswered."""
    parts = [part.strip() for part in line.split(":")]
    if parts[1].upper() == "BEGIN":
        return CallEvent(kind=CallEventKind.CONNECTED)
    return CallEvent(
        kind=CallEventKind.ENDED, duration=integer(parts[2]) if len(parts) > 2 else None
    )


def _missed(line: str, _payload: str | None) -> DriverEvent | None:
    """`MISSED_CALL: 11:01AM 07712345678`."""
    number = line.rsplit(maxsplit=1)[-1]
    return CallEvent(
        kind=CallEventKind.ENDED,
        is_incoming=True,
        number=number if number.lstrip("+").isdecimal() else None,
        cause="missed",
    )


def _csmins(line: str, _payload: str | None) -> DriverEvent | None:
    """`+CSMINS: n,<0 out, 1 in>`."""
    is_in = answer_fields(line)[-1] == "1"
    return SimChanged(state=SimState.BUSY if is_in else SimState.ABSENT)


_NOISE = (
    "CALL READY", "SMS READY", "SMS DONE", "PB DONE", "NORMAL POWER DOWN", "*PSUTTZ:", "DST:",
    "+CIEV:", "+CNSMOD:", "UNDER-VOLTAGE WARNNING", "UNDER-VOLTAGE WARNING",
    "UNDER-VOLTAGE POWER DOWN", "OVER-VOLTAGE WARNNING", "OVER-VOLTAGE POWER DOWN",
)  # fmt: skip

URCS: Mapping[str, UrcRow] = MappingProxyType({
    **{key: UrcRow(read=noise) for key in _NOISE},
    "RDY": UrcRow(read=reboot),
    "+CFUN:": UrcRow(read=reboot),
    "*ATREADY:": UrcRow(read=reboot),
    "+CLCC:": UrcRow(read=_clcc, is_private=True),
    "VOICE CALL:": UrcRow(read=_voice_call),
    "MISSED_CALL:": UrcRow(read=_missed, is_private=True),
    "MO RING": UrcRow(
        read=always(CallEvent(kind=CallEventKind.ALERTING, is_incoming=False))
    ),
    "MO CONNECTED": UrcRow(
        read=always(CallEvent(kind=CallEventKind.CONNECTED, is_incoming=False))
    ),
    "+CSMINS:": UrcRow(read=_csmins),
    "SIM REMOVED": UrcRow(read=always(SimChanged(state=SimState.ABSENT))),
    "+SMS FULL": UrcRow(read=always(StorageFull(memory="SM"))),
})  # fmt: skip

_COUNTERS = (
    counter_by("AT+SPIC", CounterForm.SPIC),
    COUNTER_CPINR,
    COUNTER_VERIFY,
)
_READY = frozenset({"CALL READY", "SMS READY", "SMS DONE", "PB DONE"})


def _is_simcom(identity: Identity) -> bool:
    return re.match(r"(?i)simcom", identity.manufacturer) is not None


def _is_2g(identity: Identity) -> bool:
    return re.search(r"(?i)SIM[389]\d\d(?!\d)", identity.model) is not None


SIMCOM = Family(
    capabilities=Capabilities(family="simcom", pin_counter=True, reports=True),
    matches=lambda identity: _is_simcom(identity) and not _is_2g(identity),
    vendor="simcom",
    iccid=(
        ICCID_BY_FILE,
        iccid_by("AT+CICCID", "+ICCID:"),
        iccid_by("AT+CCID", "+CCID:", bare=True),
    ),
    counters=_COUNTERS,
    # Mode 2 is listed and refused by many (error 303).
    cnmi=("2,1,0,2,0", "1,1,0,2,0", "2,1,0,1,0", "1,1,0,1,0", "1,1,0,0,0"),
    call_urcs=(("AT+CLCC=1",),),
    urc_routes=(("AT+CATR=0",),),  # 0 = every port
    ready_signs=_READY,
    reset="AT+CRESET",
    temperatures=(SIMCOM_TEMPERATURE,),
    urcs=URCS,
)

SIMCOM_2G = Family(
    # A UART behind a bridge: manuals want a pause after each result.
    capabilities=Capabilities(family="simcom-2g", pin_counter=True, reports=True, command_gap=0.02),
    matches=lambda identity: _is_simcom(identity) and _is_2g(identity),
    vendor="simcom",
    iccid=(ICCID_BY_FILE, iccid_by("AT+CCID", "+CCID:", bare=True)),
    counters=_COUNTERS,
    cnmi=("2,1,0,2,0", "2,1,0,1,0", "1,1,0,1,0", "1,1,0,0,0"),
    memories=("SM", "ME"),
    card_urcs=(("AT+CSMINS=1",),),
    call_urcs=(("AT+CLCC=1",), ("AT+MORING=1",)),
    ready_signs=_READY,
    urcs=URCS,
)
