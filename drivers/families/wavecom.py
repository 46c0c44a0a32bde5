"""Wavecom Q2xxx and their kin: `+CPIN?` without `OK`, two memories, their own error codes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from drivers.at.urcs import UrcRow
from drivers.at.values import answer_fields
from drivers.family import (
    COUNTER_CPINR,
    COUNTER_STATUS,
    COUNTER_VERIFY,
    ICCID_BY_FILE,
    Family,
    iccid_by,
)
from drivers.interface import Capabilities, DriverEvent, Rebooted, SimChanged, SimState


def _wind(line: str, _payload: str | None) -> DriverEvent | None:
    """`+WIND: 0` card out, `1` in, `3` restarted; calls (5, 6) have their own lines."""
    match answer_fields(line)[0]:
        case "0" | "13":
            return SimChanged(state=SimState.ABSENT)
        case "1":
            return SimChanged(state=SimState.BUSY)
        case "3":
            return Rebooted(evidence=line[:40])
        case _:
            return None


URCS: Mapping[str, UrcRow] = MappingProxyType({"+WIND:": UrcRow(read=_wind)})

WAVECOM = Family(
    capabilities=Capabilities(family="wavecom", pin_counter=True, reports=True, command_gap=0.02),
    matches=lambda identity: re.search(r"(?i)wavecom", identity.manufacturer) is not None,
    vendor="wavecom",
    iccid=(ICCID_BY_FILE, iccid_by("AT+CCID", "+CCID:")),
    counters=(COUNTER_CPINR, COUNTER_VERIFY, COUNTER_STATUS),
    memories=("SM",),
    cnmi=("2,1,0,2,0", "2,1,0,1,0", "2,1,0,0,0"),
    ready_signs=frozenset({"+WIND:"}),
    urcs=URCS,
    cpin_ends_bare=True,
)
