"""Telit modules (LE910, HE910, GE910 …)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from drivers.at.temperatures import TELIT_TEMPERATURE
from drivers.at.urcs import UrcRow, noise
from drivers.at.values import answer_fields
from drivers.errors import ProtocolError
from drivers.family import (
    COUNTER_CPINR,
    COUNTER_VERIFY,
    ICCID_BY_FILE,
    Family,
    counter_asked_for,
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

_ECAM = {
    "0": CallEventKind.ENDED,
    "1": CallEventKind.DIALLING,
    "3": CallEventKind.CONNECTED,
    "5": CallEventKind.RING,
}
"""Second field of `#ECAM`. 6 (alerting) comes for both directions and says neither; after a 7
(busy) follows a 0."""


def _ecam(line: str, _payload: str | None) -> DriverEvent | None:
    """`#ECAM: id,stat,type,,,["num",type]`; type 1 = voice; a number only where we dial."""
    parts = answer_fields(line)
    if len(parts) < 3:
        raise ProtocolError("no call", f"{len(parts)} fields")
    kind = _ECAM.get(parts[1])
    if kind is None or parts[2] not in {"1", ""}:
        return None
    dialled = kind is CallEventKind.DIALLING
    return CallEvent(
        kind=kind,
        is_incoming=False if dialled else None,
        number=parts[5] if dialled and len(parts) > 5 and parts[5] else None,
    )


def _card(line: str, _payload: str | None) -> DriverEvent | None:
    """`#QSS: 0` no card, `1` put in; 2 and 3 (PIN shown, ready) are signs of readiness."""
    states = {"0": SimState.ABSENT, "1": SimState.BUSY}
    state = states.get(answer_fields(line)[-1])
    return None if state is None else SimChanged(state=state)


URCS: Mapping[str, UrcRow] = MappingProxyType({
    "#ECAM:": UrcRow(read=_ecam, is_private=True),
    "#QSS:": UrcRow(read=_card),
    "#USS:": UrcRow(read=_card),  # the same of ancient firmware
    "#NITZ:": UrcRow(read=noise),
    "#PSNT:": UrcRow(read=noise),
    "#STN:": UrcRow(read=noise),
})  # fmt: skip

TELIT = Family(
    # The manual asks for 20 ms after each result.
    capabilities=Capabilities(family="telit", pin_counter=True, reports=True, command_gap=0.02),
    matches=lambda identity: re.match(r"(?i)telit", identity.manufacturer) is not None,
    noise_off=("AT#NITZ=0", "AT#PSNT=0"),
    iccid=(
        ICCID_BY_FILE,
        iccid_by("AT#CCID", "#CCID:"),
        iccid_by("AT+ICCID", "+ICCID:", "ICCID:"),
    ),
    counters=(
        COUNTER_CPINR,
        counter_asked_for("AT#PCT"),
        # The card is handed over only to who asks to have it alone.
        replace(COUNTER_VERIFY, before=("AT+CSIM=1",), after=("AT+CSIM=0",)),
    ),
    memories=("SM", "ME"),
    card_urcs=(("AT#QSS=2", "AT#QSS=1"),),
    call_urcs=(("AT#ECAM=1",),),
    ready_signs=frozenset({"#QSS:"}),
    reset="AT#REBOOT",
    temperatures=(TELIT_TEMPERATURE,),
    urcs=URCS,
)
