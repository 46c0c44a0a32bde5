"""Tables of files and requests into values: each mistake is told with its place and a cure."""

from __future__ import annotations

import difflib
import json
import math
import pathlib
import re
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from enum import StrEnum
from functools import cache
from typing import Annotated, Final, TypeAlias, TypeVar, cast

from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

Path: TypeAlias = tuple[str | int, ...]
"""Where in the table: names, and places in lists counted from 1."""

_T = TypeVar("_T")
_MANY: Final = 25  # names that nobody reads to the end
_FINITE: Final = "a finite number is needed"
_UNITS: Final = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_MOST_SECONDS: Final = 1_000_000_000  # 31 years; what is added to a date stays one
_HEAD: Final = re.compile(r"\s*\[\[?\s*([\w.-]+)\s*\]\]?\s*(?:#.*)?")
_AT: Final = re.compile(r" \(at line (\d+), column (\d+)\)")
_DURATION: Final = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[dhms]))+")


class ScenarioError(ValueError):
    """A scenario or a request is wrong; the message names the key and what is allowed."""

    def __init__(self, problem: str, *, path: Path = ()) -> None:
        self.problem = problem
        self.path = path
        super().__init__(f"{place(path)}: {problem}" if path else problem)


def seconds(value: object) -> object:
    """`90`, `"90s"`, `"1h30m"`, `"2d"` as seconds; what is none of these stays as it is."""
    if isinstance(value, str) and _DURATION.fullmatch(value):
        parts = re.findall(r"([\d.]+)(ms|[dhms])", value)
        value = sum(float(amount) * _UNITS[unit] for amount, unit in parts)
    if isinstance(value, bool | str):
        raise ValueError('seconds are needed, or a text as "90s", "1h30m", "2d"')  # noqa: TRY004 - pydantic tells ValueErrors
    if isinstance(value, int | float):
        _require_length(value)
    return value


def _require_length(value: float) -> None:
    if isinstance(value, float) and not math.isfinite(value):  # a whole number always is
        raise ValueError(_FINITE)
    if value < 0:
        raise ValueError("not below 0")
    if value > _MOST_SECONDS:
        raise ValueError(f"at most {_MOST_SECONDS} seconds")


Seconds: TypeAlias = Annotated[float, BeforeValidator(seconds)]
"""A length of time, never negative: a number of seconds or a text as `"1h30m"`."""


Octet: TypeAlias = Annotated[int, Field(ge=0, le=255)]
"""A number that goes over the air in eight bits."""


def shaped(pattern: str, words: str) -> AfterValidator:
    """For `Annotated[str, …]`: a text that fits the pattern; `words` say what it looks like."""
    fits = re.compile(pattern).fullmatch

    def check(value: str) -> str:
        if not fits(value):
            raise ValueError(f"{words} are needed" if words[0].isdigit() else f"needed: {words}")
        return value

    return AfterValidator(check)


def read(kind: type[_T], table: Mapping[str, object], *, at: Path = ()) -> _T:
    """A dataclass from a table of its fields (or their aliases), nested ones too.

    Raises:
        ScenarioError: an unknown key, a missing one, a wrong value.
    """
    _check(kind, table, at)
    try:
        found: _T = _adapter(kind).validate_python(dict(table))
    except ValidationError as error:
        first = error.errors()[0]
        path = at + tuple(item + 1 if isinstance(item, int) else item for item in first["loc"])
        if path[-1:] == ("int",):  # pydantic's name for one of two kinds that would do
            path = path[:-1]
            raise ScenarioError(f"{_shown(first['input'])}: {_PLACES}", path=path) from error
        value = "" if first["type"] == "missing" else f"{_shown(first['input'])}: "
        raise ScenarioError(value + _cure(dict(first)), path=path) from error
    return found


def keys(kind: type) -> list[str]:
    """The keys that a table of this dataclass may have."""
    return list(_hints(kind))


def is_text(kind: type, key: str) -> bool:
    """True where a table of this dataclass wants a text, and nothing else, for the key."""
    hint = _hints(kind).get(key)
    if typing.get_origin(hint) is Annotated:
        hint = typing.get_args(hint)[0]
    kinds = [one for one in typing.get_args(hint) if one is not types.NoneType] or [hint]
    return [typing.get_args(one)[0] if typing.get_origin(one) is Annotated else one
            for one in kinds] == [str]  # fmt: skip


def unknown(name: str, known: Iterable[str], *, what: str = "key") -> str:
    """The sentence about a name that there is not, with the nearest ones that there are."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=2)
    if near and len(names) > _MANY:
        return f"unknown {what} {name!r}; did you mean {' or '.join(near)}?"
    hint = f" did you mean {' or '.join(near)}?" if near else ""
    return f"unknown {what} {name!r};{hint} known: {', '.join(names)}"


def place(path: Path) -> str:
    """A path as people write it: `bays[2].persona`."""
    text = ""
    for item in path:
        text += f"[{item}]" if isinstance(item, int) else f".{item}"
    return text.removeprefix(".")


def line_of(text: str, path: Path) -> int | None:
    """The line of a TOML text in which a path's key stands; that of its table where it lacks it."""
    lines = text.splitlines()
    heads = [(n, match[1]) for n, line in enumerate(lines) if (match := _HEAD.fullmatch(line))]
    found: int | None = None
    first, last, dotted = 0, len(lines), ""
    for depth, item in enumerate(path):
        if isinstance(item, int):
            continue
        dotted = f"{dotted}.{item}".removeprefix(".")
        after = path[depth + 1] if depth + 1 < len(path) else 1
        own = [n for n, name in heads if name == dotted and first <= n < last]
        if 0 < (count := after if isinstance(after, int) else 1) <= len(own):
            found = own[count - 1]
            first = found + 1
            inner = f"{dotted}."
            outside = (n for n, name in heads if n >= first and not name.startswith(inner))
            last = min(last, next(outside, last))
            continue
        end = next((n for n, _ in heads if n >= first), last)
        key = re.compile(rf"""\s*["']?{re.escape(item)}["']?\s*[=.]""")
        found = next((n for n in range(first, min(end, last)) if key.match(lines[n])), found)
        break
    return None if found is None else found + 1


def toml(path: pathlib.Path) -> tuple[dict[str, object], str]:
    """A TOML file's table, and its text for `line_of`.

    Raises:
        ScenarioError: it is no TOML; with file and line.
        OSError: it cannot be read.
    """
    try:
        text = path.read_text("utf-8")
        return tomllib.loads(text), text
    except UnicodeDecodeError as error:
        raise ScenarioError(f"{path}: not UTF-8 text (octet {error.start})") from error
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        match = _AT.search(message)
        line = int(match[1]) if match else max(1, len(text.splitlines()))
        what = _AT.sub(r" at column \2", message).replace(" (at end of document)", " at the end")
        raise ScenarioError(f"{path}:{line}: not TOML: {what}") from error


# ---------------------------------------------------------------- inside


_adapters: Final[dict[type, TypeAdapter[object]]] = {}


def _adapter(kind: type[_T]) -> TypeAdapter[_T]:
    found = _adapters.get(kind)
    if found is None:
        found = _adapters[kind] = TypeAdapter(kind)
    return cast("TypeAdapter[_T]", found)


@cache
def _hints(kind: type) -> dict[str, object]:
    """Key of a table → type of the field; an alias stands for its field's name."""
    hints = typing.get_type_hints(kind, include_extras=True)
    found: dict[str, object] = {}
    for item in fields(kind):
        extras = getattr(hints[item.name], "__metadata__", ())
        alias = next((e.alias for e in extras if isinstance(e, FieldInfo) and e.alias), None)
        found[alias or item.name] = hints[item.name]
    return found


def _check(kind: object, value: object, at: Path) -> None:
    """What pydantic lets pass: unknown keys of dataclasses, truth and text as numbers."""
    extras = getattr(kind, "__metadata__", ())
    if any(isinstance(extra, BeforeValidator) for extra in extras):
        return
    if extras:
        kind = typing.get_args(kind)[0]
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in {typing.Union, types.UnionType}:
        kinds = [one for one in inner if one is not type(None)]
        if value is not None and len(kinds) == 1:
            _check(kinds[0], value, at)
    elif isinstance(value, Mapping):
        _check_table(kind, origin, inner, value, at)
    elif isinstance(value, list | tuple) and origin in {tuple, list} and inner:
        for index, item in enumerate(value, 1):
            _check(inner[0], item, (*at, index))
    elif kind in {int, float} and isinstance(value, bool | str):
        whole = "whole " if kind is int else ""
        raise ScenarioError(f"{_shown(value)}: a {whole}number is needed", path=at)
    elif kind in {int, float} and isinstance(value, float) and not math.isfinite(value):
        raise ScenarioError(f"{_shown(value)}: {_FINITE}", path=at)


def _check_table(
    kind: object, origin: object, inner: tuple[object, ...], value: Mapping[str, object], at: Path
) -> None:
    if isinstance(kind, type) and is_dataclass(kind):
        hints = _hints(kind)
        for name, one in value.items():
            if name not in hints:
                raise ScenarioError(unknown(name, hints), path=(*at, name))
            _check(hints[name], one, (*at, name))
    elif origin is not None and len(inner) == 2:
        for name, one in value.items():
            _check(inner[1], one, (*at, name))


def _shown(value: object) -> str:
    """A value as TOML writes it; a table only by that word."""
    match value:
        case Mapping():
            return "a table"
        case str():
            text = f'"{value}"'
        case bool() | list() | tuple() | None:
            text = json.dumps(value, ensure_ascii=False, default=str)
        case _:
            text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


_PLACES: Final = 'a number or a text as "1-4,7" is needed'
_MOMENT: Final = "a moment is needed, as 2026-01-01T08:00:00Z"
_CURES: Final = {
    "missing": "is missing",
    "string_type": "a text is needed (in quotes)",
    "int_from_float": "a whole number is needed",
    "bool_parsing": "true or false is needed",
    "bool_type": "true or false is needed",
    "tuple_type": "a list is needed, as [ … ]",
    "too_short": "at least one is needed",
    "dataclass_type": "a table is needed, as {{ key = … }}",
    "dict_type": "a table is needed, as {{ key = … }}",
    "mapping_type": "a table is needed, as {{ key = … }}",
    "finite_number": _FINITE,
    "greater_than_equal": "not below {ge}",
    "greater_than": "must be above {gt}",
    "less_than_equal": "not above {le}",
    "int_type": "a whole number is needed",
    "float_type": "a number is needed",
    "datetime_type": _MOMENT,
    "datetime_parsing": _MOMENT,
    "datetime_from_date_parsing": _MOMENT,
    "decimal_type": "a number is needed",
    "decimal_parsing": "a number is needed",
}


def _cure(error: Mapping[str, object]) -> str:
    kind, context = str(error["type"]), error.get("ctx", {})
    assert isinstance(context, Mapping)
    if kind in {"enum", "literal_error"}:
        allowed = str(context["expected"]).replace("'", "").replace(" or ", ", ")
        near = difflib.get_close_matches(str(error["input"]), allowed.split(", "), n=1)
        if near and allowed.count(",") > _MANY:
            return f"unknown; did you mean {near[0]}?"
        hint = f"did you mean {near[0]}? " if near else ""
        return f"{hint}one of {allowed}"
    if kind == "value_error":
        return str(context["error"])
    pattern = _CURES.get(kind)
    return "something else is needed" if pattern is None else pattern.format(**context)


def closed(kind: type[StrEnum]) -> str:
    """A closed set's words, for help texts."""
    return ", ".join(item.value for item in kind)
