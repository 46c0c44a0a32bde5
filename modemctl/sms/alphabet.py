"""The GSM 7-bit default alphabet, its national tables, and septets in octets. Source: TS 23.038."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from functools import cache, lru_cache
from itertools import filterfalse
from typing import Final, NoReturn

from modemctl.sms.shift_tables import ESCAPE, LOCKING, SINGLE_SHIFT

_CR: Final = 0x0D
_ESC: Final = chr(ESCAPE)


class Alphabet(StrEnum):
    """How user data is coded. Source: TS 23.038 §4."""

    GSM7 = "gsm7"
    EIGHT_BIT = "8bit"
    UCS2 = "ucs2"


class Unencodable(ValueError):
    """The value cannot be put on the wire; the reason names no content of the message."""


class _Encoder(dict[int, str]):
    """`str.translate` table: code point → septets; a character outside it ends the encoding."""

    def __missing__(self, code_point: int) -> NoReturn:
        raise Unencodable("a character is not in the chosen GSM 7-bit tables")


@cache
def _encoder(locking: int, single_shift: int) -> _Encoder:
    encoder = _Encoder()
    # Downwards: where a table holds a character twice, the lowest septet wins; base over shift.
    for table, prefix in ((SINGLE_SHIFT[single_shift], _ESC), (LOCKING[locking], "")):
        for septet in sorted(table, reverse=True):
            encoder[ord(table[septet])] = prefix + chr(septet)
    return encoder


@cache
def _decoder(locking: int) -> dict[int, str]:
    # A septet without a character shows as a space; so does an escape that nothing follows.
    return dict.fromkeys(range(128), " ") | dict(LOCKING[locking])


_WIDTHS: Final = {chr(code): len(septets) for code, septets in _encoder(0, 0).items()}
_GSM7_CHARACTERS: Final = frozenset(_WIDTHS)

septet_width: Final = _WIDTHS.__getitem__
"""Septets (1 or 2) of one character of the default alphabet; `KeyError` for any other."""


def is_gsm7(text: str) -> bool:
    """True where every character is in the default alphabet or its extension table."""
    return _GSM7_CHARACTERS.issuperset(text)


def forcing_characters(text: str) -> tuple[str, ...]:
    """The characters that keep `text` out of GSM 7-bit: distinct, in order of appearance."""
    return tuple(filterfalse(_GSM7_CHARACTERS.__contains__, dict.fromkeys(text)))


def n_septets(text: str) -> int:
    """Septets that `text` takes in the default alphabet; an extension character takes two.

    Raises:
        Unencodable: a character is in neither table.
    """
    return len(text.translate(_encoder(0, 0)))


def language(number: int, tables: Mapping[int, Mapping[int, str]]) -> int:
    """`number` where `tables` knows it, else 0: a reserved language means the default table."""
    return number if number in tables else 0


def encode_gsm7(text: str, *, locking: int = 0, single_shift: int = 0) -> bytes:
    """Turn text into septets, one an octet.

    Unknown language numbers mean the default tables.

    Raises:
        Unencodable: a character is in neither of the two tables.
    Source: TS 23.038 §6.2.1.
    """
    table = _encoder(language(locking, LOCKING), language(single_shift, SINGLE_SHIFT))
    return text.translate(table).encode("latin-1")


def decode_gsm7(septets: bytes, *, locking: int = 0, single_shift: int = 0) -> str:
    """Turn septets (one an octet) into text; never fails.

    After an escape a septet that the single shift table lacks shows its base character; a second
    escape shows as a space, and so does an escape at the end.
    Source: TS 23.038 §6.2.1.1.
    """
    base = _decoder(language(locking, LOCKING))
    text = septets.decode("latin-1")
    if _ESC not in text:
        return text.translate(base)
    shifted = SINGLE_SHIFT[language(single_shift, SINGLE_SHIFT)]
    head, *rest = text.split(_ESC)
    shown = [head.translate(base)]
    is_escaped = True
    for run in rest:
        if run and is_escaped:
            shown.append(shifted.get(ord(run[0]), base.get(ord(run[0]), " ")))
            shown.append(run[1:].translate(base))
        elif run:
            shown.append(run.translate(base))
        elif is_escaped:
            # Two escapes in a row, or one at the very end: a space; the next run stands plain.
            shown.append(" ")
            is_escaped = False
            continue
        is_escaped = True
    return "".join(shown)


@lru_cache(maxsize=64)
def _masks(n_groups: int) -> tuple[tuple[int, int, int], ...]:
    """(low half, high half, shift) of each folding step over `n_groups` × 64 bits."""
    ones = ((1 << (64 * n_groups)) - 1) // ((1 << 64) - 1)
    return tuple(
        (ones * low, ones * high, shift)
        for low, high, shift in (
            (0x007F007F007F007F, 0x7F007F007F007F00, 1),
            (0x00003FFF00003FFF, 0x3FFF00003FFF0000, 2),
            (0x000000000FFFFFFF, 0x0FFFFFFF00000000, 4),
        )
    )


def n_packed_octets(n_septets: int, *, fill_bits: int = 0) -> int:
    """Octets that `n_septets` septets take behind `fill_bits` bits."""
    return (7 * n_septets + fill_bits + 7) // 8


def pack(septets: bytes, *, fill_bits: int = 0) -> bytes:
    """Pack septets (one an octet, each below 0x80) into octets behind `fill_bits` zero bits.

    Septet i takes bits 7i…7i+6, least significant first. Source: TS 23.038 §6.1.2.1.
    """
    n_groups = (len(septets) + 7) // 8
    bits = int.from_bytes(septets, "little")
    # Eight septets in 64 bits fold to 56 in three steps, all groups at once.
    for low, high, shift in _masks(n_groups):
        bits = (bits & low) | ((bits & high) >> shift)
    folded = bytearray(bits.to_bytes(8 * n_groups, "little"))
    del folded[7::8]
    n_octets = n_packed_octets(len(septets), fill_bits=fill_bits)
    if not fill_bits:
        return bytes(folded[:n_octets])
    return (int.from_bytes(folded, "little") << fill_bits).to_bytes(n_octets + 1, "little")[
        :n_octets
    ]


def unpack(octets: bytes, n_septets: int, *, fill_bits: int = 0) -> bytes:
    """Unpack `n_septets` septets, one an octet, from behind `fill_bits` bits.

    Raises:
        ValueError: there are fewer octets than that.
    Source: TS 23.038 §6.1.2.1.
    """
    n_octets = n_packed_octets(n_septets, fill_bits=fill_bits)
    if len(octets) < n_octets:
        raise ValueError("fewer octets than the septets need")
    n_groups = (n_septets + 7) // 8
    packed = octets[:n_octets]
    if fill_bits:
        packed = (int.from_bytes(packed, "little") >> fill_bits).to_bytes(n_octets, "little")
    packed = packed[: 7 * n_groups].ljust(7 * n_groups, b"\0")
    spread = bytearray(8 * n_groups)
    for i in range(7):
        spread[i::8] = packed[i::7]
    bits = int.from_bytes(spread, "little")
    for low, high, shift in reversed(_masks(n_groups)):
        bits = (bits & low) | ((bits << shift) & high)
    return bits.to_bytes(8 * n_groups, "little")[:n_septets]


def pack_ussd(text: str) -> bytes:
    """Pack text for USSD, where no length is sent: a spare septet at the end becomes CR.

    Raises:
        Unencodable: a character is not in the default alphabet.
    Source: TS 23.038 §6.1.2.3.1.
    """
    septets = encode_gsm7(text)
    # The second case: a wanted CR on the octet boundary would be taken for padding.
    if len(septets) % 8 == 7 or (septets and len(septets) % 8 == 0 and septets[-1] == _CR):
        septets += bytes([_CR])
    return pack(septets)


def unpack_ussd(octets: bytes) -> str:
    """Read USSD text; a CR that ends it on the octet boundary is padding.

    Source: TS 23.038 §6.1.2.3.1.
    """
    septets = unpack(octets, len(octets) * 8 // 7)
    if septets and len(septets) % 8 == 0 and septets[-1] == _CR:
        septets = septets[:-1]
    return decode_gsm7(septets)
