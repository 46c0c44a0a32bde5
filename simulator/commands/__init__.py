"""What each AT command does, one module a field; a persona's table is put together here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, TypeAlias

from simulator.commands import (
    basic,
    data,
    huawei,
    quectel,
    radio,
    settings,
    sim,
    simcom,
    sms,
    ussd,
    variants,
    voice,
    zte,
)
from simulator.line import Outcome
from simulator.persona import Persona
from simulator.phone import Dialect
from simulator.syntax import Command

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
    "generic": sim.RELEASE_9,
    "huawei": {**huawei.TABLE, **ussd.HUAWEI},
    "quectel": quectel.TABLE,
    "simcom": simcom.TABLE,
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


def dialect(modem: Modem) -> Dialect:
    """How this modem tells of its calls."""
    match modem.persona.vendor:
        case "huawei":
            return huawei.Calls()
        case "quectel":
            return quectel.Calls(modem)
        case "simcom":
            return simcom.Calls(modem)
        case "zte":
            return zte.Calls()
    return voice.PlainCalls(modem)


default_settings = settings.defaults
facts = data.FACTS
filled = data.filled
fixed = data.fixed
registration_lines = radio.registration_lines
ussd_line = ussd.shown
verbose_error = basic.verbose_error
