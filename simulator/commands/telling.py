"""What a model says by itself: its persona's lines at each moment, under the model's switches."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import partial

from simulator.cards.card import CardState
from simulator.commands.data import filled
from simulator.modem import Modem
from simulator.persona import Moment, Told
from simulator.phone import Call
from simulator.wire.line import Refused


def tell(modem: Modem, moment: Moment, *, memory: str = "") -> None:
    """Say what belongs to the moment; `memory` is the storage that a message found full."""
    for told in modem.persona.told:
        if told.when is not moment:
            continue
        if told.seconds > 0:
            modem.after(told.seconds, partial(_say, modem, told, memory))
        else:
            _say(modem, told, memory)


def tell_card(modem: Modem) -> None:
    """Say what is seen of the card when it gets power, up to the question for its PIN."""
    if modem.card is None:
        tell(modem, Moment.NO_CARD)
        return
    tell(modem, Moment.CARD)
    tell_state(modem)


def tell_state(modem: Modem) -> None:
    """Say what the card asks for."""
    states = {CardState.PIN: Moment.PIN, CardState.PUK: Moment.PUK, CardState.DEAD: Moment.DEAD}
    if modem.card is not None and modem.card.state in states:
        tell(modem, states[modem.card.state])


def noise(modem: Modem) -> tuple[str, ...]:
    """The chatter that has switches of its own, as far as they let it."""
    return tuple(
        filled(modem, line)
        for told in modem.persona.told
        if told.when is Moment.NOISE and _is_on(modem, told)
        for line in told.lines
    )


def of_call(
    modem: Modem, moment: Moment, call: Call, *, talked: int = 0, cause: int = 0
) -> list[str]:
    """What the model's file has it say of a call."""
    words = {
        "{call_id}": str(call.call_id),
        "{far_number}": call.plan.number,
        "{far_type}": str(call.number_type),
        "{is_incoming}": str(int(call.is_incoming)),
        "{talked}": str(talked),
        "{cause}": str(cause),
    }
    return [
        filled(modem, _worded(line, words))
        for told in modem.persona.told
        if told.when is moment and _is_on(modem, told)
        for line in told.lines
    ]


def _worded(line: str, words: Mapping[str, str]) -> str:
    for word, value in words.items():
        line = line.replace(word, value)
    return line


def _say(modem: Modem, told: Told, memory: str) -> None:
    if not _is_on(modem, told):
        return
    # What it tells of may be gone by now: a card that was pulled.
    with suppress(Refused):
        modem.tell(line.replace("{memory}", memory) for line in told.lines)


def _is_on(modem: Modem, told: Told) -> bool:
    if not told.setting:
        return True
    value = modem.settings.get(told.setting, "").partition(",")[0].strip('"')
    if told.bit:
        return value.isdigit() and bool(int(value) & told.bit)
    return value in told.values if told.values else value not in {"", "0"}
