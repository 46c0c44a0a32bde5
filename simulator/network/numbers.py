"""Telephone numbers as people and networks write them."""

from __future__ import annotations


def national(number: str) -> str:
    """A number without what people write in front of it: `+86`, `0086`; one subscriber's are equal.

    A person dials +8613…, 008613… or 13…: all are the same subscriber.
    """
    digits = number.removeprefix("+").removeprefix("00")
    return digits[2:] if digits.startswith("86") and len(digits) == 13 else digits
