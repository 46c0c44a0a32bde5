"""Writing TOML: the standard library only reads it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias

Value: TypeAlias = str | int | float | bool | Sequence[str] | Sequence[int]


def value(given: Value) -> str:
    """One value as TOML writes it. Source: TOML 1.0, basic strings are JSON's but for DEL."""
    if isinstance(given, bool):
        return "true" if given else "false"
    if isinstance(given, str):
        return json.dumps(given, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(given, int | float):
        return str(given)
    inside = ", ".join(value(item) for item in given)
    return f"[{inside}]"


def key(given: str) -> str:
    """A key, quoted where it must be."""
    return given if re.fullmatch(r"[A-Za-z0-9_-]+", given) else value(given)


def table(values: Mapping[str, Value], *, name: str = "") -> str:
    """A table's lines; nothing for a named one that is empty."""
    if name and not values:
        return ""
    head = [f"[{name}]"] if name else []
    lines = head + [f"{key(word)} = {value(given)}" for word, given in values.items()]
    return "\n".join(lines) + "\n"
