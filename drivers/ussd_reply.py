"""What the network answers a USSD code, and in what it is written. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final


class UssdCoding(StrEnum):
    """How a USSD text stands on the wire, as far as its data coding scheme does not say."""

    TEXT = "text"
    """Characters, of a set that holds ASCII."""
    GSM = "gsm"
    """Characters of the default alphabet, an octet each."""
    UCS2 = "ucs2"
    """Hexadecimal UCS-2."""
    HEX = "hex"
    """Hexadecimal octets, one for each character of the default alphabet."""
    PACKED = "packed"
    """Hexadecimal octets of packed septets (Huawei)."""


class UssdForm(StrEnum):
    """What the octets of a reply are."""

    PACKED = "packed"
    """Packed septets of the default alphabet."""
    SEPTETS = "septets"
    """Characters of the default alphabet, an octet each."""
    UCS2 = "ucs2"
    """UTF-16, big end first."""
    LATIN1 = "latin1"
    """Characters of ISO 8859-1, which holds ASCII."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UssdHeard:
    """`+CUSD` as it stood on the wire. Source: TS 27.007 §7.15."""

    state: int
    text: str | None = field(default=None, repr=False)
    dcs: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UssdReply:
    """What the network answered: `state` 0 done, 1 a menu, 2 terminated, 4 unsupported, 5 late.

    `octets` is empty where no text came. Source: TS 27.007 §7.15.
    """

    state: int
    form: UssdForm = UssdForm.LATIN1
    octets: bytes = field(default=b"", repr=False)


def read(heard: UssdHeard, coding: UssdCoding) -> UssdReply:
    """Take a reply off the wire. Source: TS 23.038 §5; TS 27.007 §7.15.

    Not all firmware writes as its scheme says: what cannot stand so is read as text.
    """
    text = heard.text or ""
    octets = bytes.fromhex(text) if _HEX.fullmatch(text) else b""
    form = _form(octets, heard.dcs, coding) if octets else None
    if form is None:
        octets = text.encode("latin-1", "replace")
        is_gsm = coding is UssdCoding.GSM and octets.isascii()
        form = UssdForm.SEPTETS if is_gsm else UssdForm.LATIN1
    elif heard.dcs == _UCS2_IN_A_LANGUAGE:
        octets = octets[2:]  # the language
    return UssdReply(state=heard.state, form=form, octets=octets)


def _form(octets: bytes, dcs: int | None, coding: UssdCoding) -> UssdForm | None:
    """What octets in hexadecimal are; None where they are digits of a text."""
    is_even = len(octets) % 2 == 0
    alphabet = _alphabet(dcs)
    if alphabet is UssdForm.UCS2 and is_even:
        return UssdForm.UCS2
    if alphabet is UssdForm.LATIN1:
        return UssdForm.LATIN1
    match coding:
        case UssdCoding.PACKED:
            return UssdForm.PACKED
        case UssdCoding.HEX if octets.isascii():
            return UssdForm.SEPTETS
        case UssdCoding.UCS2 if is_even:
            return UssdForm.UCS2
    return UssdForm.UCS2 if _seems_ucs2(octets) else None


def _alphabet(dcs: int | None) -> UssdForm:
    """The alphabet of a cell broadcast's data coding scheme. Source: TS 23.038 §5."""
    value = 0x0F if dcs is None else dcs
    if value == _UCS2_IN_A_LANGUAGE:
        return UssdForm.UCS2
    group, low = value >> 4, value >> 2 & 3
    if group in {4, 5, 6, 7, 9} and low in _BY_BITS:
        return _BY_BITS[low]
    return UssdForm.LATIN1 if group == 0xF and value & 4 else UssdForm.SEPTETS


def _seems_ucs2(octets: bytes) -> bool:
    """Whether hexadecimal digits are UCS-2 although nobody says so: no text looks like this."""
    if len(octets) < _FEWEST or len(octets) % 2:
        return False
    units = [octets[at] << 8 | octets[at + 1] for at in range(0, len(octets), 2)]
    return all(_is_usual(unit) for unit in units) and any(_is_latin(unit) for unit in units)


def _is_latin(unit: int) -> bool:
    return unit in {0x0A, 0x0D} or 0x20 <= unit < 0x7F or 0xA0 <= unit < 0x250


def _is_usual(unit: int) -> bool:
    # … and punctuation, Chinese, full-width forms.
    return _is_latin(unit) or 0x2000 <= unit < 0xD800 or 0xFF00 <= unit < 0xFFF0


_HEX: Final = re.compile(r"(?:[0-9A-Fa-f]{2})+")
_FEWEST: Final = 4  # octets
_UCS2_IN_A_LANGUAGE: Final = 0x11
_BY_BITS: Final = {0: UssdForm.SEPTETS, 1: UssdForm.LATIN1, 2: UssdForm.UCS2}
