"""TP-DCS: which alphabet, which class, which indication. Source: TS 23.038 §4."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Final

from modemctl.sms.alphabet import Alphabet, Unencodable

_GENERAL: Final = (Alphabet.GSM7, Alphabet.EIGHT_BIT, Alphabet.UCS2, Alphabet.GSM7)


class WaitingKind(StrEnum):
    """What waits, in the order of the two low bits."""

    VOICEMAIL = "voicemail"
    FAX = "fax"
    EMAIL = "email"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageWaiting:
    """A message-waiting indication: switch it on or off; `is_stored`: keep the text as well."""

    kind: WaitingKind
    is_active: bool
    is_stored: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """What one data coding scheme octet says.

    `sms_class` 0 flash, 1 ME, 2 SIM, 3 TE, None without one. `is_reserved` marks values that the
    standard leaves open; they are read as GSM 7-bit.
    """

    dcs: int
    alphabet: Alphabet
    sms_class: int | None = None
    is_compressed: bool = False
    is_auto_delete: bool = False
    is_reserved: bool = False
    waiting: MessageWaiting | None = None


@cache
def decode_dcs(dcs: int) -> Encoding:
    """Read the octet (0…255). Source: TS 23.038 §4."""
    if dcs < 0x80:
        return Encoding(
            dcs=dcs,
            alphabet=_GENERAL[dcs >> 2 & 3],
            sms_class=dcs & 3 if dcs & 0x10 else None,
            is_compressed=bool(dcs & 0x20),
            is_auto_delete=bool(dcs & 0x40),
            is_reserved=dcs >> 2 & 3 == 3,
        )
    if 0xC0 <= dcs < 0xF0:
        waiting = MessageWaiting(
            kind=tuple(WaitingKind)[dcs & 3], is_active=bool(dcs & 8), is_stored=dcs >= 0xD0
        )
        alphabet = Alphabet.UCS2 if dcs >= 0xE0 else Alphabet.GSM7
        return Encoding(dcs=dcs, alphabet=alphabet, waiting=waiting)
    if 0xF0 <= dcs < 0xF8:
        alphabet = Alphabet.EIGHT_BIT if dcs & 4 else Alphabet.GSM7
        return Encoding(dcs=dcs, alphabet=alphabet, sms_class=dcs & 3)
    return Encoding(dcs=dcs, alphabet=Alphabet.GSM7, is_reserved=True)


def dcs_for(alphabet: Alphabet, sms_class: int | None = None) -> int:
    """The octet for a plain message of this alphabet and class.

    Raises:
        Unencodable: the class is not 0…3.
    Source: TS 23.038 §4.
    """
    if sms_class is not None and sms_class not in {0, 1, 2, 3}:
        raise Unencodable("a message class is 0, 1, 2 or 3")
    dcs = {Alphabet.GSM7: 0x00, Alphabet.EIGHT_BIT: 0x04, Alphabet.UCS2: 0x08}[alphabet]
    return dcs if sms_class is None else dcs | 0x10 | sms_class
