"""What is encoded comes back, whatever it is."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from modemctl.sms import (
    Address,
    Concat,
    Element,
    Submit,
    UserData,
    decode_gsm7,
    decode_submit,
    encode_gsm7,
    encode_submit,
    is_gsm7,
    n_septets,
    pack,
    plan,
    segment,
    submits,
    unpack,
)
from modemctl.sms.fields import decode_relative, decode_time, encode_time

GSM7_LETTERS = decode_gsm7(bytes(s for s in range(128) if s != 0x1B)) + "\f^{}\\[~]|€"
GSM7_TEXT = st.text(st.sampled_from(GSM7_LETTERS), max_size=700)
ANY_TEXT = st.text(max_size=400)
CLUSTERS = st.lists(
    st.sampled_from(["я", "😀", "👨‍👩‍👧‍👦", "🇩🇪", "e\u0301", "\r\n", "a", "각", "क्षि"]),
    max_size=150,
).map("".join)
TEXTS = st.one_of(GSM7_TEXT, ANY_TEXT, CLUSTERS)
NUMBERS = st.from_regex(r"\+?[0-9*#abc]{1,20}", fullmatch=True)
ZONES = st.integers(-79, 79).map(lambda quarters: timezone(timedelta(minutes=15 * quarters)))
ELEMENTS = st.builds(
    Element,
    iei=st.sampled_from([0x01, 0x04, 0x05, 0x0A, 0x70, 0xC1]),
    data=st.binary(max_size=10),
)


@given(GSM7_TEXT)
def test_gsm7_text_comes_back(text: str) -> None:
    septets = encode_gsm7(text)

    assert is_gsm7(text)
    assert len(septets) == n_septets(text)
    assert decode_gsm7(septets) == text


@given(
    st.binary(max_size=300).map(lambda octets: bytes(o & 0x7F for o in octets)), st.integers(0, 6)
)
def test_septets_come_back(septets: bytes, fill_bits: int) -> None:
    assert unpack(pack(septets, fill_bits=fill_bits), len(septets), fill_bits=fill_bits) == septets


@given(TEXTS, st.booleans())
def test_segments_joined_are_the_text_and_each_fits(text: str, wide: bool) -> None:
    pieces = segment(text, reference=200, wide_reference=wide)

    assert "".join(piece.text for piece in pieces) == text
    assert plan(text, wide_reference=wide).n_segments == len(pieces)
    for message in submits(text, "+4917", reference=200, wide_reference=wide):
        octets = encode_submit(message)
        assert len(octets) <= 164
        assert decode_submit(octets) == message


@given(CLUSTERS)
def test_no_segment_could_take_the_next_cluster_too(text: str) -> None:
    import regex

    pieces = segment(text, reference=1)
    if len(pieces) == 1:
        return
    capacity = 153 if is_gsm7(text) else 67
    for piece, following in pairwise(pieces):
        first = regex.match(r"\X", following.text)
        assert first is not None
        both = piece.text + first[0]
        size = n_septets(both) if is_gsm7(text) else len(both.encode("utf-16-be")) // 2
        assert size > capacity
        # and the cut is where clusters of the whole text meet
    cut = len(pieces[0].text)
    assert cut in [m.end() for m in regex.finditer(r"\X", text)]


@given(
    NUMBERS,
    st.text(st.sampled_from(GSM7_LETTERS), max_size=60),
    st.lists(ELEMENTS, max_size=3),
    st.one_of(
        st.none(),
        st.integers(0, 255).map(decode_relative),
        st.datetimes(
            min_value=datetime(2000, 1, 2),  # noqa: DTZ001  # the zone is drawn beside it
            max_value=datetime(2080, 1, 1),  # noqa: DTZ001
            timezones=ZONES,
        ).map(lambda moment: moment.replace(microsecond=0)),
    ),
    st.tuples(*[st.integers(0, 255)] * 2),
    st.tuples(*[st.booleans()] * 3),
)
def test_submit_comes_back(
    number: str,
    text: str,
    header: list[Element],
    validity: timedelta | datetime | None,
    octets: tuple[int, int],
    flags: tuple[bool, bool, bool],
) -> None:
    message = Submit(
        recipient=Address.dialled(number),
        user_data=UserData(text=text, header=tuple(header)),
        mr=octets[0],
        pid=octets[1],
        validity=validity,
        wants_report=flags[0],
        rejects_duplicates=flags[1],
        has_reply_path=flags[2],
    )

    assert decode_submit(encode_submit(message)) == message


@given(st.binary(max_size=140), st.integers(1, 255), st.data())
def test_octets_come_back(data: bytes, total: int, draw: st.DataObject) -> None:
    sequence = draw.draw(st.integers(1, total))
    concat = Concat(reference=1, total=total, sequence=sequence)
    header = (concat.element,) if len(data) <= 134 else ()
    message = Submit(
        recipient=Address.dialled("1"), user_data=UserData(data=data, header=header), dcs=4
    )

    decoded = decode_submit(encode_submit(message))

    assert decoded == message
    assert decoded.user_data.concat == (concat if header else None)


@given(
    st.datetimes(
        min_value=datetime(1990, 1, 2),  # noqa: DTZ001  # the zone is drawn beside it
        max_value=datetime(2089, 12, 30),  # noqa: DTZ001
        timezones=ZONES,
    )
)
def test_time_comes_back_with_its_offset(moment: datetime) -> None:
    moment = moment.replace(microsecond=0)
    decoded = decode_time(encode_time(moment))

    assert decoded == moment
    assert decoded.utcoffset() == moment.utcoffset()
