"""Septets, tables and their packing."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from modemctl.sms import (
    Unencodable,
    decode_gsm7,
    encode_gsm7,
    forcing_characters,
    is_gsm7,
    n_septets,
    pack,
    pack_ussd,
    unpack,
    unpack_ussd,
)

USSD = tomllib.loads(
    (Path(__file__).parent.parent / "vectors" / "sms" / "tpdus.toml").read_text("utf-8")
)["ussd"]


def test_section_sign_is_in_the_alphabet_and_backtick_is_not() -> None:
    assert encode_gsm7("§") == b"\x5f"
    assert not is_gsm7("`")


@pytest.mark.parametrize("text", ["`", "ç", "\t", "\x1b", "ÿ", "я", "😀", "a\x00"])
def test_character_outside_the_alphabet_is_refused(text: str) -> None:
    assert not is_gsm7(text)
    with pytest.raises(Unencodable) as caught:
        encode_gsm7(text)
    assert text not in str(caught.value)
    with pytest.raises(Unencodable):
        n_septets(text)


@pytest.mark.parametrize("char", "\f^{}\\[~]|€")
def test_extension_character_takes_two_septets(char: str) -> None:
    assert n_septets(f"a{char}b") == 4
    assert encode_gsm7(char)[0] == 0x1B
    assert decode_gsm7(encode_gsm7(char)) == char


def test_forcing_characters_are_distinct_and_in_order() -> None:
    assert forcing_characters("Preis: 5 € – für „alle“ – 😀") == ("–", "„", "“", "😀")
    assert forcing_characters("plain") == ()


@pytest.mark.parametrize(
    ("septets", "text"),
    [
        (b"A\x1bAB", "AAB"),
        (b"A\x1b", "A "),
        (b"A\x1b\x1bB", "A B"),
        (b"A\x1b\x1b", "A "),
        (b"\x1b\x1b\x1be", " €"),
        (b"\x1b\x0d", "\r"),
        (b"\x00", "@"),
        (b"", ""),
    ],
)
def test_escapes_never_lose_a_character(septets: bytes, text: str) -> None:
    assert decode_gsm7(septets) == text


@pytest.mark.parametrize(
    ("septets", "locking", "single", "text"),
    [
        (b"Ya\x0cmur", 1, 0, "Yağmur"),
        (b"I\x1bs\x1bik", 0, 1, "Işık"),
        (b"\x1ba", 0, 2, "á"),
        (b"\x5b", 3, 0, "Ã"),
        (b"\x14\x47", 6, 0, "औळ"),
        (b"\x0e", 4, 0, " "),  # a septet without a character
        (b"\x1b\x0e", 4, 2, " "),  # in neither table
        (b"\x60", 2, 0, "¿"),  # Spanish has no locking table
        (b"\x60\x1be", 14, 255, "¿€"),  # reserved languages
    ],
)
def test_national_tables(septets: bytes, locking: int, single: int, text: str) -> None:
    assert decode_gsm7(septets, locking=locking, single_shift=single) == text


def test_national_text_is_encoded_by_its_tables() -> None:
    assert encode_gsm7("Işık", single_shift=1) == b"I\x1bs\x1bik"
    assert encode_gsm7("ığ€", locking=1, single_shift=1) == b"\x07\x0c\x04"


@pytest.mark.parametrize("fill_bits", range(7))
def test_packed_septets_come_back_behind_any_fill(fill_bits: int) -> None:
    for n in range(34):
        septets = bytes((31 * i + n) % 128 for i in range(n))
        octets = pack(septets, fill_bits=fill_bits)

        assert len(octets) == (7 * n + fill_bits + 7) // 8
        assert unpack(octets, n, fill_bits=fill_bits) == septets
        assert unpack(octets + b"\xff" * 9, n, fill_bits=fill_bits) == septets


def test_first_septet_stands_lowest() -> None:
    assert pack(b"hello world").hex().upper() == "E8329BFD06DDDF723619"


def test_too_few_octets_are_refused() -> None:
    with pytest.raises(ValueError, match="fewer octets"):
        unpack(b"\x00" * 6, 7)


@pytest.mark.parametrize("vector", USSD, ids=lambda vector: vector["text"])
def test_ussd_vector(vector: dict[str, str]) -> None:
    assert pack_ussd(vector["text"]).hex().upper() == vector["octets"]
    assert unpack_ussd(bytes.fromhex(vector["octets"])) == vector["text"]


def test_ussd_text_that_ends_in_a_wanted_cr_keeps_one() -> None:
    assert unpack_ussd(pack_ussd("1234567\r")).rstrip("\r") == "1234567"
    assert unpack_ussd(pack_ussd("1234567\r")).endswith("\r")
    assert unpack_ussd(pack_ussd("")) == ""
    assert unpack_ussd(pack_ussd("1234567@")) == "1234567@"
