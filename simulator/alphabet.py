"""The simulator's own GSM 7-bit alphabet and septet packing.

Source: TS 23.038 §6.1.2 (packing), §6.2.1 (default alphabet and its extension table).
"""

from __future__ import annotations

_BASE = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ"
    " !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENSION = {
    0x0A: "\f",
    0x14: "^",
    0x28: "{",
    0x29: "}",
    0x2F: "\\",
    0x3C: "[",
    0x3D: "~",
    0x3E: "]",
    0x40: "|",
    0x65: "€",
}
_ESCAPE = 0x1B
_TO_SEPTETS: dict[str, bytes] = {
    char: bytes((index,)) for index, char in enumerate(_BASE) if index != _ESCAPE
} | {char: bytes((_ESCAPE, index)) for index, char in _EXTENSION.items()}


def fits_gsm7(text: str) -> bool:
    """True where every character is in the default alphabet or its extension table."""
    return all(char in _TO_SEPTETS for char in text)


def to_septets(text: str) -> bytes:
    """One octet per septet, escapes included.

    Raises:
        KeyError: a character is not in the alphabet.
    """
    return b"".join(_TO_SEPTETS[char] for char in text)


def from_septets(septets: bytes) -> str:
    """The text of septets; an unknown extension shows its base character."""
    chars: list[str] = []
    escaped = False
    for septet in septets:
        if escaped:
            escaped = False
            chars.append(" " if septet == _ESCAPE else _EXTENSION.get(septet, _BASE[septet]))
        elif septet == _ESCAPE:
            escaped = True
        else:
            chars.append(_BASE[septet])
    return "".join(chars)


def pack(septets: bytes, *, fill_bits: int = 0) -> bytes:
    """Pack septets LSB first, behind `fill_bits` zero bits (0–6)."""
    value = 0
    shift = fill_bits
    for septet in septets:
        value |= septet << shift
        shift += 7
    return value.to_bytes((shift + 7) // 8, "little")


def unpack(octets: bytes, n_septets: int, *, skip_bits: int = 0) -> bytes:
    """Take `n_septets` septets out of `octets`, after `skip_bits` bits."""
    value = int.from_bytes(octets, "little") >> skip_bits
    return bytes((value >> shift) & 0x7F for shift in range(0, 7 * n_septets, 7))
