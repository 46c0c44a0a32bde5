"""Families that a site describes in a folder of TOML files, without code; `docs/families.md`.

One file, one family: `acme.toml` is the family `acme`. Such a row can say less than one in
`drivers.families`: every command passes the guard of the maintenance console, what the driver
itself sets is not to be touched, and a PIN counter is read by a form that names where PIN1 stands.
"""

from __future__ import annotations

import difflib
import re
import tomllib
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeVar

from drivers.at.command import by_hand
from drivers.at.counters import CounterForm
from drivers.at.session import urc_key
from drivers.at.urcs import SHARED, UrcRow, noise, reboot
from drivers.errors import DriverError
from drivers.family import (
    COUNTER_CPINR,
    COUNTER_STATUS,
    COUNTER_VERIFY,
    ICCID_BY_FILE,
    CounterQuery,
    Family,
    IccidQuery,
    counter_asked_for,
    counter_by,
    iccid_by,
)
from drivers.interface import Identity

T = TypeVar("T")

ASKED_FOR: Final = "asked-for"
"""Form of a counter that counts whatever code is asked for now, and nothing once READY."""

FORMS: Final = (*(form.value for form in CounterForm), ASKED_FOR)
COUNTERS: Final = MappingProxyType(
    {"cpinr": COUNTER_CPINR, "verify": COUNTER_VERIFY, "status": COUNTER_STATUS}
)
"""Standard ways to ask for the tries, by name."""

MAX_GAP: Final = 5.0
MAX_PAUSE: Final = 60.0
_MAX_FILE: Final = 65_536
_N_SHOWN: Final = 60

_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
_EXTENDED = re.compile(r"(?i)AT[+^*#$%!_][ -~]{1,119}")
_OURS = re.compile(
    r"(?i)AT\+(?:CMG[DF]|CMEE|CNMI|CPMS|CSMS|CSCA|CSCS|CREG|COPS|CFUN|IPR|ICF|CMUX|CGDATA|CHUP|CDV)"
    r"|IMEI|PHYNUM|NVRAM|U2DIAG|SETPORT|SPWD|&F"
)
_CNMI = re.compile(r"[0-3],1,[0-3],[0-2](?:,[01])?")
_HEAD = re.compile(r"[+^*#$%!_]?[A-Z][A-Z0-9 _-]{1,38}:?")
_PREFIX = re.compile(r"[!-~][ -~]{0,18}[:=]")
_DIGITS = re.compile(r"[0-9]{4,}")
_FINALS = frozenset({"OK", "ERROR", "CONNECT", "+CME ERROR:", "+CMS ERROR:"})


_OTHERS = _FINALS | SHARED.keys()


class FamilyFilesError(DriverError):
    """Files of the folder are wrong; `problems` names all of it: file, key, what is allowed."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


def read_folder(folder: Path, built_in: Sequence[Family]) -> tuple[Family, ...]:
    """The families that the `*.toml` files of a folder describe, in the order of their names.

    A folder that does not exist holds none. `built_in`: the families that they may inherit.

    Raises:
        FamilyFilesError: anything is wrong, in any of the files.
    """
    parents = {family.capabilities.family: family for family in built_in}
    families: list[Family] = []
    problems: list[str] = []
    try:
        files = sorted(folder.glob("*.toml")) if folder.exists() else []
        if folder.exists() and not folder.is_dir():
            problems.append(f"{folder}: not a folder")
    except OSError as error:
        raise FamilyFilesError([f"{folder}: cannot be read: {error.strerror}"]) from error
    for file in files:
        try:
            text = _text(file)
            table = _Table(file, text, tomllib.loads(text))
        except _Refused as error:
            problems.append(f"{file}: {error.allowed}")
        except (ValueError, RecursionError) as error:  # or a number, a nest without end
            problems.append(f"{file}: not valid TOML: {error}")
        else:
            families.append(_family(file.stem, table, parents))
            problems += table.problems
    if problems:
        raise FamilyFilesError(problems)
    return tuple(families)


def _text(file: Path) -> str:
    if not file.is_file():  # a pipe or a device would be waited for, without end
        raise _Refused([], "no file that can be read")
    try:
        with file.open("rb") as source:
            octets = source.read(_MAX_FILE + 1)
    except OSError as error:
        raise _Refused([], f"cannot be read: {error.strerror}") from error
    if len(octets) > _MAX_FILE:
        raise _Refused([], f"longer than {_MAX_FILE} octets")
    try:
        return octets.decode()
    except UnicodeDecodeError as error:
        raise _Refused([], f"not UTF-8 at octet {error.start}") from error


# ---------------------------------------------------------------- one file


class _Refused(ValueError):
    """Values that are not allowed, and what is."""

    def __init__(self, values: Sequence[object], allowed: str) -> None:
        super().__init__(allowed)
        self.values = list(values)
        self.allowed = allowed


class _Table:
    """One file's keys: each is taken once, what is wrong is noted, what is left is unknown."""

    def __init__(self, file: Path, text: str, table: Mapping[str, object]) -> None:
        self.problems: list[str] = []
        self._file = file
        self._text = text
        self._left = dict(table)
        self._known: list[str] = []

    def take(self, key: str, parse: Callable[[object], T], default: T) -> T:
        """The key's value, or the default where it is absent or wrong."""
        self._known.append(key)
        if key not in self._left:
            return default
        try:
            return parse(self._left.pop(key))
        except _Refused as error:
            for value in error.values:
                self.note(key, f"allowed: {error.allowed} (got {_shown(value)})")
            return default

    def note(self, key: str, problem: str) -> None:
        """Note a problem with its place."""
        found = re.search(rf"(?m)^\s*{re.escape(key)}\s*=", self._text)
        line = f":{self._text.count(chr(10), 0, found.end()) + 1}" if found else ""
        self.problems.append(f"{self._file}{line}: {key}: {problem}")

    def end(self) -> None:
        """Note the keys that nobody took."""
        for key in self._left:
            near = difflib.get_close_matches(key, self._known, n=1)
            self.note(key, f"unknown key; {f'did you mean {near[0]}?' if near else self._all()}")

    def _all(self) -> str:
        return f"allowed: {', '.join(sorted(self._known))}"


def _shown(value: object) -> str:
    """A refused value without what may be a PIN: this goes to logs."""
    try:
        return _DIGITS.sub("…", repr(value))[:_N_SHOWN]
    except ValueError:  # a number of more digits than Python writes
        return "…"


def _family(name: str, table: _Table, parents: Mapping[str, Family]) -> Family:
    if _NAME.fullmatch(name) is None or name in parents:
        table.note("file name", "allowed: lower-case letters, digits and -, no built-in family")
    parent = parents[table.take("inherits", _one_of(sorted(parents)), "generic")]
    rules = (
        table.take("manufacturer", _pattern, None),
        table.take("model", _pattern, None),
    )
    if rules == (None, None) and not table.problems:
        table.note("manufacturer", "allowed: this or model must be given")
    row = parent.capabilities
    family = replace(
        parent,
        capabilities=replace(
            row,
            family=name,
            command_gap=table.take("command_gap", _seconds(MAX_GAP), row.command_gap),
            more_messages=table.take("more_messages", _truth, row.more_messages),
        ),
        matches=_rule(*rules),
        noise_off=table.take("noise_off", _each(_command), parent.noise_off),
        iccid=table.take("iccid", _each(_iccid), parent.iccid),
        counters=table.take("pin_counter", _each(_counter), parent.counters),
        cnmi=table.take("cnmi", _each(_fitting(_CNMI, _CNMI_WORDS)), parent.cnmi),
        memories=table.take("memories", _each(_one_of(["ME", "SM"])), parent.memories),
        card_urcs=table.take("card_urcs", _each(_commands), parent.card_urcs),
        call_urcs=table.take("call_urcs", _each(_commands), parent.call_urcs),
        urc_routes=table.take("urc_routes", _each(_commands), parent.urc_routes),
        urcs=MappingProxyType({**parent.urcs, **_urcs(table)}),
        ready_signs=_ready_signs(table, parent),
        unlock_pause=table.take("unlock_pause", _seconds(MAX_PAUSE), parent.unlock_pause),
        reset=table.take("reset", _reset, parent.reset),
        cpin_ends_bare=table.take("cpin_ends_bare", _truth, parent.cpin_ends_bare),
        ussd_packed=table.take("ussd_packed", _truth, parent.ussd_packed),
    )
    table.end()
    return family


def _urcs(table: _Table) -> dict[str, UrcRow]:
    """What it says by itself: known and of no interest, or the sign of a restart."""
    none: tuple[str, ...] = ()
    quiet = table.take("noise", _each(_head), none)
    boots = table.take("reboot", _each(_head), none)
    return {
        **dict.fromkeys(_keys(quiet), UrcRow(read=noise)),
        **dict.fromkeys(_keys(boots), UrcRow(read=reboot)),
    }


def _ready_signs(table: _Table, parent: Family) -> frozenset[str]:
    none: tuple[str, ...] = ()
    own = table.take("ready_signs", _each(_head), none)
    return frozenset(_keys(own)) or parent.ready_signs


def _keys(heads: Sequence[str]) -> Sequence[str]:
    """What a line is looked up by: with its colon, or without one the whole line."""
    return [key for head in heads for key in (head, head.removesuffix(":") + ":")]


def _rule(
    manufacturer: re.Pattern[str] | None, model: re.Pattern[str] | None
) -> Callable[[Identity], bool]:
    def matches(identity: Identity) -> bool:
        told = ((manufacturer, identity.manufacturer), (model, identity.model))
        return all(rule is None or rule.search(text) is not None for rule, text in told)

    return matches


# ---------------------------------------------------------------- values

_CNMI_WORDS = 'texts like "2,1,0,2,0": messages stored (mt 1), so that none is lost'
_COMMAND_WORDS = (
    "one extended command as AT+X=1; none that sends, calls, deletes, tries a PIN, writes an IMEI "
    "or sets what the driver sets (mode, storage, routing, radio, speed)"
)
_HEAD_WORDS = (
    "the start of a line up to its colon, as +ACME:, or a whole line; none of the standard's"
)


def _each(parse: Callable[[object], T]) -> Callable[[object], tuple[T, ...]]:
    def read(value: object) -> tuple[T, ...]:
        good: list[T] = []
        bad: list[object] = []
        allowed = "a list with at least one entry"
        for item in value if isinstance(value, list) else []:
            try:
                good.append(parse(item))
            except _Refused as error:
                bad += error.values
                allowed = error.allowed
        if bad or not good:
            raise _Refused(bad or [value], allowed)
        return tuple(good)

    return read


def _one_of(choices: Sequence[str]) -> Callable[[object], str]:
    def read(value: object) -> str:
        if isinstance(value, str) and value in choices:
            return value
        raise _Refused([value], ", ".join(choices))

    return read


def _fitting(pattern: re.Pattern[str], words: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        if isinstance(value, str) and pattern.fullmatch(value):
            return value
        raise _Refused([value], words)

    return read


def _pattern(value: object) -> re.Pattern[str] | None:
    allowed = "a regular expression of at most 200 letters that does not fit everything"
    if not isinstance(value, str) or len(value) > 200:
        raise _Refused([value], allowed)
    try:
        with warnings.catch_warnings(action="error", category=FutureWarning):
            rule = re.compile(value, re.IGNORECASE)
    except (re.error, OverflowError, RecursionError, FutureWarning) as error:
        raise _Refused([value], f"{allowed}: {error}") from error
    if rule.search("") is not None:
        raise _Refused([value], allowed)
    return rule


def _seconds(most: float) -> Callable[[object], float]:
    def read(value: object) -> float:
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= most:
            return float(value)
        raise _Refused([value], f"seconds from 0 to {most:g}")

    return read


def _truth(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise _Refused([value], "true, false")


def _command(value: object) -> str:
    """A command that may stand in a file: the console's guard, and nothing of the driver's own."""
    if isinstance(value, str) and _EXTENDED.fullmatch(value) and _OURS.search(value) is None:
        return _guarded(value)
    raise _Refused([value], _COMMAND_WORDS)


def _guarded(text: str) -> str:
    try:
        by_hand(text, timeout=1.0)
    except ValueError as error:
        raise _Refused([text], _COMMAND_WORDS) from error
    return text


def _commands(value: object) -> tuple[str, ...]:
    """Alternatives: one command, or a list of them."""
    return _each(_command)(value) if isinstance(value, list) else (_command(value),)


def _reset(value: object) -> str:
    if isinstance(value, str) and re.fullmatch(r"(?i)AT\+CFUN=(?:1,1|16)", value):
        return value
    return _command(value)


def _head(value: object) -> str:
    key = urc_key(value) if isinstance(value, str) else ""
    both = {key, key.removesuffix(":") + ":"}
    if _HEAD.fullmatch(key) is None or both & _OTHERS or key != str(value).upper():
        raise _Refused([value], _HEAD_WORDS)
    return key


def _entry(value: object, keys: set[str], words: str) -> dict[str, object]:
    if not isinstance(value, dict) or "command" not in value or not set(value) <= keys:
        raise _Refused([value], words)
    return value


def _answer(entry: Mapping[str, object], words: str) -> tuple[str, ...]:
    prefix = entry.get("answer")
    if prefix is None:
        return ()
    return (_fitting(_PREFIX, words)(prefix).upper(),)  # as lines are compared


def _iccid(value: object) -> IccidQuery:
    words = '"file", or a table: command, and answer (as "+ACME:") or bare = true'
    if value == "file":
        return ICCID_BY_FILE
    entry = _entry(value, {"command", "answer", "bare"}, words)
    is_bare = entry.get("bare", False)
    if not isinstance(is_bare, bool):
        raise _Refused([value], words)
    text = _command(entry["command"])
    return iccid_by(text, *(_answer(entry, words) or _own(text)), bare=is_bare)


def _own(text: str) -> tuple[str, ...]:
    head = re.match(r"(?i)AT([+^*#$%!_][A-Z0-9]+)", text)
    return (f"{head[1].upper()}:",) if head else ()


def _counter(value: object) -> CounterQuery:
    words = f"{', '.join(COUNTERS)}, or a table: command, form ({'; '.join(FORMS)}), answer"
    if isinstance(value, str) and value in COUNTERS:
        return COUNTERS[value]
    entry = _entry(value, {"command", "answer", "form"}, words)
    form = entry.get("form")
    if form not in FORMS or (form == ASKED_FOR and "answer" in entry):
        raise _Refused([value], words)
    text = _command(entry["command"])
    if form == ASKED_FOR:
        return counter_asked_for(text)
    return counter_by(text, CounterForm(str(form)), *_answer(entry, words))
