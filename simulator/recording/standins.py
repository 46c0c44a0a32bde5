"""Stand-ins: other digits and letters of the same shape, the same one for the same secret.

Which one is drawn from a key that lives as long as the process and is written nowhere. Without a
key every stand-in is the bare shape: `0` for a digit, one letter for all letters of a class; so two
lines are alike but for their secrets exactly where their shapes are equal.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final, TypeAlias

from simulator import alphabet
from simulator.recording.fields import Kind

_DIGITS: Final = "0123456789"
_UPPER: Final = "GHIJKLMNOPQRSTUVWXYZ"
_LOWER: Final = "ghijklmnopqrstuvwxyz"
_HEX_UPPER: Final = "ABCDEF"
_HEX_LOWER: Final = "abcdef"
_ACCENTS: Final = "äöñüàèéùìò"
_GREEK: Final = "ΔΦΓΛΩΠΨΣΘΞ"
_EXTENSION: Final = "^{}[~]|"
_HAN: Final = "".join(map(chr, range(0x4E00, 0x4E00 + 2000)))
_FACES: Final = "".join(map(chr, range(0x1F600, 0x1F640)))
_WIDE_DIGITS: Final = "".join(map(chr, range(0xFF10, 0xFF1A)))
_WIDE_UPPER: Final = "".join(map(chr, range(0xFF21, 0xFF3B)))
_WIDE_LOWER: Final = "".join(map(chr, range(0xFF41, 0xFF5B)))
_NUMERALS: Final = "\u3007" + "".join(map(chr, range(0x3021, 0x302A)))
_NARROW: Final = "".join(map(chr, range(0xFF66, 0xFFDD)))  # katakana, Hangul
_NARROW_DRAWN: Final = "".join(map(chr, range(0xFF71, 0xFF9E)))
_TAIL: Final = 8
_Choices: TypeAlias = Callable[[str], str | None]
_REDRAWS: Final = 8


class Standins:
    """Stand-ins under one key of any length; `None` draws bare shapes."""

    def __init__(self, key: bytes | None) -> None:
        self._key = key

    def digits(self, kind: Kind, value: str) -> str:
        """Other digits in the place of all digits; what is none stays."""
        return self._redrawn(kind, value, lambda char: _DIGITS if char in _DIGITS else None)

    def number(self, value: str) -> str:
        """A telephone number's: the last eight digits alone decide theirs, so that `+86138…` and
        `138…` stay the same line.
        """
        head, tail = value[:-_TAIL], value[-_TAIL:]
        return self.digits(Kind.NUMBER, head) + self.digits(Kind.NUMBER, tail)

    def imsi(self, value: str) -> str:
        """An IMSI's: the network's code (five digits) stays. Source: TS 23.003 §2.2."""
        return value[:5] + self.digits(Kind.IMSI, value[5:])

    def imei(self, value: str) -> str:
        """An IMEI's: the model's code (eight digits) stays, the check digit is right where it was.

        Source: TS 23.003 §6.2.
        """
        drawn = value[:8] + self.digits(Kind.IMEI, value[8:14]) + value[14:]
        if len(value) != 15:
            return drawn
        return self._checked(value, drawn, Kind.IMEI)

    def iccid(self, value: str) -> str:
        """An ICCID's: country and issuer (six digits) and the filler stay, letters stay letters.

        Source: ITU-T E.118.
        """
        core = value.rstrip("Ff")
        filler = value[len(core) :]
        issuer = 6 if core.startswith("89") else 0
        drawn = core[:issuer] + self.hexes(Kind.ICCID, core[issuer:])
        if core.isdigit():
            drawn = self._checked(core, drawn, Kind.ICCID)
        return drawn + filler

    def hexes(self, kind: Kind, value: str) -> str:
        """Other hex digits: a decimal digit for a decimal digit, a letter for a letter."""

        def choices(char: str) -> str | None:
            for group in (_DIGITS, _HEX_UPPER, _HEX_LOWER):
                if char in group:
                    return group
            return None

        return self._redrawn(kind, value, choices)

    def text(self, value: str) -> str:
        """Another text with as many characters of each sort; blanks and punctuation stay."""
        return self._redrawn(Kind.TEXT, value, _alike)

    def septets(self, value: bytes) -> bytes:
        """The same for unpacked GSM septets, escapes in their places."""
        pieces: list[str] = []
        escaped = False
        for septet in value:
            # One character a septet: an escape is kept, what follows it has a sort of its own.
            is_odd = septet == 0x1B
            pieces.append("\x1b" if is_odd else _EXTENSION[0] if escaped else _base(septet))
            escaped = is_odd and not escaped
        drawn = self._redrawn(Kind.TEXT, "".join(pieces), _alike, seed=value.hex())
        return b"".join(_septet(char) for char in drawn)

    def octets(self, value: bytes) -> bytes:
        """Other octets, as many."""
        return bytes(number & 0xFF for number in self._draw(Kind.TEXT, value.hex(), len(value)))

    def opaque(self, value: str) -> str:
        """For what was not understood: digits for digits, letters for letters, of any alphabet.

        A long run of hex digits has any of them in any place: their pattern would tell of a text.
        """
        is_hex = len(value) >= 8 and all(char in "0123456789abcdefABCDEF" for char in value)
        if not is_hex or value.isdigit():
            return self.text(value)
        letters = _HEX_LOWER if value != value.upper() else _HEX_UPPER
        return self._redrawn(Kind.GUARD, value, lambda _char: _DIGITS + letters)

    def _checked(self, value: str, drawn: str, kind: Kind) -> str:
        if self._key is None:
            return drawn[:-1] + "0"
        if luhn(value[:-1]) == value[-1]:
            return drawn[:-1] + luhn(drawn[:-1])
        return drawn[:-1] + self.digits(kind, value[-1])

    def _redrawn(
        self, kind: Kind, value: str, choices: _Choices, *, seed: str | None = None
    ) -> str:
        made = value
        for attempt in range(_REDRAWS):
            drawn = self._draw(kind, value if seed is None else seed, len(value), attempt)
            made = "".join(
                char if (group := choices(char)) is None else group[number % len(group)]
                for char, number in zip(value, drawn, strict=True)
            )
            # A stand-in that is the secret itself would be none.
            if made != value or self._key is None:
                break
        return made

    def _draw(self, kind: Kind, seed: str, count: int, attempt: int = 0) -> list[int]:
        if self._key is None:
            return [0] * count
        octets = f"{kind}/{attempt}/{seed}".encode("utf-8", "surrogatepass")
        stream = hashlib.shake_256(self._key + octets).digest(2 * count)
        return [high << 8 | low for high, low in zip(stream[::2], stream[1::2], strict=True)]


def luhn(digits: str) -> str:
    """The check digit behind these digits. Source: ISO/IEC 7812-1 annex B."""
    total = 0
    for place, char in enumerate(reversed(digits)):
        value = int(char) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return str(-total % 10)


_GROUPS: Final = (
    (_DIGITS, _DIGITS), ("ABCDEFGHIJKLMNOPQRSTUVWXYZ", _UPPER),
    ("abcdefghijklmnopqrstuvwxyz", _LOWER), (_EXTENSION, _EXTENSION), (_GREEK, _GREEK),
    (_WIDE_DIGITS, _WIDE_DIGITS), (_WIDE_UPPER, _WIDE_UPPER), (_WIDE_LOWER, _WIDE_LOWER),
    (_NUMERALS, _NUMERALS), (_NARROW, _NARROW_DRAWN),
)  # fmt: skip
"""Characters of one sort, and those that are drawn for them."""
_WIDE_MARKS: Final = (
    (0x3000, 0x3003), (0x3008, 0x3011), (0x3014, 0x301F), (0x3030, 0x3030), (0xFF00, 0xFF65),
    (0xFFE0, 0xFFFF),
)  # fmt: skip
"""Punctuation of wide alphabets."""


def _alike(char: str) -> str | None:
    """The characters that may stand for this one; None where it stays."""
    for group, drawn in _GROUPS:
        if char in group:
            return drawn
    code = ord(char)
    if code < 0x80 or any(first <= code <= last for first, last in _WIDE_MARKS):
        return None
    if code < 0x100:
        return _ACCENTS
    return _FACES if code > 0xFFFF else _HAN


def _base(septet: int) -> str:
    return alphabet.from_septets(bytes((septet,)))


def _septet(char: str) -> bytes:
    return b"\x1b" if char == "\x1b" else alphabet.to_septets(char)[-1:]
