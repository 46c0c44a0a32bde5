"""The table of TP-ST."""

from __future__ import annotations

import pytest

from modemctl.sms import ReportVerdict, report_title, report_verdict


def test_every_status_has_the_verdict_of_its_range() -> None:
    expected = dict.fromkeys(range(0x01, 0x20), ReportVerdict.FORWARDED)
    expected[0x00] = ReportVerdict.DELIVERED
    expected |= dict.fromkeys(range(0x20, 0x40), ReportVerdict.PENDING)
    expected |= dict.fromkeys(range(0x40, 0x100), ReportVerdict.UNDELIVERED)
    expected[0x46] = ReportVerdict.EXPIRED

    assert {st: report_verdict(st) for st in range(256)} == expected


@pytest.mark.parametrize(
    ("st", "title"),
    [
        (0x00, "delivered to the recipient"),
        (0x01, "forwarded; the service centre cannot confirm delivery"),
        (0x05, "completed, reserved"),
        (0x1F, "completed, in a way of the service centre's own"),
        (0x21, "recipient busy; it still tries"),
        (0x2F, "temporary error, reserved; it still tries"),
        (0x30, "temporary error of the service centre's own; it still tries"),
        (0x43, "not obtainable: no such number"),
        (0x46, "validity period expired"),
        (0x4F, "permanent error, reserved"),
        (0x50, "permanent error of the service centre's own"),
        (0x61, "gave up after: recipient busy"),
        (0x65, "gave up after: error in the recipient's equipment"),
        (0x66, "gave up after a temporary error, reserved"),
        (0x7F, "gave up after a temporary error of the service centre's own"),
        (0x80, "reserved"),
        (0xFF, "reserved"),
    ],
)
def test_title(st: int, title: str) -> None:
    assert report_title(st) == title


def test_every_status_has_a_title() -> None:
    assert all(report_title(st) for st in range(256))
