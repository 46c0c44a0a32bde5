"""Texts made plain, so that tricks of writing hide nothing from the rules (SMS-08, SMS-12)."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from typing import Final

from modemctl.policy.han import SIMPLIFIED

_ALIKE: Final = dict(
    zip(map(ord, "аеорсухіѕјԁһԛѡοανιυ"), map(ord, "aeopcyxisjdhqwoaviu"), strict=True)
)
"""Cyrillic and Greek letters that look like Latin ones."""
_INVISIBLE: Final = {
    code: None
    for first, last in (
        (0x00AD, 0x00AD), (0x0300, 0x036F), (0x061C, 0x061C), (0x115F, 0x1160), (0x17B4, 0x17B5),
        (0x180B, 0x180F), (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x20D0, 0x20F0),
        (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF9, 0xFFFB),
        (0x1D173, 0x1D17A), (0xE0000, 0xE007F), (0xE0100, 0xE01EF),
    )
    for code in range(first, last + 1)
}  # fmt: skip
"""Signs without a width or a place of their own. Source: Unicode, Default_Ignorable_Code_Point."""
_LETTERS: Final[dict[int, int]] = {**SIMPLIFIED, **_ALIKE}
_PLAIN: Final[dict[int, int | None]] = {**_LETTERS, **_INVISIBLE}
_SPACED: Final = re.compile(r"(?<![a-z])[a-z](?:[ .*_·-]{1,2}[a-z]){3,}(?![a-z])")
_SIGNS: Final = re.compile(r"[^\w.,;:!?。、\n]+|_+")
_DOTTED: Final = re.compile(r"(?:[一-鿿][.,;:!?。、\n]){2,}[一-鿿]")
_STOPS: Final = re.compile(r"[.,;:!?。、\n]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Folded:
    """A text in two plain forms; both hold lower case and simplified characters.

    `plain` keeps spaces and signs, for words of Latin letters; `tight` has lost what may stand
    between Chinese characters to tear a word apart.
    """

    plain: str = field(repr=False)
    tight: str = field(repr=False)


def fold(text: str) -> Folded:
    """Full-width and half-width made one, invisible characters taken out, scripts made one."""
    plain = unicodedata.normalize("NFKC", text).casefold().translate(_PLAIN)
    plain = _SPACED.sub(lambda found: re.sub(r"[^a-z]", "", found[0]), plain)
    tight = _SIGNS.sub("", plain)
    if _DOTTED.search(tight):
        tight = _DOTTED.sub(lambda found: _STOPS.sub("", found[0]), tight)
    return Folded(plain=plain, tight=tight)


def visible(text: str) -> str:
    """Compatibility forms made plain (NFKC), invisible characters taken out."""
    return unicodedata.normalize("NFKC", text).translate(_INVISIBLE)


def place_of(text: str, hit: str) -> tuple[int, int] | None:
    """Where in the text as written a hit in its folded form stands: first and last place, from 1.

    None where it cannot be told.
    """
    if not _shows(text, hit):
        return None
    low, high = 1, len(text)
    while low < high:  # the shortest beginning that shows it
        middle = (low + high) // 2
        low, high = (low, middle) if _shows(text[:middle], hit) else (middle + 1, high)
    end = high
    low, high = 0, end - 1
    while low < high:  # of which the shortest end does
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _shows(text[middle:end], hit) else (low, middle - 1)
    return low + 1, end


def _shows(text: str, hit: str) -> bool:
    found = fold(text)
    return hit in found.plain or hit in found.tight
