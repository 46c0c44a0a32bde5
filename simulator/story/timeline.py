"""What happens by itself: entries of a scenario's timeline, and the story that carries them out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Annotated, Final

from pydantic import Field

from simulator.clock import Clock
from simulator.control.verbs import VERBS, Args, Result
from simulator.dice import Chance, Dice, Draws
from simulator.ledger import Fact, Ledger
from simulator.reading import Path, ScenarioError, Seconds, read, unknown
from simulator.story.bays import select

ANY: Final = "any"
"""Selects one modem by chance."""
_DEEDS: Final = sorted(name for name, one in VERBS.items() if not one.is_question)
_OBJECTS: Final = ("fault", "hub", "source", "card")
_CARDS: Final[Mapping[str, tuple[str, ...]]] = {
    "inject_sms": ("to",),
    **dict.fromkeys(("insert_card", "set_registration", "cut_off", "lift", "set_balance"),
                    ("card",)),
}  # fmt: skip
"""Keys that name a card, by verb; `to` of other verbs may be anybody's number."""
_LENGTH: Final = Field(ge=0.001)  # seconds; with none, an entry would happen for ever at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """When: first after `at` seconds, then `every` so many, `times` often (none = for ever).

    `jitter`: up to so many seconds later, drawn anew each time. `lasts`: taken back after so many.
    """

    at: Seconds = 0.0
    every: Annotated[Seconds, _LENGTH] | None = None
    times: Annotated[int, Field(ge=1)] | None = None
    jitter: Seconds = 0.0
    lasts: Annotated[Seconds, _LENGTH] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of a story: when, which verb, with which arguments."""

    timing: Timing
    do: str
    args: Args = field(default_factory=dict)

    @property
    def modems(self) -> str:
        """The modems that are meant, as written."""
        return VERBS[self.do].read(self.args)[0]


def entries(tables: object, *, do: str, at: Path) -> tuple[Entry, ...]:
    """The entries of a list of tables; `do` for those that name no verb.

    Raises:
        ScenarioError: a wrong key, value or verb, with its place.
    """
    if not isinstance(tables, list | tuple):
        raise ScenarioError("a list of tables is needed, as [[timeline]]", path=at)
    return tuple(_entry(table, do, (*at, number)) for number, table in enumerate(tables, 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """The names of a bank that entries may use.

    `cards` are ICCIDs and numbers, `carriers` all their names, `serving` the one that rules go by.
    """

    modems: Sequence[str]
    cards: frozenset[str]
    carriers: frozenset[str]
    serving: frozenset[str]
    hubs: int


def require_known(entry: Entry, known: Known, *, at: Path) -> None:
    """See that what an entry names exists.

    Raises:
        ScenarioError: something does not; with its key.
    """
    args = entry.args
    if entry.modems not in {"", ANY}:
        written = "modem" if "modem" in args else "modems"
        _require_modems(entry.modems, known, (*at, written))
    if "other" in args:
        _require_modems(str(args["other"]), known, (*at, "other"))
    for key in _CARDS.get(entry.do, ()):
        name = str(args.get(key, ""))
        if name and name not in known.cards and name not in known.modems:
            names = f"{known.modems[0]} to {known.modems[-1]}, an ICCID or a number of a card"
            raise ScenarioError(f"no card {name!r}: {names}", path=(*at, key))
    _require(args.get("carrier"), known.carriers, "carrier", (*at, "carrier"))
    hub = args.get("hub")
    if isinstance(hub, int) and hub > known.hubs:
        raise ScenarioError(f"no hub {hub}: there are 1 to {known.hubs}", path=(*at, "hub"))
    rule = args.get("rule")
    if isinstance(rule, Mapping):
        require_rule(rule, known, at=(*at, "rule"))


def require_rule(rule: Mapping[str, object], known: Known, *, at: Path) -> None:
    """See that the modem and the carrier that a rule names exist.

    Raises:
        ScenarioError: one does not; with its key.
    """
    _require(rule.get("carrier"), known.serving, "carrier", (*at, "carrier"))
    _require(rule.get("modem"), known.modems, "modem", (*at, "modem"))


def _require(name: object, names: Collection[str], what: str, at: Path) -> None:
    if name and name not in names:
        raise ScenarioError(unknown(str(name), names, what=what), path=at)


def _require_modems(wanted: str, known: Known, at: Path) -> None:
    try:
        select(wanted, known.modems)
    except ScenarioError as error:
        raise ScenarioError(error.problem, path=at) from error


@dataclass(slots=True, kw_only=True)
class _Thread:
    """An entry on its way, with what it draws from and how it fared."""

    entry: Entry
    chance: Chance
    draws: Draws
    count: int = 0
    n_done: int = 0
    first_refusal: str = ""

    @property
    def is_refused(self) -> bool:
        """Chance may well choose a modem that cannot: then only where none could."""
        is_chance = self.entry.modems == ANY
        return bool(self.first_refusal) and not (is_chance and self.n_done)


class Story:
    """Carries a scenario's entries out, each at its time. `act` does one verb on the bank.

    Each entry draws for itself: what others do, in the story or beside it, changes nothing.
    """

    def __init__(
        self,
        told: Sequence[Entry],
        *,
        clock: Clock,
        dice: Dice,
        ledger: Ledger,
        act: Callable[[str, Args, Draws], Result],
    ) -> None:
        self._threads = [
            _Thread(entry=entry, chance=Chance(dice, name), draws=Draws(dice, name))
            for name, entry in ((f"story/{number}", one) for number, one in enumerate(told, 1))
        ]
        self._clock = clock
        self._ledger = ledger
        self._act = act
        self._is_over = False

    @property
    def refused(self) -> list[str]:
        """What could not be done and why, one for each such entry.

        An entry for `any` modem is one only where none of those that were drawn could.
        """
        return [one.first_refusal for one in self._threads if one.is_refused]

    def begin(self) -> None:
        """Set every entry's first time, from now."""
        self._start = self._clock.now()
        for thread in self._threads:
            self._plan(thread)

    def end(self) -> None:
        """Nothing more happens."""
        self._is_over = True

    def _plan(self, thread: _Thread) -> None:
        when = thread.entry.timing
        # From the start, not from the last time: nothing drifts.
        due = when.at + thread.count * (when.every or 0.0)
        if when.jitter:
            due += when.jitter * thread.chance.draw()
        passed = (self._clock.now() - self._start).total_seconds()
        self._clock.call_later(max(0.0, due - passed), lambda: self._run(thread))

    def _run(self, thread: _Thread) -> None:
        if self._is_over:
            return
        self._do(thread)
        thread.count += 1
        when = thread.entry.timing
        times = when.times or (1 if when.every is None else None)
        if times is None or thread.count < times:
            self._plan(thread)

    def _do(self, thread: _Thread) -> None:
        entry = thread.entry
        lasts = entry.timing.lasts
        result = self._carry_out(thread, entry.do, entry.args)
        if lasts is None or result is None:
            return
        for do, args in undoing(entry.do, entry.args, result):
            self._clock.call_later(lasts, partial(self._take_back, thread, do, args))

    def _take_back(self, thread: _Thread, do: str, args: Args) -> None:
        if not self._is_over:
            self._carry_out(thread, do, args)

    def _carry_out(self, thread: _Thread, do: str, args: Args) -> Result | None:
        try:
            result = self._act(do, args, thread.draws)
        except (ValueError, LookupError, ArithmeticError, OSError) as error:
            self._record(do, args, f"refused: {error}")
            thread.first_refusal = thread.first_refusal or f"{do}: {error}"
            return None
        self._record(do, args, "done")
        thread.n_done += 1
        return result

    def _record(self, do: str, args: Args, outcome: str) -> None:
        modem = args.get("modem", args.get("modems"))
        facts: dict[str, Fact] = {"modem": None if modem is None else str(modem), "do": do}
        named = next((args[name] for name in _OBJECTS if name in args), None)
        if isinstance(named, str | int):
            facts["what"] = named
        now = self._clock.now().isoformat(timespec="milliseconds")
        self._ledger.add("story", time=now, **facts, outcome=outcome)


def undoing(do: str, args: Args, result: Result) -> list[tuple[str, Args]]:
    """The verbs that take a done one back, from what was asked and what it answered."""
    each = result.get("modems")
    if isinstance(each, dict):  # several modems: each has its own answer
        return [step for one in each.values() for step in undoing(do, args, one)]
    back = VERBS[do].undo
    if not back or (do == "pull_card" and result["iccid"] is None):
        return []
    make = _BACK.get(do)
    if make is not None:
        return [(back, make(args, result))]
    keys = VERBS[back].keys()
    return [(back, {name: value for name, value in args.items() if name in keys})]


def _there(args: Args, result: Result) -> Args:
    """The carrier that was asked for, at the very places that were chosen."""
    places = result["places"]
    assert isinstance(places, list)
    at = {} if "" in places else {"modem": places}
    return at if "carrier" not in args else {"carrier": args["carrier"], **at}


_BACK: Final[Mapping[str, Callable[[Args, Result], Args]]] = {
    "set_fault": lambda args, result: {"modem": result["modem"], "fault": args["fault"]},
    "set_registration": lambda _, result: {"card": result["iccid"]},
    "lose_coverage": _there,
    "set_latency": lambda _, result: result,
    "set_carrier_latency": lambda _, result: result,
    "set_signal": _there,
    "cut_off": lambda _, result: {"card": result["iccid"]},
    "unplug": lambda _, result: {"modem": result["modem"]},
    "pull_card": lambda _, result: {"modem": result["modem"], "card": result["iccid"]},
    "swap_cards": lambda args, result: {"modem": result["modem"], "other": args["other"]},
    "traffic": lambda _, result: {"name": result["name"]},
}
"""How what takes a verb back is asked for, where it is not by the same keys."""


def _entry(table: object, do: str, at: Path) -> Entry:
    if isinstance(table, Entry):
        return table
    if not isinstance(table, Mapping):
        raise ScenarioError("a table is needed", path=at)
    rest = dict(table)
    chosen = rest.pop("do", do)
    if not chosen:
        raise ScenarioError(f"is missing: one of {', '.join(_DEEDS)}", path=(*at, "do"))
    if chosen not in _DEEDS:
        raise ScenarioError(unknown(str(chosen), _DEEDS, what="verb"), path=(*at, "do"))
    found = VERBS[chosen]
    names = [item.name for item in fields(Timing)]
    own = found.keys()
    timing = {name: rest.pop(name) for name in names if name in rest and name not in own}
    when = read(Timing, timing, at=at)
    for name in rest:
        if name not in own:
            raise ScenarioError(unknown(str(name), [*own, *names]), path=(*at, str(name)))
    found.read(rest, at=at)
    if when.lasts is not None and chosen == "set_fault":
        rest.setdefault("count", 0)  # it strikes as long as it lasts
    if when.lasts is not None and not found.undo:
        able = ", ".join(sorted(name for name, one in VERBS.items() if one.undo))
        raise ScenarioError(f"{chosen} cannot be taken back; it goes with {able}",
                            path=(*at, "lasts"))  # fmt: skip
    return Entry(timing=when, do=str(chosen), args=rest)
