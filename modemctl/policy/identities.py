"""Numbers of the documents by which a card's holder is known (实名制: SIM-04; masked: TEL-11)."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Final


class IdentityKind(StrEnum):
    """Which document; only a resident's identity number has digits that can be checked."""

    RESIDENT_ID = "resident_id"  # 居民身份证, GB 11643
    PASSPORT = "passport"
    HONG_KONG_MACAO_PERMIT = "hong_kong_macao_permit"  # 港澳居民来往内地通行证
    TAIWAN_PERMIT = "taiwan_permit"  # 台湾居民来往大陆通行证
    FOREIGN_PERMIT = "foreign_permit"  # 外国人永久居留身份证
    BUSINESS_LICENCE = "business_licence"  # 营业执照: a card in the company's name
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A document of a holder; `number` as it is kept: no blanks, capital letters."""

    kind: IdentityKind
    number: str = field(repr=False)

    @property
    def indexed(self) -> str:
        """What its keyed hash is made of: never that of a phone number."""
        return f"{self.kind}:{self.number}"


class NoIdentity(Exception):
    """What was written is no number of such a document; tells rule and cure, never the number."""

    def __init__(self, rule: str, cure: str) -> None:
        super().__init__(rule)
        self.rule = rule
        self.cure = cure


_SEPARATORS: Final = re.compile(r"[\s\-‐‑–·\u200b\ufeff]")
_ROUNDED: Final = re.compile(r"[0-9]\.[0-9]*E\+?[0-9]+|[0-9]+\.[0-9]+")
_RESIDENT: Final = re.compile(r"[1-9][0-9]{5}([0-9]{8})[0-9]{3}[0-9X]")
_RESIDENT_OLD: Final = re.compile(r"[1-9][0-9]{14}")
_OTHER: Final = re.compile(r"[0-9A-Z()/.\u4e00-\u9fff]{4,32}")
_WEIGHTS: Final = tuple(2**place % 11 for place in range(17, 0, -1))  # GB 11643-1999 §6
_CHECK_DIGITS: Final = "10X98765432"
_LONG: Final = 15  # characters: of these seven may be seen
_SHORT: Final = 7  # of these three, of fewer none


def read_identity(kind: IdentityKind, text: str) -> Identity:
    """A document's number as people write it.

    Raises:
        NoIdentity: it cannot be the number of such a document.
    """
    plain = _SEPARATORS.sub("", unicodedata.normalize("NFKC", text)).upper()
    if _ROUNDED.fullmatch(plain):
        raise NoIdentity(
            "was rounded by a spreadsheet: its last digits are gone",
            "format the column as text and enter the number again",
        )
    if kind is IdentityKind.RESIDENT_ID:
        _require_resident(plain)
    elif not _OTHER.fullmatch(plain):
        raise NoIdentity("must have 4 to 32 letters and digits", "copy it from the document")
    return Identity(kind=kind, number=plain)


def mask_identity(number: str) -> str:
    """A document's number fit for logs and lists: `110***********1234` (TEL-11)."""
    first, last = (3, 4) if len(number) >= _LONG else (1, 2) if len(number) >= _SHORT else (0, 0)
    hidden = len(number) - first - last
    return number[:first] + "*" * hidden + number[len(number) - last :]


def _require_resident(plain: str) -> None:
    if _RESIDENT_OLD.fullmatch(plain):
        raise NoIdentity(
            "15 digits are an identity number of before 1999, invalid since 2013",
            "ask for the 18 digits of the holder's present card",
        )
    found = _RESIDENT.fullmatch(plain)
    if found is None:
        raise NoIdentity(
            "a resident's identity number has 17 digits and a digit or X",
            "of another document say the kind, such as passport",
        )
    try:
        date.fromisoformat(found[1])
    except ValueError:
        raise NoIdentity("its date of birth is none", "copy it from the document") from None
    total = sum(int(digit) * weight for digit, weight in zip(plain[:-1], _WEIGHTS, strict=True))
    if _CHECK_DIGITS[total % 11] != plain[-1]:
        cure = "copy it from the document"
        if plain.endswith("000"):
            cure += ", as text: a spreadsheet ends long numbers in 000"
        raise NoIdentity("its last character does not fit the others (GB 11643)", cure)
