"""Characters that no text may hold that we keep: PostgreSQL takes no NUL, no encoding half of one.

SQLite would keep a NUL. What one of the databases cannot hold is refused on both, before any reads
it.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["unfit"]

_UNFIT: Final = re.compile("[\0\ud800-\udfff]")


def unfit(text: str) -> str | None:
    """What is wrong with a text that cannot be kept; None where all of it can."""
    found = _UNFIT.search(text)
    if found is None:
        return None
    return "must hold no NUL" if found[0] == "\0" else "must hold no half of a character"
