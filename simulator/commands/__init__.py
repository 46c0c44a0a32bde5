"""What each AT command does, one module a field; a persona's table is put together here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, TypeAlias

from simulator.commands import (
    basic,
    cinterion,
    data,
    huawei,
    messages,
    messaging,
    quectel,
    radio,
    settings,
    sim,
    simcom,
    sms,
    telit,
    texts,
    ublox,
    ussd,
    variants,
    voice,
    wavecom,
    zte,
)
from simulator.persona import Persona
from simulator.phone import Dialect
from simulator.wire.line import Outcome
from simulator.wire.syntax import Command

if TYPE_CHECKING:
    from simulator.modem import Modem

Handler: TypeAlias = Callable[["Modem", Command], Outcome]

_GENERAL = (
    settings.TABLE,
    basic.TABLE,
    sim.TABLE,
    radio.TABLE,
    sms.TABLE,
    voice.TABLE,
    ussd.TABLE,
    variants.TABLE,
)
_VENDOR: Mapping[str, Mapping[str, Handler]] = {
    "generic": {**sim.RELEASE_9, **basic.LISTED},
    "huawei": {**huawei.TABLE, **ussd.HUAWEI},
    "quectel": quectel.TABLE,
    "simcom": simcom.TABLE,
    "telit": telit.TABLE,
    "u-blox": {**ublox.TABLE, **basic.LISTED},
    "cinterion": cinterion.TABLE,
    "wavecom": wavecom.TABLE,
    "zte": zte.TABLE,
}


def table(persona: Persona) -> Mapping[str, Handler]:
    """The commands that this persona knows, by name."""
    return _table(persona.vendor, persona.model)


@cache
def _table(vendor: str, model: str) -> Mapping[str, Handler]:
    merged: dict[str, Handler] = {}
    for part in (*_GENERAL, _VENDOR.get(vendor, {}), huawei.MODELS.get(model, {})):
        merged.update(part)
    return merged


_DIALECTS: Mapping[str, Callable[[Modem], Dialect]] = {
    "huawei": lambda _modem: huawei.Calls(),
    "quectel": quectel.Calls,
    "simcom": simcom.Calls,
    "telit": telit.Calls,
    "u-blox": ublox.Calls,
    "cinterion": cinterion.Calls,
    "wavecom": wavecom.Calls,
    "zte": lambda _modem: zte.Calls(),
}


def dialect(modem: Modem) -> Dialect:
    """How this modem tells of its calls."""
    make = _DIALECTS.get(modem.persona.vendor, voice.PlainCalls)
    return make(modem)


no_network = messaging.no_network
arrived = messages.arrived
default_settings = settings.defaults
facts = data.FACTS
filled = data.filled
final = texts.final
fixed = data.fixed
registration_lines = radio.registration_lines
ussd_line = ussd.shown
