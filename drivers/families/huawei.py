"""Huawei sticks and modules (E1xx, E3xx, E3372 in stick mode, MU…)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from drivers.at.counters import CounterForm
from drivers.at.temperatures import HUAWEI_TEMPERATURE
from drivers.at.urcs import UrcRow, always, noise, storage_full
from drivers.at.values import answer_fields, dbm_of_rssi, integer
from drivers.errors import ProtocolError
from drivers.family import COUNTER_CPINR, ICCID_BY_FILE, Family, counter_by, iccid_by
from drivers.interface import (
    CallEvent,
    CallEventKind,
    Capabilities,
    DriverEvent,
    SignalChanged,
    SimChanged,
    SimState,
)

END_STATUS = {
    0: "offline", 21: "no service", 22: "fade", 23: "intercept", 24: "reorder",
    25: "released by base station", 26: "option rejected", 27: "incoming call",
    28: "alert stopped", 29: "ended by us", 30: "activation", 31: "access aborted",
    34: "no card", 100: "lower layer failure", 101: "configuration failed",
    102: "incoming call rejected", 103: "set-up rejected", 104: "ended by the network",
    105: "no funds", 106: "no gateway service",
}  # fmt: skip
"""Third field of `^CEND`; with 104 the fourth holds the network's Q.850 cause."""


def _call(kind: CallEventKind, *, is_incoming: bool | None = None) -> UrcRow:
    def read(line: str, _payload: str | None) -> DriverEvent | None:
        call_id = integer(answer_fields(line)[0])
        return CallEvent(kind=kind, is_incoming=is_incoming, call_id=call_id)

    return UrcRow(read=read)


def _ended(line: str, _payload: str | None) -> DriverEvent | None:
    """`^CEND:id,seconds,end_status[,cc_cause]`; local ends carry no cause."""
    parts = [integer(part) for part in answer_fields(line)]
    if len(parts) < 3 or parts[0] is None:
        raise ProtocolError("no call", line)
    status = END_STATUS.get(parts[2] or 0, f"end status {parts[2]}")
    q850 = parts[3] if len(parts) > 3 else None
    cause = status if q850 is None else f"{status}, Q.850 {q850}"
    return CallEvent(kind=CallEventKind.ENDED, call_id=parts[0], cause=cause, duration=parts[1])


def _rssi(line: str, _payload: str | None) -> DriverEvent | None:
    value = integer(answer_fields(line)[0])
    return SignalChanged(rssi_dbm=None if value is None else dbm_of_rssi(value))


def _simst(line: str, payload: str | None) -> DriverEvent | None:
    """`^SIMST:255` = no card; the other codes tell nothing that `+CPIN?` does not."""
    absent = always(SimChanged(state=SimState.ABSENT))
    return (absent if answer_fields(line)[0] == "255" else noise)(line, payload)


_NOISE = ("^HCSQ:", "^MODE:", "^BOOT:", "^DSFLOWRPT:", "^CSNR:", "^NWTIME:", "^SRVST:", "^STIN:")

URCS: Mapping[str, UrcRow] = MappingProxyType({
    **{key: UrcRow(read=noise) for key in _NOISE},
    "^RSSI:": UrcRow(read=_rssi),
    "^SIMST:": UrcRow(read=_simst),
    "^SMMEMFULL:": UrcRow(read=storage_full),
    "^ORIG:": _call(CallEventKind.DIALLING, is_incoming=False),
    "^CONF:": _call(CallEventKind.ALERTING, is_incoming=False),
    "^CONN:": _call(CallEventKind.CONNECTED),
    "^CEND:": UrcRow(read=_ended),
})  # fmt: skip

HUAWEI = Family(
    capabilities=Capabilities(family="huawei", pin_counter=True, reports=True),
    matches=lambda identity: re.match(r"(?i)huawei", identity.manufacturer) is not None,
    noise_off=("AT^CURC=0",),
    iccid=(ICCID_BY_FILE, iccid_by("AT^ICCID?", "^ICCID:")),
    counters=(counter_by("AT^CPIN?", CounterForm.CPIN), COUNTER_CPINR),
    # Many list mode 2 and then refuse it; ds 2 where the firmware bears it.
    cnmi=("2,1,0,2,0", "1,1,0,2,0", "2,1,0,1,0", "1,1,0,1,0", "1,1,0,0,0"),
    memories=("SM", "ME"),  # most sticks have no ME storage for messages
    ready_signs=frozenset({"^SIMST:", "^SRVST:"}),
    unlock_pause=3.0,  # old firmware restarts when it is asked of the card too early
    # As it is; with the noise, with which some firmware silences +CMTI; from the modem port (1),
    # from the PCUI port (0).
    urc_routes=((), ("AT^CURC=1",), ("AT^PORTSEL=1",), ("AT^PORTSEL=0",)),
    reset="AT^RESET",
    temperatures=(HUAWEI_TEMPERATURE,),
    urcs=URCS,
    ussd_packed=True,
)
