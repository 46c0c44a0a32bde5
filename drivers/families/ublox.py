"""u-blox modules (SARA-U2, LISA-U2, TOBY-L2, LARA-R2 …)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from drivers.at.counters import CounterForm
from drivers.at.urcs import UrcRow, noise, reboot
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
)

_CALL_STATES = {
    0: (CallEventKind.CONNECTED, None),
    2: (CallEventKind.DIALLING, False),
    3: (CallEventKind.ALERTING, False),
    4: (CallEventKind.RING, True),
    5: (CallEventKind.RING, True),
    6: (CallEventKind.ENDED, None),
    7: (CallEventKind.CONNECTED, None),
}
"""Second field of `+UCALLSTAT`: what it means, and whether the call then is incoming."""

_CARD_STATES = {
    0: SimState.ABSENT,
    1: SimState.PIN,
    2: SimState.PUK,
    3: SimState.OTHER,
    4: SimState.OTHER,
}
"""First field of `+UUSIMSTAT`; from 5 on the card works, more or less of it."""


def _call(line: str, _payload: str | None) -> DriverEvent | None:
    """`+UCALLSTAT: id,stat`."""
    parts = [integer(part) for part in answer_fields(line)]
    if len(parts) < 2 or parts[1] is None:
        raise ProtocolError("no call", line)
    kind, is_incoming = _CALL_STATES.get(parts[1], (None, None))
    if kind is None:
        return None
    return CallEvent(kind=kind, call_id=parts[0], is_incoming=is_incoming)


def _card(line: str, _payload: str | None) -> DriverEvent | None:
    """`+UUSIMSTAT: <state>`."""
    number = integer(answer_fields(line)[0])
    state = None if number is None else _CARD_STATES.get(number)
    return None if state is None else SimChanged(state=state)


URCS: Mapping[str, UrcRow] = MappingProxyType({
    "+AT:": UrcRow(read=reboot),  # +AT: READY
    "+UCALLSTAT:": UrcRow(read=_call),
    "+UUSIMSTAT:": UrcRow(read=_card),
    "+PBREADY": UrcRow(read=noise),
    "+UUPSDA:": UrcRow(read=noise),
    "+UUPSDD:": UrcRow(read=noise),
    "+UUDTMFD:": UrcRow(read=noise),
})  # fmt: skip

UBLOX = Family(
    capabilities=Capabilities(family="u-blox", pin_counter=True, reports=True),
    matches=lambda identity: re.match(r"(?i)u-?blox", identity.manufacturer) is not None,
    iccid=(ICCID_BY_FILE, iccid_by("AT+CCID", "+CCID:")),
    counters=(
        counter_by("AT+UPINCNT", CounterForm.PIN1_PIN2_PUK1_PUK2),
        COUNTER_CPINR,
        COUNTER_VERIFY,
    ),
    card_urcs=(("AT+USIMSTAT=7",),),  # the card's state, its phone book, its refreshes
    call_urcs=(("AT+UCALLSTAT=1",),),
    ready_signs=frozenset({"+UUSIMSTAT:", "+PBREADY"}),
    reset="AT+CFUN=16",
    urcs=URCS,
)
