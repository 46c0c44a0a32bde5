"""What a bank consists of: from a TOML file, from flags, or both. The same seed, the same bank."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from enum import StrEnum
from importlib import resources
from pathlib import Path
from typing import Annotated, Final, TypeAlias

from pydantic import Field, InstanceOf

from simulator.network.exchange import CallRule
from simulator.network.network import Rule, Times
from simulator.persona import Persona, PersonaPort, PortRole
from simulator.reading import (
    ScenarioError,
    Seconds,
    keys,
    line_of,
    read,
    toml,
    unknown,
)
from simulator.story import timeline as stories
from simulator.story.bays import Bay, BayChange, PinLock, Plan, SpareCard, bays, deal
from simulator.story.timeline import Entry

__all__ = [
    "Bay",
    "BayChange",
    "PinLock",
    "PortSets",
    "Scenario",
    "ScenarioError",
    "SpareCard",
    "Transport",
    "bays",
    "find",
    "load",
    "names",
    "override",
    "rule",
    "summary",
]

VIRTUAL_START: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""Where virtual time begins unless the scenario says otherwise."""

_Entries: TypeAlias = tuple[InstanceOf[Entry], ...]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario(Plan):
    """A bank and its world: a `Plan`, its network, and what happens; times in seconds.

    Keys of a scenario file are these fields' names, and those of the plan.
    `start`: the moment that the ledger begins with; none = now (virtual time: 2026-01-01).
    `faults` and `traffic` are entries of the timeline that need no `do`.
    """

    transport: Transport = Transport.PTY
    port_sets: PortSets = PortSets.ONE
    time_factor: Annotated[float, Field(gt=0, le=100_000)] = 1.0
    start: datetime | None = None
    # network
    latency: Seconds = 0.5
    report_delay: Seconds = 1.0
    zone: Annotated[float, Field(ge=-14, le=14)] = 8.0
    rules: tuple[Rule, ...] = ()
    call_rules: tuple[CallRule, ...] = ()
    # what happens
    faults: _Entries = ()
    traffic: _Entries = ()
    timeline: _Entries = ()

    @property
    def times(self) -> Times:
        """The network's pace."""
        return Times(latency=self.latency, report_delay=self.report_delay, zone=self.zone)

    def served(self, persona: Persona) -> tuple[PersonaPort, ...]:
        """The ports of such a modem that clients find."""
        if self.port_sets is PortSets.ALL:
            return persona.ports
        return tuple(port for port in persona.ports if port.role is PortRole.AT)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All that happens by itself, in the order of the file's tables."""
        return (*self.faults, *self.traffic, *self.timeline)


def load(path: Path) -> Scenario:
    """Read a scenario file.

    Raises:
        ScenarioError: not TOML, an unknown key, a wrong value; with file, line and key.
        OSError: the file cannot be read.
    """
    table, text = toml(path)
    try:
        return override(Scenario(folder=path.parent), table)
    except ScenarioError as error:
        line = line_of(text, error.path)
        where = str(path) if line is None else f"{path}:{line}"
        raise ScenarioError(f"{where}: {error}") from error


def override(scenario: Scenario, values: Mapping[str, object]) -> Scenario:
    """The scenario with these keys replaced.

    Raises:
        ScenarioError: an unknown key or a wrong value.
    """
    known = set(keys(Scenario)) - {"folder"}
    for name in values:
        if name not in known:
            raise ScenarioError(unknown(name, known), path=(name,))
    given = dict(values)
    for name, verb in _VERB_OF.items():
        if name in given:
            given[name] = stories.entries(given[name], do=verb, at=(name,))
    current = {item.name: getattr(scenario, item.name) for item in fields(Scenario)}
    result = read(Scenario, {**current, **given})
    _check(result)
    if result.start is not None:
        result = replace(result, start=result.start.astimezone(UTC))
    return result


def rule(table: Mapping[str, object]) -> Rule:
    """A network rule from a table of its fields.

    Raises:
        ScenarioError: an unknown key or a wrong value.
    """
    return read(Rule, table)


def names() -> list[str]:
    """The named scenarios that come with the simulator, in alphabetical order."""
    folder = resources.files("simulator") / "scenarios"
    found = (file.name for file in folder.iterdir())
    return sorted(name.removesuffix(".toml") for name in found if name.endswith(".toml"))


def find(name: str) -> Path:
    """The file of a named scenario, or the path that was given.

    Raises:
        ScenarioError: there is neither.
    """
    if Path(name).is_file():
        return Path(name)
    if name.endswith(".toml") or "/" in name:
        raise ScenarioError(f"{name}: no such file")
    if name not in names():
        raise ScenarioError(unknown(name, names(), what="scenario"))
    with resources.as_file(resources.files("simulator") / "scenarios" / f"{name}.toml") as path:
        return path


def summary(name: str) -> str:
    """One line about a named scenario: its `about`."""
    return load(find(name)).about


_VERB_OF: Final = {"faults": "set_fault", "traffic": "traffic", "timeline": ""}


def _check(scenario: Scenario) -> None:
    """What no single key shows.

    Raises:
        ScenarioError: with the key.
    """
    if scenario.start is not None and scenario.start.tzinfo is None:
        cure = f'write it with its zone: "{scenario.start.isoformat()}Z"'
        raise ScenarioError(f"{scenario.start}: {cure}", path=("start",))
    deal(scenario.persona, folder=scenario.folder)
    carriers = [carrier.name for carrier in scenario.carriers]
    for number, name in enumerate(carriers, 1):
        if carriers.index(name) != number - 1:
            raise ScenarioError(f"two carriers {name!r}", path=("carriers", number, "name"))
    known = _known(scenario)
    for number, one in enumerate(scenario.rules, 1):
        named = {"modem": one.modem, "carrier": one.carrier}
        stories.require_rule(named, known, at=("rules", number))
    for name in _VERB_OF:
        for number, entry in enumerate(getattr(scenario, name), 1):
            stories.require_known(entry, known, at=(name, number))


def _known(scenario: Scenario) -> stories.Known:
    found = bays(scenario)
    cards = [bay.subscription for bay in found if bay.has_card]
    cards += [spare.subscription for spare in scenario.cards]
    return stories.Known(
        modems=[bay.name for bay in found],
        cards=frozenset(name for card in cards for name in (card.iccid, card.number)),
        carriers=frozenset(name for one in scenario.carriers for name in one.names),
        serving=frozenset(one.name for one in scenario.carriers),
        hubs=max(bay.hub for bay in found),
    )
