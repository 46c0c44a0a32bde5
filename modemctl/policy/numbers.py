"""Phone numbers as people write them, made E.164 or refused with the reason (SMS-07)."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

DEFAULT_SHORT_CODES: Final = frozenset(
    {"10000", "10010", "10086", "10099", "12306", "12315", "12345", "12381", "95508", "95511",
     "95516", "95528", "95533", "95555", "95558", "95559", "95561", "95566", "95568", "95577",
     "95580", "95588", "95595", "95599"}
)  # fmt: skip
"""Carriers', banks' and authorities' codes that may be written to; all others are refused."""

_PLAIN_CN: Final = re.compile(r"1[3-9][0-9]{9}")
_MOBILE_CN: Final = re.compile(r"(?:(?:\+|00)?86)?(1[3-9][0-9]{9})")
_LANDLINE_CN: Final = re.compile(
    r"(?:(?:\+|00)?86)?0?(?:10|[2-9][0-9]{1,2})[2-9][0-9]{6,7}|[48]00[0-9]{7}"
)
_SPREADSHEET: Final = re.compile(r"[0-9]+\.[0-9]+|[0-9]+(?:\.[0-9]+)?[eE]\+?[0-9]+")
_SEPARATORS: Final = str.maketrans("", "", " \t\u00a0\u2007\u202f-‐‑–().·")
_INVISIBLE: Final = str.maketrans("", "", "\ufeff\u200b\u200e\u200f\u202a\u202c\u2060")
_DIALLED: Final = re.compile(r"\+?[0-9]+")


class Rejection(StrEnum):
    """Why a line of a list is not part of a batch."""

    EMPTY = "no number"
    LETTERS = "letters or signs in the number"
    SPREADSHEET = "a spreadsheet's rounded number, not the digits"
    FULL_WIDTH = "full-width digits"
    LENGTH = "wrong length"
    LANDLINE = "a landline"
    NOT_MOBILE = "not a mobile number"
    SHORT_CODE = "a short code that is not on the allow-list"
    DUPLICATE = "duplicate"
    OPTED_OUT = "opted out"
    OWN_CARD = "one of our own cards"
    NOT_OWN_CARD = "not the number of an active card of this department"
    NOT_CUSTOMER = "not a customer of this department"
    MISSING_VARIABLE = "a variable has no value"
    BAD_TEXT = "the text for this line cannot be sent"
    TOO_LONG = "needs more segments than the limits allow at once"
    TOO_FREQUENT = "got as many messages as its limits allow until the window ends"

    @property
    def policy(self) -> str:
        """Id of the rule behind it."""
        by_limits = {
            Rejection.OPTED_OUT,
            Rejection.OWN_CARD,
            Rejection.TOO_LONG,
            Rejection.TOO_FREQUENT,
        }
        if self is Rejection.NOT_CUSTOMER:
            return "SMS-02"
        if self is Rejection.NOT_OWN_CARD:
            return "SMS-09"
        return "SIM-08" if self in by_limits else "SMS-07"


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberRules:
    """How numbers are read: `region` is an ISO 3166 code; contact lists take half-width digits."""

    region: str = "CN"
    short_codes: frozenset[str] = DEFAULT_SHORT_CODES
    half_width_only: bool = False


def normalise(raw: str, rules: NumberRules) -> str | Rejection:
    """E.164 (`+8613800138000`), an allowed short code, or why it is neither."""
    if rules.region == "CN" and _PLAIN_CN.fullmatch(raw):
        return f"+86{raw}"  # by far the most lines
    text = raw.translate(_INVISIBLE).strip()
    folded = text if text.isascii() else unicodedata.normalize("NFKC", text)
    if not folded:
        return Rejection.EMPTY
    if rules.half_width_only and any(char.isdigit() and not char.isascii() for char in text):
        return Rejection.FULL_WIDTH
    if _SPREADSHEET.fullmatch(folded):
        return Rejection.SPREADSHEET
    digits = folded.translate(_SEPARATORS)
    if rules.region == "CN" and (found := _MOBILE_CN.fullmatch(digits)):
        return f"+86{found[1]}"  # no need to ask the library
    return _other(digits, rules)


def _other(digits: str, rules: NumberRules) -> str | Rejection:
    if digits in rules.short_codes:
        return digits
    refused = _plain_refusal(digits, is_chinese=rules.region == "CN")
    return _ask_library(digits, rules.region) if refused is None else refused


def _plain_refusal(digits: str, *, is_chinese: bool) -> Rejection | None:
    is_foreign = digits.startswith(("+", "00"))
    reasons = (
        (not _DIALLED.fullmatch(digits), Rejection.LETTERS),
        (3 <= len(digits) <= 6 and not is_foreign, Rejection.SHORT_CODE),
        (is_chinese and _LANDLINE_CN.fullmatch(digits), Rejection.LANDLINE),
        (not 7 <= len(digits.lstrip("+0")) <= 15, Rejection.LENGTH),
        (is_chinese and not is_foreign and len(digits) != 11, Rejection.LENGTH),
        (is_chinese and not is_foreign, Rejection.NOT_MOBILE),
    )
    return next((why for is_so, why in reasons if is_so), None)


def _ask_library(digits: str, region: str) -> str | Rejection:
    # Imported here: its tables take 15 MB, and lists of our own region rarely need them.
    import phonenumbers
    from phonenumbers import PhoneNumberType

    dialled = f"+{digits[2:]}" if digits.startswith("00") else digits
    try:
        number = phonenumbers.parse(dialled, region)
    except phonenumbers.NumberParseException:
        return Rejection.LENGTH
    if not phonenumbers.is_valid_number(number):
        is_possible = phonenumbers.is_possible_number(number)
        return Rejection.NOT_MOBILE if is_possible else Rejection.LENGTH
    match phonenumbers.number_type(number):
        case PhoneNumberType.MOBILE | PhoneNumberType.FIXED_LINE_OR_MOBILE:
            return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))
        case PhoneNumberType.FIXED_LINE:
            return Rejection.LANDLINE
        case _:
            return Rejection.NOT_MOBILE
