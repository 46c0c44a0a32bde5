"""Unsolicited lines to driver events: the rows that every family shares; pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

from drivers.at.session import UrcRule
from drivers.at.storage import indication, split_pdu
from drivers.at.values import (
    answer_fields,
    caller,
    integer,
    registration,
    signal_dbm,
    sim_state,
    ussd,
)
from drivers.errors import ProtocolError
from drivers.interface import (
    CallEvent,
    CallEventKind,
    DriverEvent,
    LateSubmitResult,
    Rebooted,
    RegistrationChanged,
    SignalChanged,
    SimChanged,
    SmsDirect,
    SmsStored,
    StorageFull,
)
from drivers.ussd_reply import UssdHeard

Reader: TypeAlias = Callable[[str, str | None], DriverEvent | None]
"""(line, payload) → event; None for noise. Raises `ProtocolError` on what it cannot read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UrcRow(UrcRule):
    """One row of a URC table: how the line is shaped and what it says."""

    read: Reader


# ---------------------------------------------------------------- makers of readers


def noise(_line: str, _payload: str | None) -> DriverEvent | None:
    """Known, and of no interest."""
    return None


def always(event: DriverEvent) -> Reader:
    """The line says one thing."""
    return lambda _line, _payload: event


def reboot(line: str, _payload: str | None) -> DriverEvent | None:
    """The modem restarted; the line is the evidence."""
    return Rebooted(evidence=line[:40])


def storage_full(line: str, _payload: str | None) -> DriverEvent | None:
    """`^SMMEMFULL: "SM"` and its like: the last field names the memory."""
    return StorageFull(memory=answer_fields(line)[-1])


def call_of_stat(stat: int | None) -> CallEventKind | None:
    """The event for a `+CLCC` state; None for those that change nothing (held, unknown).

    Source: TS 27.007 §7.18; −1 (Quectel) and 6 (SIMCom) = released.
    """
    match stat:
        case 0:
            return CallEventKind.CONNECTED
        case 2:
            return CallEventKind.DIALLING
        case 3:
            return CallEventKind.ALERTING
        case 4 | 5:
            return CallEventKind.RING
        case 6 | -1:
            return CallEventKind.ENDED
        case _:
            return None


# ---------------------------------------------------------------- the shared rows


def _stored(line: str, _payload: str | None) -> DriverEvent | None:
    where = indication(line)
    if where is None:
        raise ProtocolError("no memory and index", line)
    return SmsStored(memory=where[0], index=where[1])


def _direct(_line: str, payload: str | None) -> DriverEvent | None:
    if payload is None:
        raise ProtocolError("direct delivery without its PDU", "")
    sca, tpdu = split_pdu(payload)
    return SmsDirect(sca=sca, tpdu=tpdu, needs_ack=False)


def _registration(line: str, _payload: str | None) -> DriverEvent | None:
    value = registration(line)
    if value is None:
        raise ProtocolError("no registration state", line)
    return RegistrationChanged(registration=value)


def _caller(line: str, _payload: str | None) -> DriverEvent | None:
    return CallEvent(kind=CallEventKind.CALLER, is_incoming=True, number=caller(line))


def _waiting(line: str, _payload: str | None) -> DriverEvent | None:
    return CallEvent(kind=CallEventKind.RING, is_incoming=True, number=caller(line))


def _ended(line: str, _payload: str | None) -> DriverEvent | None:
    return CallEvent(kind=CallEventKind.ENDED, cause=line.lower())


def _sim(line: str, _payload: str | None) -> DriverEvent | None:
    return SimChanged(state=sim_state(line))


def _signal(line: str, _payload: str | None) -> DriverEvent | None:
    return SignalChanged(rssi_dbm=signal_dbm(line))


def _ussd(line: str, _payload: str | None) -> DriverEvent | None:
    state, text, dcs = ussd(line)
    return UssdHeard(state=state, text=text, dcs=dcs)


def _late_submit(line: str, _payload: str | None) -> DriverEvent | None:
    event = late_result(line)
    if event is None:
        raise ProtocolError("no message reference", line)
    return event


def late_result(line: str) -> LateSubmitResult | None:
    """The reference in a `+CMGS: mr` that nobody waits for; None where the line is none."""
    mr = integer(answer_fields(line)[0])
    if not line.upper().startswith("+CMGS:") or mr is None or not 0 <= mr <= 255:
        return None
    return LateSubmitResult(mr=mr)


_RING = always(CallEvent(kind=CallEventKind.RING, is_incoming=True))

SHARED: Mapping[str, UrcRow] = MappingProxyType({
    "+CMTI:": UrcRow(read=_stored),
    "+CDSI:": UrcRow(read=_stored),
    "+CMT:": UrcRow(read=_direct, has_payload=True, is_private=True),
    "+CDS:": UrcRow(read=_direct, has_payload=True, is_private=True),
    "+CBM:": UrcRow(read=noise, has_payload=True, is_private=True),
    "+CMGS:": UrcRow(read=_late_submit),
    "+CREG:": UrcRow(read=_registration),
    "+CGREG:": UrcRow(read=noise),
    "+CEREG:": UrcRow(read=noise),
    "+CSQ:": UrcRow(read=_signal),
    "+CPIN:": UrcRow(read=_sim),
    "+CUSD:": UrcRow(read=_ussd, is_private=True, is_quoted=True),
    "RING": UrcRow(read=_RING),
    "+CRING:": UrcRow(read=_RING),
    "+CLIP:": UrcRow(read=_caller, is_private=True),
    "+CCWA:": UrcRow(read=_waiting, is_private=True),
    "NO CARRIER": UrcRow(read=_ended),
    "NO ANSWER": UrcRow(read=_ended),
    "BUSY": UrcRow(read=_ended),
})  # fmt: skip
"""Rows of TS 27.005 and 27.007; a family's own rows come on top."""
