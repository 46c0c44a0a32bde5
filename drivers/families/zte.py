"""ZTE sticks (MF1xx, MF6xx)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from drivers.at.counters import CounterForm
from drivers.at.urcs import UrcRow, noise, storage_full
from drivers.at.values import answer_fields
from drivers.family import COUNTER_VERIFY, ICCID_BY_FILE, Family, counter_by, iccid_by
from drivers.interface import CallEvent, CallEventKind, Capabilities, DriverEvent


def _hang_up(line: str, _payload: str | None) -> DriverEvent | None:
    """`HANGUP: <cause>`."""
    cause = answer_fields(line)[0]
    return CallEvent(kind=CallEventKind.ENDED, cause=f"Q.850 {cause}" if cause else None)


# +ZUSIMR comes every other second until +CPMS? is asked; that question is part of the start.
_NOISE = ("+ZUSIMR:", "+ZDONR:", "+ZPASR:", "+ZPSTM:", "+ZEND", "+ZCEND:", "+ZRSSI:")

URCS: Mapping[str, UrcRow] = MappingProxyType({
    **{key: UrcRow(read=noise) for key in _NOISE},
    "HANGUP:": UrcRow(read=_hang_up),
    "+ZSMMEMFULL:": UrcRow(read=storage_full),
})  # fmt: skip

ZTE = Family(
    capabilities=Capabilities(family="zte", pin_counter=True, reports=True),
    matches=lambda identity: re.match(r"(?i)zte\b", identity.manufacturer) is not None,
    vendor="zte",
    iccid=(
        ICCID_BY_FILE,
        iccid_by("AT+ZICCID?", "+ZICCID:"),
        iccid_by("AT+ICCID", "ICCID:", "^ICCID:"),
    ),
    counters=(counter_by("AT+ZPINPUK=?", CounterForm.PIN1_PUK1), COUNTER_VERIFY),
    cnmi=("1,1,0,2,0", "1,1,0,1,0", "1,1,0,0,0"),
    urcs=URCS,
)
