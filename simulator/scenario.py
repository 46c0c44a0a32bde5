"""What a bank consists of: from a TOML file, from flags, or both. The same seed, the same bank."""

from __future__ import annotations

import random
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Final, TypeVar

from pydantic import TypeAdapter, ValidationError

from simulator import persona as personas
from simulator.card import Subscription
from simulator.network import Rule, Times
from simulator.persona import Persona

MIXED: Final = ("generic", "huawei", "quectel", "simcom", "sim7600")
_FIRST_NUMBER: Final = 13800000001


class ScenarioError(ValueError):
    """The scenario is wrong; the message names the key and what is allowed."""


class Transport(StrEnum):
    """How clients reach the modems."""

    PTY = "pty"
    TCP = "tcp"
    UNIX = "unix"
    ABSTRACT = "abstract"


class PortSets(StrEnum):
    """Which of a model's ports are served."""

    ONE = "one"
    ALL = "all"


class PinLock(StrEnum):
    """Which cards ask for their PIN."""

    ON = "on"
    OFF = "off"
    MIXED = "mixed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A bank and its world. Keys of a scenario file are these fields' names; times in seconds.

    `persona` is a name, several joined by commas (dealt out in turn), or `mixed`.
    """

    modems: int = 16
    persona: str = "mixed"
    latency: float = 0.5
    report_delay: float = 1.0
    zone: float = 8.0
    seed: int = 1
    transport: Transport = Transport.PTY
    port_sets: PortSets = PortSets.ONE
    pin: str = "random"
    pin_lock: PinLock = PinLock.ON
    card_slots: int = 40
    rules: tuple[Rule, ...] = ()

    @property
    def times(self) -> Times:
        """The network's pace."""
        return Times(latency=self.latency, report_delay=self.report_delay, zone=self.zone)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bay:
    """One modem of the bank with the card that sits in it."""

    name: str
    persona: Persona
    imei: str
    subscription: Subscription
    is_locked: bool


def load(path: Path) -> Scenario:
    """Read a scenario file.

    Raises:
        ScenarioError: not TOML, an unknown key, a wrong value.
        OSError: the file cannot be read.
    """
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(f"{path}: {error}") from error
    return override(Scenario(), table)


def override(scenario: Scenario, values: Mapping[str, object]) -> Scenario:
    """The scenario with these keys replaced.

    Raises:
        ScenarioError: an unknown key or a wrong value.
    """
    known = {item.name for item in fields(Scenario)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise ScenarioError(f"unknown key {unknown[0]!r}; known: {', '.join(sorted(known))}")
    current = {item.name: getattr(scenario, item.name) for item in fields(Scenario)}
    result = _read(_SCENARIO, {**current, **values})
    _check(result)
    return result


def rule(table: Mapping[str, object]) -> Rule:
    """A network rule from a table of its fields.

    Raises:
        ScenarioError: an unknown key or a wrong value.
    """
    known = {item.name for item in fields(Rule)}
    unknown = sorted(set(table) - known)
    if unknown:
        raise ScenarioError(f"unknown key {unknown[0]!r}; known: {', '.join(sorted(known))}")
    return _read(_RULE, table)


def bays(scenario: Scenario) -> list[Bay]:
    """The bank's modems and cards; the same for the same seed."""
    chosen = _personas(scenario.persona)
    width = max(2, len(str(scenario.modems)))
    return [
        _bay(scenario, chosen[index % len(chosen)], index, width)
        for index in range(scenario.modems)
    ]


_T = TypeVar("_T")
_SCENARIO: Final = TypeAdapter(Scenario)
_RULE: Final = TypeAdapter(Rule)


def _read(reader: TypeAdapter[_T], table: Mapping[str, object]) -> _T:
    try:
        return reader.validate_python(dict(table))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ScenarioError(f"{place}: {first['msg']}") from error


def _personas(text: str) -> list[Persona]:
    names = MIXED if text == "mixed" else tuple(text.split(","))
    try:
        return [personas.load(name.strip()) for name in names]
    except personas.PersonaError as error:
        raise ScenarioError(str(error)) from error


def _check(scenario: Scenario) -> None:
    if not 1 <= scenario.modems <= 2000:
        raise ScenarioError("modems: 1 to 2000")
    if min(scenario.latency, scenario.report_delay) < 0:
        raise ScenarioError("latency, report_delay: not below 0")
    pin = scenario.pin
    if pin != "random" and not (pin.isascii() and pin.isdigit() and 4 <= len(pin) <= 8):
        raise ScenarioError("pin: `random` or 4 to 8 digits")
    _personas(scenario.persona)


def _bay(scenario: Scenario, persona: Persona, index: int, width: int) -> Bay:
    # Keyed by entity: bay 7 is the same in a bank of 8 and in one of 512.
    draw = random.Random(f"{scenario.seed}/bay/{index}")  # noqa: S311 - a pretend world
    imei = _with_check_digit(persona.tac + f"{draw.randrange(10**6):06d}")
    pin = scenario.pin if scenario.pin != "random" else f"{draw.randrange(10**4):04d}"
    locked = {PinLock.ON: True, PinLock.OFF: False, PinLock.MIXED: index % 3 != 2}
    return Bay(
        name=f"modem{index + 1:0{width}d}",
        persona=persona,
        imei=imei,
        subscription=Subscription(
            iccid=_iccid(draw, index),
            imsi=f"46000{draw.randrange(10**7):07d}{index % 1000:03d}",
            number=f"+86{_FIRST_NUMBER + index}",
            pin=pin,
            puk=f"{draw.randrange(10**8):08d}",
        ),
        is_locked=locked[scenario.pin_lock],
    )


def _iccid(draw: random.Random, index: int) -> str:
    # The index keeps them apart; three real shapes: 20 digits, letters from the seventh, 19 digits.
    serial = f"{draw.randrange(10**5):05d}{index:04d}"
    match index % 4:
        case 1:
            return f"898604B2{draw.randrange(1000):03d}{serial}"
        case 3:
            return _with_check_digit(f"898600{draw.randrange(1000):03d}{serial}")
    return _with_check_digit(f"898600{draw.randrange(10**4):04d}{serial}")


def _with_check_digit(digits: str) -> str:
    """The digits with their Luhn digit. Source: TS 23.003 §B.2."""
    total = 0
    for place, char in enumerate(reversed(digits)):
        value = int(char) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return f"{digits}{-total % 10}"
