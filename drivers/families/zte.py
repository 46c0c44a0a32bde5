"""ZTE sticks (MF1xx, MF6xx)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from drivers.at.command import asking
from drivers.at.urcs import UrcRow, noise, storage_full
from drivers.at.values import answer_fields, integer
from drivers.family import COUNTER_VERIFY, ICCID_BY_FILE, CounterQuery, Family, iccid_by
from drivers.interface import CallEvent, CallEventKind, Capabilities, DriverEvent, PinCounter


def counter(lines: Sequence[str]) -> PinCounter | None:
    """`+ZPINPUK: <pin>,<puk>`."""
    values = [integer(part) for part in answer_fields(lines[0])]
    if len(values) != 2 or values[0] is None:
        return None
    return PinCounter(pin=values[0], puk=values[1])


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
    counters=(
        CounterQuery(
            commands=(asking("AT+ZPINPUK=?", timeout=10.0),),
            read=lambda answers: counter(answers[0]),
        ),
        COUNTER_VERIFY,
    ),
    cnmi=("1,1,0,2,0", "1,1,0,1,0", "1,1,0,0,0"),
    urcs=URCS,
)
