"""What the user typed to get here: hints and examples can be typed again as they stand."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Final

_OWN: Final = "modemctl"
_SHARED: Final = ("record", "replay", "conformance")
"""Commands that this program has under their own names; the others are its `sim`."""


def program() -> str:
    """The words before a command's name; whoever starts the process gives SIMULATOR_PROGRAM."""
    return os.environ.get("SIMULATOR_PROGRAM", "python -m simulator")


def typed(command: str) -> str:
    """A command of the group as the user would type it."""
    name = program()
    is_inner = name == _OWN and command.split(maxsplit=1)[0] not in _SHARED
    return f"{name} sim {command}" if is_inner else f"{name} {command}"


def with_program(text: str, names: Iterable[str]) -> str:
    """Examples, each after a colon or a semicolon, that begin with how the program is called."""
    words = "|".join(sorted(map(re.escape, names), key=len, reverse=True))
    pattern = re.compile(rf"((?:^|[:;]) ?(?:Example: )?)((?:{words})(?=[ ;:]|$))")
    return pattern.sub(lambda match: match[1] + typed(match[2]), text)
