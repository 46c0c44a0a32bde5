"""Addresses, times, validity periods."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from modemctl.sms import MAX_VALIDITY, MIN_VALIDITY, Address, MalformedTpdu, Unencodable
from modemctl.sms.fields import (
    Reader,
    decode_relative,
    decode_time,
    encode_address,
    encode_relative,
    encode_time,
    read_address,
)


def read(hexadecimal: str) -> Address:
    return read_address(Reader(bytes.fromhex(hexadecimal)), "the address")


@pytest.mark.parametrize(
    ("dialled", "octets"),
    [
        ("+491712345678", "0C91947121436587"),
        ("01712345678", "0B811017325476F8"),
        ("00491701234567", "0E8100947110325476"),
        ("*100#", "05811A00FB"),
        ("12*#abc", "078121BADCFE"),
    ],
)
def test_dialled_number_has_these_octets(dialled: str, octets: str) -> None:
    assert encode_address(Address.dialled(dialled)).hex().upper() == octets
    assert read(octets).text == dialled


@pytest.mark.parametrize(
    "text", ["", "+", "+49 170", "0170-12", "1" * 21, "+" + "1" * 21, "++1", "1\n", "١٢٣", "12d"]
)
def test_what_cannot_be_dialled_is_refused(text: str) -> None:
    with pytest.raises(Unencodable) as caught:
        Address.dialled(text)
    assert len(text) < 2 or text not in str(caught.value)


def test_twenty_digits_are_the_most() -> None:
    assert read(encode_address(Address.dialled("+" + "9" * 20)).hex()).text == "+" + "9" * 20


def test_name_of_seven_letters_takes_thirteen_semi_octets() -> None:
    octets = encode_address(Address(number="Telekom", ton=5, npi=0))

    assert octets.hex().upper() == "0DD0D432BBBC7EB701"
    assert read("0DD0D432BBBC7EB701") == Address(number="Telekom", ton=5, npi=0)
    assert read("0ED0D432BBBC7EB701").number == "Telekom"
    assert read("0DD0D432BBBC7EB701").is_alphanumeric
    assert not read("0C91947121436587").is_alphanumeric


def test_name_of_eight_letters_keeps_its_last() -> None:
    name = Address(number="Guthaben", ton=5, npi=0)

    assert read(encode_address(name).hex()) == name


@pytest.mark.parametrize("name", ["a", "ab", "ABC", "Info", "ÄÖ€", "Elf Zeichen"])
def test_names_of_every_length(name: str) -> None:
    assert read(encode_address(Address(number=name, ton=5, npi=0)).hex()).number == name


def test_empty_address_and_inner_filler_are_read() -> None:
    assert read("0081").number == ""
    assert read("04811FF2").number == "12"


def test_address_longer_than_twenty_semi_octets_is_malformed() -> None:
    with pytest.raises(MalformedTpdu, match="the address longer than 20"):
        read("1591" + "11" * 11)


@pytest.mark.parametrize(
    ("octets", "iso"),
    [
        ("62111222436540", "2026-11-21T22:34:56+01:00"),
        ("6211122243650A", "2026-11-21T22:34:56-05:00"),
        ("62111222436500", "2026-11-21T22:34:56+00:00"),
        ("62111222436521", "2026-11-21T22:34:56+03:00"),
        ("6211122243654A", "2026-11-21T22:34:56-06:00"),
        ("62111222436532", "2026-11-21T22:34:56+05:45"),
        ("62111222436580", "2026-11-21T22:34:56+02:00"),
        ("99211332959500", "1999-12-31T23:59:59+00:00"),
        ("00000000000000", None),
        ("FFFFFFFFFFFFFF", None),
        ("6A111222436540", None),
        ("621112224365A0", None),
    ],
)
def test_time_keeps_its_offset_or_is_none(octets: str, iso: str | None) -> None:
    moment = decode_time(bytes.fromhex(octets))

    assert (moment and moment.isoformat()) == iso


@pytest.mark.parametrize("minutes", [0, 15, 60, 345, 840, -15, -300, -720, 1185, -1185])
def test_time_comes_back_with_its_offset(minutes: int) -> None:
    moment = datetime(2026, 3, 4, 5, 6, 7, tzinfo=timezone(timedelta(minutes=minutes)))

    assert str(decode_time(encode_time(moment))) == str(moment)


@pytest.mark.parametrize(
    "offset", [timedelta(minutes=7), timedelta(hours=20), timedelta(hours=-20)]
)
def test_offset_that_the_field_cannot_hold_becomes_utc(offset: timedelta) -> None:
    moment = datetime(2026, 3, 4, 5, 6, 7, tzinfo=timezone(offset))

    decoded = decode_time(encode_time(moment))

    assert decoded == moment
    assert decoded.utcoffset() == timedelta(0)


@pytest.mark.parametrize("year", [1989, 2090])
def test_year_that_two_digits_cannot_tell_is_refused(year: int) -> None:
    with pytest.raises(Unencodable):
        encode_time(datetime(year, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("octet", "period"),
    [
        (0, timedelta(minutes=5)),
        (11, timedelta(hours=1)),
        (143, timedelta(hours=12)),
        (144, timedelta(hours=12, minutes=30)),
        (167, timedelta(hours=24)),
        (168, timedelta(days=2)),
        (196, timedelta(days=30)),
        (197, timedelta(weeks=5)),
        (255, timedelta(weeks=63)),
    ],
)
def test_relative_validity_octets(octet: int, period: timedelta) -> None:
    assert decode_relative(octet) == period
    assert encode_relative(period) == octet


def test_relative_validity_is_the_longest_that_does_not_outlast_the_wish() -> None:
    periods = [decode_relative(octet) for octet in range(256)]
    assert periods == sorted(set(periods))
    for octet, period in enumerate(periods):
        assert encode_relative(period) == octet
        assert encode_relative(period + timedelta(seconds=1)) == octet
        if octet:
            assert encode_relative(period - timedelta(seconds=1)) == octet - 1


def test_relative_validity_is_clamped() -> None:
    assert decode_relative(encode_relative(timedelta(seconds=1))) == MIN_VALIDITY
    assert decode_relative(encode_relative(timedelta(days=9999))) == MAX_VALIDITY


@pytest.mark.parametrize("validity", [timedelta(0), timedelta(seconds=-1), timedelta.min])
def test_validity_that_is_not_positive_is_refused(validity: timedelta) -> None:
    with pytest.raises(Unencodable):
        encode_relative(validity)
