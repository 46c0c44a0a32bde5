"""TP-VP in all its forms: at-dialects §5.2, TS 23.040 §9.2.3.12."""

from datetime import UTC, datetime, timedelta

import pytest

from simulator import pdu
from simulator.network import validity
from simulator.network.validity import Validity
from tests.support.closed_world import submit_tpdu

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def asked(octets: bytes, vpf: int) -> Validity:
    tpdu = submit_tpdu("+8613900000001", validity=octets, vpf=vpf)
    return validity.read(pdu.decode_submit(tpdu), NOW)


@pytest.mark.parametrize(
    ("octet", "length"),
    [
        (0x00, timedelta(minutes=5)),
        (0x0B, HOUR),
        (0x8F, 12 * HOUR),
        (0x90, timedelta(hours=12, minutes=30)),
        (0xA7, 24 * HOUR),
        (0xA8, timedelta(days=2)),
        (0xAD, timedelta(days=7)),
        (0xC4, timedelta(days=30)),
        (0xC5, timedelta(weeks=5)),
        (0xFF, timedelta(weeks=63)),
    ],
)
def test_relative_octet(octet: int, length: timedelta) -> None:
    assert asked(bytes((octet,)), 2) == Validity(until=NOW + length)


def test_absolute_time_keeps_its_zone() -> None:
    until = datetime(2026, 11, 23, 1, 2, 3, tzinfo=UTC)
    zoned = until.astimezone(tz=datetime.strptime("+0800", "%z").tzinfo)
    assert asked(pdu.timestamp(zoned), 3).until == until


@pytest.mark.parametrize(
    ("octets", "length", "single_shot"),
    [
        ("00000000000000", None, False),
        ("01A70000000000", 24 * HOUR, False),
        ("022A0000000000", timedelta(seconds=42), False),
        ("03215430000000", timedelta(hours=12, minutes=45, seconds=3), False),
        ("40000000000000", None, True),
        ("42050000000000", timedelta(seconds=5), True),
        ("82000500000000", timedelta(seconds=5), False),
    ],
)
def test_enhanced_form(octets: str, length: timedelta | None, single_shot: bool) -> None:
    found = asked(bytes.fromhex(octets), 1)
    assert found.single_shot is single_shot
    assert found.until == (None if length is None else NOW + length)


@pytest.mark.parametrize(("octets", "vpf"), [("FFFFFFFFFFFFFF", 3), ("03AAAAAA000000", 1)])
def test_senseless_octets_name_no_time_or_a_time(octets: str, vpf: int) -> None:
    found = asked(bytes.fromhex(octets), vpf)
    assert found.until is None or found.until > NOW


def test_the_centre_has_a_default_and_a_clip() -> None:
    def end(octets: bytes, vpf: int) -> timedelta:
        return validity.end(asked(octets, vpf), NOW, default=7200.0, most=86400.0) - NOW

    assert end(b"", 0) == 2 * HOUR
    assert end(b"\x0b", 2) == HOUR
    assert end(b"\xff", 2) == 24 * HOUR
    past = pdu.timestamp(NOW - HOUR)
    assert end(past, 3) == timedelta()
