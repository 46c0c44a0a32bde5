"""The simulator's own codec. Vectors: at-dialects §5.5 (checked there by foreign decoders)."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator import alphabet, pdu
from simulator.pdu import Coding, Concat, PduError

GSM_LETTERS = (
    "".join(char for char in map(chr, range(0x20, 0x3AA)) if alphabet.fits_gsm7(char)) + "€\n"
)
CET = timezone(timedelta(hours=1))


def tpdu(text: str) -> bytes:
    return pdu.split_pdu(bytes.fromhex(text))[1]


SUBMITS = {
    "E1": (
        "0031000C919471214365870000A70BE8329BFD06DDDF723619",
        24,
        "+491712345678",
        "hello world",
        None,
    ),
    "E2": (
        "0011000C919471214365870008FF10041F04400438043204350442002020AC",
        30,
        "+491712345678",
        "Привет €",
        None,
    ),
    "E3": ("0011000C919471214365870000AA08E14D7983126F52", 21, "+491712345678", "a€{b}", None),
    "E4b": (
        "0041000C91947121436587000036050003970202F2F97C3E9FCFE7F3F97C3E9FCFE7F3F97C3E9FCFE7F3F97C"
        "3E9FCFE7F3F97C3E9FCFE7F3F97C3E9FCF03",
        61,
        "+491712345678",
        "y" * 47,
        Concat(reference=0x97, total=2, sequence=2),
    ),
    "E5": (
        "0041000C9194712143658700081106080412340202006F006B0020D83DDE00",
        30,
        "+491712345678",
        "ok 😀",
        Concat(reference=0x1234, total=2, sequence=2),
    ),
    "E6": ("0001000A8110325476980010064676788E0E01", 18, "0123456789", "Flash!", None),
    "E7": ("0041000C919471214365870004090605040B8423F00106", 22, "+491712345678", None, None),
    "E14": (
        "0019000C919471214365870000621103210000400361F11C",
        23,
        "+491712345678",
        "abs",
        None,
    ),
}


@pytest.mark.parametrize(
    ("octets", "length", "number", "text", "concat"), SUBMITS.values(), ids=SUBMITS
)
def test_submit_vector_reads_as_stated_and_writes_back(
    octets: str, length: int, number: str, text: str | None, concat: Concat | None
) -> None:
    body = tpdu(octets)
    assert len(body) == length
    submit = pdu.decode_submit(body)
    assert submit.destination.number == number
    assert submit.data.text == text
    assert submit.data.concat == concat
    assert pdu.encode_submit(submit) == body


def test_report_wish_is_bit_five_of_the_first_octet() -> None:
    assert pdu.decode_submit(tpdu(SUBMITS["E1"][0])).wants_report
    assert not pdu.decode_submit(tpdu(SUBMITS["E2"][0])).wants_report


def test_first_of_two_segments_holds_153_letters() -> None:
    # E4a: its text is 153 × x behind one fill bit.
    first, second = pdu.segments("x" * 153 + "y" * 47, reference=0x97)
    assert first.octets[:7] == bytes.fromhex("050003970201F0")
    assert (first.length, first.text) == (160, "x" * 153)
    assert second.octets == tpdu(SUBMITS["E4b"][0])[-len(second.octets) :]


def test_turkish_single_shift_vector_shows_base_letters() -> None:
    # E8, table 24,1 is not known to this codec: as gammu does, the base letters are shown.
    octets = "0041000C919471214365870000" + "0B03240101486EE69BF41A"
    data = pdu.decode_submit(tpdu(octets)).data
    assert data.text == "Isik"


DELIVERS = {
    "E9": (
        "0791947101670000040DD0D432BBBC7EB7010000621112224365400DC73A1D1D1697DD3A506D5306",
        32,
        "Telekom",
        datetime(2026, 11, 21, 22, 34, 56, tzinfo=CET),
        "Guthaben: 5€",
    ),
    "E10": (
        "0791947101670000040B811017325476F800006210203040500A0741E19058341E01",
        26,
        "01712345678",
        datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=-5))),
        "ABCDEFG",
    ),
    "E15": (
        "0791947101670000040C9194712143658700C862111222436540053190BB7C07",
        24,
        "+491712345678",
        datetime(2026, 11, 21, 22, 34, 56, tzinfo=CET),
        "1 new",
    ),
}


@pytest.mark.parametrize(
    ("octets", "length", "origin", "scts", "text"), DELIVERS.values(), ids=DELIVERS
)
def test_deliver_vector_reads_as_stated_and_writes_back(
    octets: str, length: int, origin: str, scts: datetime, text: str
) -> None:
    body = tpdu(octets)
    assert len(body) == length
    deliver = pdu.decode_deliver(body)
    assert (deliver.origin.number, deliver.scts, deliver.data.text) == (origin, scts, text)
    assert deliver.scts.utcoffset() == scts.utcoffset()
    assert pdu.encode_deliver(deliver) == body


REPORTS = {
    "E11": (
        "0791947101670000062A0C91947121436587621112224365406211122253604000",
        42,
        0x00,
        datetime(2026, 11, 21, 22, 35, 6, tzinfo=CET),
    ),
    "E12": (
        "079194710167000006FF0C91947121436587621112224365406211122204004021",
        255,
        0x21,
        datetime(2026, 11, 21, 22, 40, 0, tzinfo=CET),
    ),
    "E13": (
        "079194710167000006000C91947121436587621112224365406211222253004046",
        0,
        0x46,
        datetime(2026, 11, 22, 22, 35, 0, tzinfo=CET),
    ),
}


@pytest.mark.parametrize(("octets", "mr", "status", "discharged"), REPORTS.values(), ids=REPORTS)
def test_report_vector_reads_as_stated_and_writes_back(
    octets: str, mr: int, status: int, discharged: datetime
) -> None:
    body = tpdu(octets)
    assert len(body) == 25
    report = pdu.decode_status_report(body)
    assert (report.mr, report.st, report.discharged) == (mr, status, discharged)
    assert report.recipient.number == "+491712345678"
    assert pdu.encode_status_report(report) == body


def test_service_centre_counts_octets_and_addresses_count_digits() -> None:
    assert pdu.service_centre("+491710760000").hex().upper() == "0791947101670000"
    assert pdu.address("+491712345678").octets.hex().upper() == "0C91947121436587"
    assert pdu.address("01712345678").octets.hex().upper() == "0B811017325476F8"
    assert pdu.address("Telekom").octets.hex().upper() == "0DD0D432BBBC7EB701"


@pytest.mark.parametrize(
    ("dcs", "coding", "klass"),
    [
        (0x00, Coding.GSM7, None),
        (0x04, Coding.DATA, None),
        (0x08, Coding.UCS2, None),
        (0x10, Coding.GSM7, 0),
        (0x12, Coding.GSM7, 2),
        (0x18, Coding.UCS2, 0),
        (0xC8, Coding.GSM7, None),
        (0xE0, Coding.UCS2, None),
        (0xF0, Coding.GSM7, 0),
        (0xF6, Coding.DATA, 2),
    ],
)
def test_data_coding_scheme_names_alphabet_and_class(
    dcs: int, coding: Coding, klass: int | None
) -> None:
    assert (pdu.coding(dcs), pdu.message_class(dcs)) == (coding, klass)


@given(text=st.text(st.sampled_from(GSM_LETTERS), max_size=700))
def test_gsm_text_survives_segments(text: str) -> None:
    parts = pdu.segments(text, reference=7)
    assert "".join(part.text or "" for part in parts) == text
    assert all(len(part.octets) <= 140 for part in parts)
    assert all(part.dcs == 0 for part in parts)


@given(text=st.text(max_size=300))
def test_any_text_survives_and_no_character_is_cut(text: str) -> None:
    parts = pdu.segments(text, reference=7, dcs=8)
    texts = [part.text or "" for part in parts]
    assert "".join(texts) == text
    assert all(len(part.octets) <= 140 for part in parts)
    if len(parts) > 1:
        numbers = [part.concat.sequence for part in parts if part.concat]
        assert numbers == list(range(1, len(parts) + 1))


@given(septets=st.lists(st.integers(0, 127), max_size=160).map(bytes), fill=st.integers(0, 6))
def test_packing_is_undone_by_unpacking(septets: bytes, fill: int) -> None:
    packed = alphabet.pack(septets, fill_bits=fill)
    assert len(packed) == -(-(7 * len(septets) + fill) // 8)
    assert alphabet.unpack(packed, len(septets), skip_bits=fill) == septets


@given(
    moment=st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31)),  # noqa: DTZ001
    quarters=st.integers(-48, 56),
)
def test_timestamps_keep_moment_and_zone(moment: datetime, quarters: int) -> None:
    zone = timezone(timedelta(minutes=15 * quarters))
    aware = moment.replace(microsecond=0, tzinfo=zone)
    report = pdu.StatusReport(mr=0, recipient=pdu.address("1"), scts=aware, discharged=aware, st=0)
    read = pdu.decode_status_report(pdu.encode_status_report(report))
    assert read.scts == aware
    assert read.scts.utcoffset() == aware.utcoffset()


@given(octets=st.binary(max_size=180))
def test_any_octets_decode_or_raise_the_one_error(octets: bytes) -> None:
    for decode in (pdu.decode_submit, pdu.decode_deliver, pdu.decode_status_report):
        try:
            decoded = decode(octets)
        except PduError:
            continue
        if isinstance(decoded, pdu.Submit):
            assert pdu.encode_submit(decoded) == octets


@given(data=st.data())
def test_a_cut_submit_is_refused(data: st.DataObject) -> None:
    body = tpdu(SUBMITS["E1"][0])
    cut = data.draw(st.integers(0, len(body) - 1))
    with pytest.raises(PduError):
        pdu.decode_submit(body[:cut])


def test_octets_left_over_are_refused() -> None:
    with pytest.raises(PduError, match="TP-UDL"):
        pdu.decode_submit(tpdu(SUBMITS["E1"][0]) + b"\x00")


def test_concatenation_of_senseless_numbers_is_none() -> None:
    for header in ("0500030103 04", "0500030103 00"):
        octets = bytes.fromhex(header) + b"ab"
        data = pdu.UserData(dcs=4, has_header=True, length=len(octets), octets=octets)
        assert data.concat is None


@pytest.mark.parametrize("number", ["", "+1" * 11, "a name too long", "名"])
def test_impossible_address_is_refused(number: str) -> None:
    with pytest.raises(PduError):
        pdu.address(number)


def test_utc_is_zone_zero() -> None:
    assert pdu.timestamp(datetime(2026, 11, 21, 22, 34, 56, tzinfo=UTC)).hex() == "62111222436500"


@pytest.mark.parametrize("dcs", [-1, 256])
def test_a_data_coding_scheme_is_one_octet(dcs: int) -> None:
    with pytest.raises(pdu.PduError, match="one octet"):
        pdu.segments("x", reference=1, dcs=dcs)


@given(st.text("0123456789*#abc", min_size=1, max_size=20))
def test_an_address_of_digits_survives_the_wire(digits: str) -> None:
    submit = pdu.decode_submit(
        bytes((0x01, 0)) + pdu.address(digits).octets + bytes((0, 0x04, 1, 0x41))
    )
    assert submit.destination == pdu.address(digits)
    assert submit.destination.number == digits


def test_a_filler_among_the_digits_is_no_address() -> None:
    with pytest.raises(pdu.PduError, match="filler"):
        pdu.decode_submit(bytes.fromhex("010004812F43000401FF"))
