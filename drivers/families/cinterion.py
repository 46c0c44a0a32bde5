"""Cinterion modules, by whatever name their maker went (Siemens, Gemalto, Thales)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from drivers.at.command import asking
from drivers.at.counters import by_facility
from drivers.at.urcs import UrcRow, call_of_stat, noise, reboot
from drivers.at.values import answer_fields, integer
from drivers.errors import ProtocolError
from drivers.family import (
    COUNTER_CPINR,
    COUNTER_VERIFY,
    ICCID_BY_FILE,
    CounterQuery,
    Family,
    iccid_by,
)
from drivers.interface import (
    CallEvent,
    Capabilities,
    DriverEvent,
    SimChanged,
    SimState,
    StorageFull,
)

COUNTER_SPIC = CounterQuery(
    commands=(asking('AT^SPIC="SC"', timeout=10.0), asking('AT^SPIC="SC",1', timeout=10.0)),
    read=by_facility,
)
"""By facility, never the bare `AT^SPIC`: that counts whatever is asked for now and, once READY,
PIN2: it stays at 3 while wrong PIN1s are burnt by `+CLCK`. Source: at-dialects §3.3."""


def _slcc(line: str, _payload: str | None) -> DriverEvent | None:
    """`^SLCC: id,dir,stat,mode,mpty,traffic channel,"num",type`; an empty one ends the list.

    The list is told anew at each change and only lacks a call that ended: `NO CARRIER` tells it.
    """
    parts = answer_fields(line)
    if parts == [""]:
        return None
    if len(parts) < 4:
        raise ProtocolError("no call", f"{len(parts)} fields")
    kind = call_of_stat(integer(parts[2]))
    if kind is None or parts[3] != "0":
        return None
    return CallEvent(
        kind=kind,
        call_id=integer(parts[0]),
        is_incoming=parts[1] == "1",
        number=parts[6] if len(parts) > 6 and parts[6] else None,
    )


def _tray(line: str, _payload: str | None) -> DriverEvent | None:
    """`^SCKS: <0 out, 1 in>`; an empty tray gives 1 and then 0."""
    is_in = answer_fields(line)[0] == "1"
    return SimChanged(state=SimState.BUSY if is_in else SimState.ABSENT)


def _overflow(line: str, _payload: str | None) -> DriverEvent | None:
    """`^SMGO: 1` (full) and `2` (full, and a message waits); 0 = room again."""
    return None if answer_fields(line)[0] == "0" else StorageFull(memory="SM")


def _indicator(line: str, _payload: str | None) -> DriverEvent | None:
    """`+CIEV: smsfull,1`; the other indicators tell nothing that is not asked anyway."""
    return StorageFull(memory="SM") if answer_fields(line)[:2] == ["smsfull", "1"] else None


URCS: Mapping[str, UrcRow] = MappingProxyType({
    "^SYSSTART": UrcRow(read=reboot),
    "^SYSSTART AIRPLANE MODE": UrcRow(read=reboot),
    "^SHUTDOWN": UrcRow(read=noise),
    "^SSIM READY": UrcRow(read=noise),
    "+PBREADY": UrcRow(read=noise),
    "^SCKS:": UrcRow(read=_tray),
    "^SLCC:": UrcRow(read=_slcc, is_private=True),
    "^SMGO:": UrcRow(read=_overflow),
    "+CIEV:": UrcRow(read=_indicator),
    "^SCTM_A:": UrcRow(read=noise),
    "^SCTM_B:": UrcRow(read=noise),
})  # fmt: skip

CINTERION = Family(
    # Most sit behind a UART: the manuals want a pause after each result.
    capabilities=Capabilities(family="cinterion", pin_counter=True, reports=True, command_gap=0.02),
    matches=lambda identity: (
        re.match(r"(?i)cinterion|gemalto|thales|siemens", identity.manufacturer) is not None
    ),
    vendor="cinterion",
    iccid=(ICCID_BY_FILE, iccid_by("AT+CCID", "+CCID:"), iccid_by("AT^SCID", "^SCID:")),
    counters=(COUNTER_SPIC, COUNTER_CPINR, COUNTER_VERIFY),
    # Direct reports only with +CSMS=1; many take no other bfr than 1.
    cnmi=("2,1,0,2,1", "2,1,0,2,0", "1,1,0,2,1", "2,1,0,0,1", "1,1,0,0,1"),
    card_urcs=(("AT^SSET=1",), ("AT^SCKS=1",)),
    call_urcs=(("AT^SLCC=1",), ("AT^SMGO=1",)),
    ready_signs=frozenset({"^SSIM READY", "+PBREADY"}),
    urcs=URCS,
)
