"""From a port to a driver: open, find out who answers, choose the family."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from drivers import families
from drivers.at import values
from drivers.at.channel import Channel
from drivers.at.command import Bare, Command, Finals, plain
from drivers.at.finals import final_of
from drivers.at.questions import Question
from drivers.at.session import Session, UrcRule
from drivers.at.urcs import SHARED
from drivers.errors import CommandError, CommandTimeout, ProtocolError
from drivers.families.generic import GENERIC
from drivers.family import Family
from drivers.generic import GenericDriver
from drivers.interface import Driver, EventSink, Identity
from drivers.port import OPEN_TIMEOUT


def built_in() -> tuple[Family, ...]:
    """Every family in a module of `drivers.families`; no list names them. GENERIC is the last."""
    found: dict[str, Family] = {}
    for module in sorted(item.name for item in pkgutil.iter_modules(families.__path__)):
        held = vars(importlib.import_module(f"{families.__name__}.{module}")).values()
        found |= {row.capabilities.family: row for row in held if isinstance(row, Family)}
    del found[GENERIC.capabilities.family]
    return (*found.values(), GENERIC)


FAMILIES: tuple[Family, ...] = built_in()
"""In order of preference; the last fits every modem."""

IDENTIFY_TRIES = 3
"""Rounds of finding out who answers; a busy modem's old answers spoil the first."""

_ANYBODY = ("AT", "ATQ0V1E0", "AT", "ATE0Q0V1")
"""Somebody answers one of them: an ESC spoils the first for some, others lack `AT` alone, or know
the settings in one order only."""

_SETTLE = 0.1
"""Seconds of silence that end the noise of an earlier user of the port."""


async def probe(
    address: str,
    sink: EventSink,
    *,
    known: Sequence[Family] = FAMILIES,
    baudrate: int = 115_200,
    open_timeout: float = OPEN_TIMEOUT,
) -> Driver:
    """Open a port and identify the modem behind it.

    `known`: the families to choose from; the last must fit every modem. On failure the port is
    closed again. A late `+CMGS:` of an earlier process is told to `sink`.

    Raises:
        LinkError: the port cannot be opened (`PortGone`, `PortBusy`, `PortDenied`).
        CommandTimeout: nobody answers `AT`.
        ProtocolError, CommandError: it answers, but not as a modem does.
    """
    session = Session(_every_urc(known))
    channel = await Channel.open(address, session, baudrate=baudrate, timeout=open_timeout)
    try:
        identity = await _identify_patiently(channel)
    except BaseException:
        await channel.close()
        raise
    family = family_of(identity, known)
    session.urcs = MappingProxyType({**SHARED, **family.urcs})
    return GenericDriver(channel, identity, family, sink)


def family_of(identity: Identity, known: Sequence[Family] = FAMILIES) -> Family:
    """The first family whose rule fits."""
    return next(family for family in known if family.matches(identity))


def _every_urc(known: Sequence[Family]) -> Mapping[str, UrcRule]:
    """What may come before the family is known."""
    rows = {key: row for family in known for key, row in family.urcs.items()}
    return MappingProxyType({**SHARED, **rows})


async def _identify_patiently(channel: Channel) -> Identity:
    for _ in range(IDENTIFY_TRIES - 1):
        await _find_step(channel)
        try:
            return await _identify(channel)
        except (CommandTimeout, ProtocolError, CommandError):
            continue
    await _find_step(channel)
    return await _identify(channel)


async def _find_step(channel: Channel) -> None:
    """Bring an unknown modem into step: ESC, `AT` until `OK`, then silence.

    It may be at a prompt that an earlier process left, with echo on, or with numeric results.
    """
    questions = [Question(text=text, timeout=1.0) for text in _ANYBODY]
    dropped, is_aligned = await channel.realign(questions, quiet=_SETTLE, drain=_SETTLE)
    if is_aligned:
        return
    for line in dropped:
        if final_of(line, Finals.PLAIN) is not None:
            raise ProtocolError("it answers AT with nothing but errors", line)
    raise CommandTimeout("AT", "probe")


async def _identify(channel: Channel) -> Identity:
    """Ask who it is, until the end of this link: twice, the IMEI first and last.

    So a shifted answer shows, and a name that was spoilt on the way: it would choose the family.
    """
    await channel.run(plain("ATE0"))
    first, second = await _names(channel), await _names(channel)
    if first != second:
        raise ProtocolError("two identities", "AT+CGMI")
    imei, manufacturer, model, revision = first
    if await _serial_number(channel) != imei:
        raise ProtocolError("two IMEIs", "AT+CGSN")
    return Identity(manufacturer=manufacturer, model=model, revision=revision, imei=imei)


async def _names(channel: Channel) -> tuple[str, str, str, str]:
    """IMEI, manufacturer, model, revision."""
    return (
        await _serial_number(channel),
        await _text(channel, "AT+CGMI", "AT+GMI"),
        await _text(channel, "AT+CGMM", "AT+GMM"),
        await _text(channel, "AT+CGMR", "AT+GMR"),
    )


async def _serial_number(channel: Channel) -> str:
    try:
        lines = await _lines(channel, Bare.IMEI, "AT+CGSN", "AT+GSN")
        if not lines:  # it tells another number
            lines = await _lines(channel, Bare.SERIAL, "AT+CGSN", "AT+GSN")
    except CommandError as error:
        if not error.may_be_unknown:
            raise
        lines = []
    if not lines:
        raise ProtocolError("no GSM modem, or one that tells no serial number", "AT+CGSN")
    return values.serial_number(lines)


async def _text(channel: Channel, *alternatives: str) -> str:
    """What the first command tells; who was in step throughout, the IMEI shows afterwards."""
    for text in alternatives:
        try:
            return values.text_answer(await _lines(channel, Bare.TEXT, text))
        except (CommandError, ProtocolError):  # refused, or an `OK` alone
            continue
    return "unknown"


async def _lines(channel: Channel, shape: Bare, *alternatives: str) -> list[str]:
    """The answer to the first of the commands that is not refused."""
    for text in alternatives:
        prefix = f"{text[2:]}:"
        answer = await channel.run(
            Command(text=text, shown=text, prefixes=(prefix,), bare=shape, timeout=5.0)
        )
        if answer.final.is_ok:
            return [line.text for line in answer.lines]
    raise CommandError(alternatives[-1], cme=answer.final.cme, cms=answer.final.cms)
