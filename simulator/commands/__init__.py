"""What each AT command does, one module a field; a persona's table is put together here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import TypeAlias

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
    telling,
    texts,
    ublox,
    ussd,
    variants,
    voice,
    wavecom,
    zte,
)
from simulator.modem import Modem
from simulator.persona import Moment, Persona
from simulator.phone import Dialect
from simulator.speech import Speech
from simulator.wire.line import Outcome, Refused
from simulator.wire.syntax import Command

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


def speech(modem: Modem) -> Speech:
    """All that the modem says and does by its model."""
    persona = modem.persona
    known = table(persona)

    def carry_out(command: Command) -> Outcome:
        # The persona's fixed answers come before the table.
        said = data.fixed(modem, command)
        if said is not None:
            return said
        handler = known.get(command.name)
        if handler is None:
            raise Refused(persona.unknown_command)
        return handler(modem, command)

    return Speech(
        names=known.keys(),
        carry_out=carry_out,
        defaults=partial(settings.defaults, persona),
        final=partial(texts.final, modem),
        filled=partial(data.filled, modem),
        arrived=partial(messages.arrived, modem),
        ussd=partial(ussd.shown, modem),
        registration=partial(radio.registration_lines, modem),
        noise=partial(telling.noise, modem),
        no_network=partial(messaging.no_network, modem),
        tell=partial(telling.tell, modem),
        tell_card=partial(telling.tell_card, modem),
        tell_full=lambda memory: telling.tell(modem, Moment.FULL, memory=memory),
        dialect=_DIALECTS.get(persona.vendor, voice.PlainCalls)(modem),
    )
