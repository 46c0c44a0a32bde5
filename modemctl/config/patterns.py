"""Regular expressions in the settings: none that would hold up the daemon, whatever a text says."""

import re
from typing import Final

LONGEST: Final = 300
"""Characters of a pattern."""

_MOST_WAYS: Final = 100_000
_MANY: Final = 200  # what a repeat without a limit may take of a short text
_REPEAT: Final = re.compile(r"\*|\+|\?|\{(\d*)(,?)(\d*)\}")
_CLASS: Final = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)
_OPENING: Final = re.compile(r"\((?:\?(?:P<\w+>|:|i:|=|!))?")
_ONE: Final = re.compile(r"\\(?:x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|[^0-9gkN])|[^\\*+?{}()\[\]]")
_FLAGS: Final = "(?i)"


def checked_pattern(text: str, *, groups: frozenset[str]) -> re.Pattern[str]:
    """Compile a pattern that has one of these groups and cannot take long on 200 characters.

    What repeats is one character or class, never a group (`?` aside): so the ways to try stay few.

    Raises:
        ValueError: what is wrong, and what to write instead.
    """
    if len(text) > LONGEST:
        raise ValueError(f"longer than {LONGEST} characters")
    try:
        pattern = re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"no regular expression: {error}") from None
    if not groups & pattern.groupindex.keys():
        names = " or ".join(f"(?P<{name}>…)" for name in sorted(groups))
        raise ValueError(f"holds no group {names}, such as 余额[:：]?(?P<amount>[0-9.,]+)")
    start = len(_FLAGS) if text.startswith(_FLAGS) else 0
    if _branches(text, start)[0] > _MOST_WAYS:
        raise ValueError("too many repeats; write [0-9]{1,9} rather than [0-9]*, .{0,20} than .*")
    return pattern


def _branches(text: str, at: int) -> tuple[int, int]:
    """How many ways at most the alternatives from here on can be tried; where they end.

    Raises:
        ValueError: a group repeats, or it holds what is not allowed here.
    """
    total, ways = 0, 1
    while at < len(text) and text[at] != ")":
        if text[at] == "|":
            total, ways, at = total + ways, 1, at + 1
            continue
        is_group = text[at] == "("
        inner, at = _group(text, at) if is_group else (1, _atom_end(text, at))
        most, at = _repeat(text, at)
        if is_group and most > 1:
            raise ValueError("a group may not repeat; write out what comes, or make it (…)?")
        ways *= inner * (most + 1) if most else inner
    return total + ways, at


def _group(text: str, at: int) -> tuple[int, int]:
    opening = _OPENING.match(text, at)
    assert opening is not None
    if text.startswith("(?", at) and opening.end() == at + 1:
        raise ValueError(f"not allowed here: {text[at : at + 4]}")
    inner, end = _branches(text, opening.end())
    return inner, end + 1


def _atom_end(text: str, at: int) -> int:
    atom = _CLASS.match(text, at) or _ONE.match(text, at)
    if atom is None:
        raise ValueError(f"not allowed here: {text[at : at + 4]}")
    return atom.end()


def _repeat(text: str, at: int) -> tuple[int, int]:
    """The most that the repeat here takes, 0 where there is none; where it ends."""
    found = _REPEAT.match(text, at)
    if found is None:
        return 0, at
    least, comma, most = found.groups()
    end = found.end()
    if text[end : end + 1] in {"?", "+"}:  # lazy, possessive
        end += 1
    if found.group() == "?":
        return 1, end
    if found.group() in {"*", "+"} or (comma and not most):
        return _MANY, end
    return min(int(most or least or 0), _MANY), end
