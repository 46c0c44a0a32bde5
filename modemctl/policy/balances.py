"""What a network's answer says of a card's balance, and what of it is a fault (SIM-15, SIM-18)."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from decimal import Decimal
from enum import StrEnum
from typing import Final

from modemctl.model import Iccid

LONGEST_TEXT: Final = 200
"""Characters of an answer that are looked at."""

_AMOUNT: Final = re.compile(r"(?P<sign>[+-]?)(?P<digits>[0-9][0-9., ']*)")
_CURRENCY: Final = re.compile(r"[¥$€£A-Za-z元\s]")
_MOST_DIGITS: Final = 15


class Outcome(StrEnum):
    """How an attempt to read a balance ended."""

    READ = "read"
    NO_AMOUNT = "no_amount"
    """An answer in which the pattern finds none."""
    SILENT = "silent"
    """No answer in time."""
    REFUSED = "refused"
    """The modem or the network would not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a card's carrier is to be asked, and how its answer is read."""

    iccid: Iccid
    code: str
    pattern: str = field(repr=False)
    currency: str
    low: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What came of it. `text` only where no amount was found in it; it may be personal."""

    outcome: Outcome
    amount: str | None = None
    error: str | None = None
    text: str | None = field(default=None, repr=False)


def amount_in(text: str, pattern: re.Pattern[str]) -> Decimal | None:
    """The amount that a pattern finds in an answer; None where it finds none."""
    found = pattern.search(text[:LONGEST_TEXT])
    if found is None:
        return None
    named = found.groupdict()
    for name, sign in (("owed", -1), ("amount", 1)):
        if named.get(name):
            amount = read_amount(named[name])
            return None if amount is None else sign * amount
    return None


def read_amount(text: str) -> Decimal | None:
    """A number as people write amounts: `1,234.50`, `-3.20元`, `￥12`, `1.234,50`, `１２．５`."""
    plain = unicodedata.normalize("NFKC", text).replace("−", "-")
    plain = _CURRENCY.sub("", plain)
    found = _AMOUNT.fullmatch(plain.rstrip("., "))
    if found is None:
        return None
    whole, fraction = _split(found["digits"].replace(" ", "").replace("'", ""))
    if whole is None or len(whole) + len(fraction) > _MOST_DIGITS:
        return None
    value = Decimal(f"{whole}.{fraction or '0'}") if fraction else Decimal(whole)
    return -value if found["sign"] == "-" else value


def _split(digits: str) -> tuple[str | None, str]:
    """The digits before and behind the decimal sign; None where the grouping is no grouping."""
    last = max(digits.rfind("."), digits.rfind(","))
    if last < 0:
        return digits, ""
    mark = digits[last]
    other = "," if mark == "." else "."
    whole, fraction = digits[:last], digits[last + 1 :]
    is_grouping = mark in whole or (mark == "," and len(fraction) == 3 and other not in whole)
    if is_grouping:
        whole, fraction, other = digits, "", mark
    elif mark in whole:
        return None, ""
    groups = whole.split(other)
    is_grouped = all(len(group) == 3 for group in groups[1:]) and 1 <= len(groups[0]) <= 3
    if len(groups) > 1 and not is_grouped:
        return None, ""
    joined = "".join(groups)
    return (joined, fraction) if joined.isdigit() else (None, "")


def shown(amount: Decimal) -> str:
    """An amount as decimal text, with its decimals: never in powers of ten."""
    return f"{amount:f}"


def is_low(amount: Decimal, low: str) -> bool:
    """Whether an amount is no more than the threshold; what is spent or owed always is."""
    return amount <= max(Decimal(low), Decimal(0))


def state_of(amount: str | None, *, is_low: bool) -> str:
    """What an attempt showed: `fine`, `low`, `spent` (nothing is left, or is owed) or `unread`."""
    if amount is None:
        return "unread"
    if not is_low:
        return "fine"
    return "spent" if Decimal(amount) <= 0 else "low"


def is_due(last_at: datetime | None, now: datetime, *, days: int, zone: tzinfo) -> bool:
    """Whether a card is to be asked again: once in so many days of the site (a failure counts)."""
    if last_at is None:
        return True
    today = now.astimezone(zone).date()
    return last_at.astimezone(zone).date() <= today - timedelta(days=days)
