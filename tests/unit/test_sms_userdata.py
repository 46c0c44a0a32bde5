"""User data headers and what stands behind them."""

from __future__ import annotations

import pytest

from modemctl.sms import (
    Concat,
    Element,
    MalformedTpdu,
    Ports,
    Unencodable,
    UserData,
    decode_dcs,
)
from modemctl.sms.userdata import decode_user_data, encode_user_data


def read(hexadecimal: str, *, dcs: int = 0x04, has_header: bool = True) -> UserData:
    octets = bytes.fromhex(hexadecimal)
    return decode_user_data(octets[0], octets[1:], encoding=decode_dcs(dcs), has_header=has_header)


@pytest.mark.parametrize(
    "concat",
    [
        Concat(reference=0, total=1, sequence=1),
        Concat(reference=255, total=255, sequence=255),
        Concat(reference=65535, total=2, sequence=1, is_wide=True),
    ],
)
def test_concatenation_comes_back(concat: Concat) -> None:
    content = UserData(text="Hallo", header=(concat.element,))
    octets = encode_user_data(content, decode_dcs(0))

    decoded = read(octets.hex(), dcs=0)
    assert decoded == content
    assert decoded.concat == concat


@pytest.mark.parametrize(
    "concat",
    [
        Concat(reference=256, total=1, sequence=1),
        Concat(reference=-1, total=1, sequence=1),
        Concat(reference=65536, total=1, sequence=1, is_wide=True),
        Concat(reference=1, total=256, sequence=1),
        Concat(reference=1, total=2, sequence=0),
        Concat(reference=1, total=2, sequence=3),
    ],
)
def test_impossible_concatenation_is_not_written(concat: Concat) -> None:
    with pytest.raises(Unencodable):
        _ = concat.element


@pytest.mark.parametrize(
    "element",
    ["0003010200", "0003010203", "00030100 00", "000201 02", "0803010201", "08040101 0200"],
)
def test_impossible_concatenation_is_read_as_a_single_message(element: str) -> None:
    octets = bytes.fromhex(element)
    header = bytes((len(octets),)) + octets
    content = read((bytes((len(header) + 1,)) + header + b"x").hex())

    assert content.concat is None
    assert content.header == (Element(iei=octets[0], data=octets[2:]),)
    assert content.data == b"x"


def test_last_of_several_concatenations_holds() -> None:
    content = read("0C" + "0B" + "00030A0201" + "0804 0102 0403".replace(" ", ""))

    assert content.concat == Concat(reference=0x0102, total=4, sequence=3, is_wide=True)


def test_impossible_last_concatenation_leaves_the_one_before() -> None:
    assert read("0B" + "0A" + "00030A0201" + "00030A0209").concat == Concat(
        reference=10, total=2, sequence=1
    )


@pytest.mark.parametrize(
    ("element", "ports"),
    [
        ("0402F5F0", Ports(destination=0xF5, source=0xF0)),
        ("05040B8423F0", Ports(destination=2948, source=9200)),
        ("0401F5", None),
        ("0502F5F0", None),
        ("0A0400000000", None),
    ],
)
def test_ports(element: str, ports: Ports | None) -> None:
    octets = bytes.fromhex(element)

    assert read((bytes((len(octets) + 1, len(octets))) + octets).hex()).ports == ports


def test_unknown_elements_are_kept_raw_in_order() -> None:
    content = read("0C" + "0A" + "700201FF" + "C100" + "0A020003" + "41")

    assert content.header == (
        Element(iei=0x70, data=b"\x01\xff"),
        Element(iei=0xC1, data=b""),
        Element(iei=0x0A, data=b"\x00\x03"),
    )
    assert content.data == b"A"


@pytest.mark.parametrize("header", ["03000502", "0100", "04000102 70".replace(" ", ""), "020102"])
def test_header_whose_last_element_does_not_end_with_it_is_ignored(header: str) -> None:
    octets = bytes.fromhex(header)
    content = read((bytes((len(octets) + 2,)) + octets + b"Hi").hex())

    assert content.header == ()
    assert content.data == b"Hi"


@pytest.mark.parametrize(
    ("octets", "dcs"),
    [("00", 0x00), ("00", 0x04), ("02FF00", 0x04), ("03050003", 0x00), ("01050003", 0x00)],
)
def test_header_longer_than_the_user_data_is_malformed(octets: str, dcs: int) -> None:
    with pytest.raises(MalformedTpdu):
        read(octets, dcs=dcs)


def test_header_that_ends_inside_the_last_octet_of_the_septets_is_malformed() -> None:
    # Six octets of header are seven septets; six septets fill six octets, but hold no header.
    with pytest.raises(MalformedTpdu):
        read("06" + "050003010201", dcs=0)


@pytest.mark.parametrize(("udl", "dcs"), [(161, 0x00), (255, 0x00), (141, 0x04), (141, 0x08)])
def test_more_user_data_than_a_tpdu_holds_is_malformed(udl: int, dcs: int) -> None:
    with pytest.raises(MalformedTpdu, match="longer than 140"):
        decode_user_data(udl, bytes(300), encoding=decode_dcs(dcs), has_header=False)


@pytest.mark.parametrize("n_octets", range(7))
def test_text_starts_right_behind_any_header_length(n_octets: int) -> None:
    content = UserData(text="Hällo @", header=(Element(iei=0x70, data=bytes(n_octets)),))

    assert read(encode_user_data(content, decode_dcs(0)).hex(), dcs=0) == content


def test_final_at_sign_and_spare_septet_are_told_apart_by_the_length() -> None:
    for text in ("ABCDEFG", "ABCDEFG@"):
        octets = encode_user_data(UserData(text=text), decode_dcs(0))
        assert read(octets.hex(), dcs=0, has_header=False).text == text


@pytest.mark.parametrize(
    ("octets", "text"),
    [("00480069", "Hi"), ("0048D83D", "H\ufffd"), ("DE000048", "\ufffdH"), ("004800", "H\ufffd")],
)
def test_broken_ucs2_shows_a_replacement_and_can_be_stored(octets: str, text: str) -> None:
    content = read(f"{len(octets) // 2:02X}{octets}", dcs=0x08, has_header=False)

    assert content.text == text
    assert content.text.encode()
    assert content.ucs2 == bytes.fromhex(octets)


def test_compressed_text_is_kept_as_octets() -> None:
    content = read("03AABBCC", dcs=0x28, has_header=False)

    assert content.text is None
    assert content.data == b"\xaa\xbb\xcc"
