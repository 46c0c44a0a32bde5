"""TP-ST: what a status report says. Source: TS 23.040 §9.2.3.15."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class ReportVerdict(StrEnum):
    """What a status means for the segment. Only `PENDING` may be followed by another report."""

    DELIVERED = "delivered"
    FORWARDED = "forwarded"
    PENDING = "pending"
    EXPIRED = "expired"
    UNDELIVERED = "undelivered"


_EXPIRED: Final = 0x46
_TITLES: Final = {
    0x00: "delivered to the recipient",
    0x01: "forwarded; the service centre cannot confirm delivery",
    0x02: "replaced by the service centre",
    0x20: "congestion",
    0x21: "recipient busy",
    0x22: "no response from the recipient",
    0x23: "service rejected",
    0x24: "quality of service not available",
    0x25: "error in the recipient's equipment",
    0x40: "remote procedure error",
    0x41: "incompatible destination",
    0x42: "connection rejected by the recipient",
    0x43: "not obtainable: no such number",
    0x44: "quality of service not available",
    0x45: "no interworking available",
    0x46: "validity period expired",
    0x47: "deleted by the sender",
    0x48: "deleted by the service centre's administration",
    0x49: "the message does not exist",
}
# First status of each range that the standard leaves to service centres or reserves.
_RANGES: Final = (
    (0x80, "reserved"),
    (0x70, "gave up after a temporary error of the service centre's own"),
    (0x66, "gave up after a temporary error, reserved"),
    (0x50, "permanent error of the service centre's own"),
    (0x4A, "permanent error, reserved"),
    (0x30, "temporary error of the service centre's own; it still tries"),
    (0x26, "temporary error, reserved; it still tries"),
    (0x10, "completed, in a way of the service centre's own"),
    (0x03, "completed, reserved"),
)


def report_verdict(st: int) -> ReportVerdict:
    """What status `st` (0…255) means for the segment; 80–FF count as 7F.

    Source: TS 23.040 §9.2.3.15.
    """
    if st == 0:
        return ReportVerdict.DELIVERED
    if st < 0x20:
        return ReportVerdict.FORWARDED
    if st < 0x40:
        return ReportVerdict.PENDING
    return ReportVerdict.EXPIRED if st == _EXPIRED else ReportVerdict.UNDELIVERED


def report_title(st: int) -> str:
    """Status `st` (0…255) in English, for operators. Source: TS 23.040 §9.2.3.15."""
    if st in _TITLES:
        return _TITLES[st] + ("; it still tries" if 0x20 <= st < 0x40 else "")
    if 0x60 <= st <= 0x65:
        return f"gave up after: {_TITLES[st - 0x40]}"
    return next(title for start, title in _RANGES if st >= start)
