"""Ericsson MBM modules (F3507g, F5521gw, …)."""

from __future__ import annotations

import re

from drivers.at.counters import CounterForm
from drivers.at.urcs import UrcRow, noise, reboot
from drivers.at.values import answer_fields, integer
from drivers.errors import ProtocolError
from drivers.family import COUNTER_VERIFY, Family, counter_by
from drivers.interface import CallEvent, CallEventKind, Capabilities, DriverEvent

_CALL_STATES = {
    "0": (CallEventKind.ENDED, None),
    "1": (CallEventKind.DIALLING, False),
    "3": (CallEventKind.CONNECTED, None),
    "5": (CallEventKind.RING, True),
    "6": (CallEventKind.RING, True),
}
"""Second field of `*ECAV`: what it means, and whether the call then is incoming."""


def _call(line: str, _payload: str | None) -> DriverEvent | None:
    """`*ECAV: id,stat,type[,,,"num",type]`; type 0 = voice."""
    parts = answer_fields(line)
    if len(parts) < 3:
        raise ProtocolError("no call", f"{len(parts)} fields")
    kind, is_incoming = _CALL_STATES.get(parts[1], (None, None))
    if kind is None or parts[2] != "0":
        return None
    return CallEvent(
        kind=kind,
        call_id=integer(parts[0]),
        is_incoming=is_incoming,
        number=parts[5] if len(parts) > 5 and parts[5] else None,
    )


MBM = Family(
    capabilities=Capabilities(family="mbm", pin_counter=True, reports=True),
    matches=lambda identity: re.match(r"(?i)ericsson", identity.manufacturer) is not None,
    counters=(counter_by("AT*EPIN?", CounterForm.PIN1_PUK1_PIN2_PUK2), COUNTER_VERIFY),
    card_urcs=(("AT*EPEE=1",),),
    call_urcs=(("AT*ECAM=1",),),
    ready_signs=frozenset({"*EPEV"}),
    reset="AT*E2RESET",
    urcs={
        "*EMRDY:": UrcRow(read=reboot),
        "*EPEV": UrcRow(read=noise),
        "*ECAV:": UrcRow(read=_call, is_private=True),
    },
)
