"""Quectel modules (EC20/EC21/EC25/EG9x/EP06 … and the 2G M series)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from drivers.at.counters import CounterForm
from drivers.at.temperatures import QUECTEL_TEMPERATURE
from drivers.at.urcs import UrcRow, call_of_stat, noise, reboot
from drivers.at.values import answer_fields, integer
from drivers.errors import ProtocolError
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
    SimChanged,
    SimState,
    StorageFull,
)

_DSCI = {
    2: CallEventKind.DIALLING,
    3: CallEventKind.CONNECTED,
    4: CallEventKind.RING,
    6: CallEventKind.ENDED,
    7: CallEventKind.ALERTING,
}
"""Third field of `^DSCI` (its 0, 1 and 5 are held and waiting states)."""


def _dsci(line: str, _payload: str | None) -> DriverEvent | None:
    """`^DSCI: id,dir,stat,type,number,numtype`; type 0 = voice."""
    parts = answer_fields(line)
    if len(parts) < 4:
        raise ProtocolError("no call", f"{len(parts)} fields")
    kind = _DSCI.get(integer(parts[2]) or 0)
    if kind is None or parts[3] != "0":
        return None
    return _call(kind, parts, number_at=4)


def _qind(line: str, payload: str | None) -> DriverEvent | None:
    """`+QIND: "ccinfo",id,dir,stat,mode,mpty,"num",type`, `"smsfull","SM"`, `SMS DONE`."""
    parts = answer_fields(line)
    what = parts[0].lower()
    if what == "smsfull" and len(parts) > 1:
        return StorageFull(memory=parts[1])
    if what != "ccinfo":
        return noise(line, payload)
    if len(parts) < 5:
        raise ProtocolError("no call", f"{len(parts)} fields")
    kind = call_of_stat(integer(parts[3]))
    if kind is None or parts[4] != "0":
        return None
    return _call(kind, parts[1:], number_at=5)


def _call(kind: CallEventKind, parts: Sequence[str], *, number_at: int) -> CallEvent:
    return CallEvent(
        kind=kind,
        call_id=integer(parts[0]),
        is_incoming=parts[1] == "1",
        number=parts[number_at] if len(parts) > number_at and parts[number_at] else None,
    )


def _simstat(line: str, _payload: str | None) -> DriverEvent | None:
    """`+QSIMSTAT: 1,<0 out, 1 in, 2 unknown>`."""
    states = {"0": SimState.ABSENT, "1": SimState.BUSY}
    state = states.get(answer_fields(line)[-1])
    return None if state is None else SimChanged(state=state)


URCS: Mapping[str, UrcRow] = MappingProxyType({
    "RDY": UrcRow(read=reboot),
    "+CFUN:": UrcRow(read=reboot),
    "+QUSIM:": UrcRow(read=noise),
    "+QSIMSTAT:": UrcRow(read=_simstat),
    "+QIND:": UrcRow(read=_qind, is_private=True),
    "^DSCI:": UrcRow(read=_dsci, is_private=True),
    "POWERED DOWN": UrcRow(read=noise),
    "NORMAL POWER DOWN": UrcRow(read=noise),
    "CALL READY": UrcRow(read=noise),
    "SMS READY": UrcRow(read=noise),
})  # fmt: skip

QUECTEL = Family(
    capabilities=Capabilities(family="quectel", pin_counter=True, reports=True, more_messages=True),
    matches=lambda identity: re.match(r"(?i)quectel", identity.manufacturer) is not None,
    iccid=(ICCID_BY_FILE, iccid_by("AT+QCCID", "+QCCID:", bare=True)),
    counters=(
        counter_by("AT+QPINC?", CounterForm.FACILITY),
        counter_by("AT+QTRPIN", CounterForm.PIN1_PIN2_PUK1_PUK2),  # the M series
        COUNTER_CPINR,
        COUNTER_VERIFY,
    ),
    # One of the two: some firmware says OK to any +QINDCFG and then tells nothing.
    call_urcs=(("AT^DSCI=1", 'AT+QINDCFG="ccinfo",1'),),
    card_urcs=(("AT+QSIMSTAT=1",),),
    # Every port says all, where the firmware can; it is kept over restarts.
    urc_routes=(
        ('AT+QURCCFG="urcport","all"',),
        ('AT+QURCCFG="urcport","usbat"',),
        ('AT+QURCCFG="urcport","usbmodem"',),
        ('AT+QURCCFG="urcport","uart1"',),
    ),
    ready_signs=frozenset({"+QIND:", "+QUSIM:", "SMS READY", "CALL READY"}),
    temperatures=(QUECTEL_TEMPERATURE,),
    urcs=URCS,
)
