"""Where texts are cut, and what the counter says before."""

from __future__ import annotations

from datetime import timedelta

import pytest

from modemctl.sms import (
    Alphabet,
    Concat,
    Unencodable,
    encode_submit,
    plan,
    segment,
    submits,
)

FAMILY = "👨‍👩‍👧‍👦"  # one grapheme cluster, 11 UTF-16 units


def texts(text: str, *, wide: bool = False) -> list[str]:
    return [piece.text for piece in segment(text, reference=1, wide_reference=wide)]


@pytest.mark.parametrize(
    ("text", "alphabet", "n_segments", "n_units", "n_left"),
    [
        ("", Alphabet.GSM7, 1, 0, 160),
        ("x" * 160, Alphabet.GSM7, 1, 160, 0),
        ("x" * 161, Alphabet.GSM7, 2, 161, 145),
        ("x" * 306, Alphabet.GSM7, 2, 306, 0),
        ("x" * 307, Alphabet.GSM7, 3, 307, 152),
        ("€" * 80, Alphabet.GSM7, 1, 160, 0),
        ("€" * 81, Alphabet.GSM7, 2, 162, 143),
        ("я" * 70, Alphabet.UCS2, 1, 70, 0),
        ("я" * 71, Alphabet.UCS2, 2, 71, 63),
        ("😀" * 35, Alphabet.UCS2, 1, 70, 0),
        ("😀" * 36, Alphabet.UCS2, 2, 72, 61),
    ],
)
def test_plan_counts_what_segment_cuts(
    text: str, alphabet: Alphabet, n_segments: int, n_units: int, n_left: int
) -> None:
    planned = plan(text)

    assert planned.alphabet is alphabet
    assert (planned.n_segments, planned.n_units, planned.n_units_left) == (
        n_segments,
        n_units,
        n_left,
    )
    assert len(texts(text)) == n_segments
    assert "".join(texts(text)) == text


def test_plan_names_the_characters_that_force_ucs2() -> None:
    planned = plan("Ihr Code – „1234“ – gilt heute")

    assert planned.forcing == ("–", "„", "“")
    assert planned.alphabet is Alphabet.UCS2
    assert plan("Ihr Code: 1234").forcing == ()


def test_wide_reference_leaves_one_unit_less() -> None:
    assert [len(t) for t in texts("x" * 304, wide=True)] == [152, 152]
    assert plan("x" * 305, wide_reference=True).n_segments == 3
    assert [len(t) for t in texts("я" * 132, wide=True)] == [66, 66]


def test_single_segment_has_no_header() -> None:
    (piece,) = segment("x" * 160, reference=9)

    assert piece.concat is None
    assert piece.header == ()


def test_segments_are_numbered_under_one_reference() -> None:
    pieces = segment("x" * 400, reference=9)

    assert [p.concat for p in pieces] == [
        Concat(reference=9, total=3, sequence=n) for n in (1, 2, 3)
    ]


def test_escape_and_its_character_stay_together() -> None:
    first, second = texts("x" * 152 + "€" + "y" * 10)

    assert first == "x" * 152
    assert second == "€" + "y" * 10


def test_surrogate_pair_stays_together() -> None:
    first, second = texts("я" * 66 + "😀" + "я" * 10)

    assert first == "я" * 66
    assert second == "😀" + "я" * 10


def test_grapheme_cluster_stays_whole_where_a_segment_can_hold_it() -> None:
    first, second = texts("я" * 60 + FAMILY + "я" * 20)

    assert first == "я" * 60
    assert second == FAMILY + "я" * 20


def test_line_end_of_two_characters_stays_whole() -> None:
    first, second = texts("x" * 152 + "\r\n" + "y" * 10)

    assert first == "x" * 152
    assert second == "\r\n" + "y" * 10


def test_cluster_larger_than_a_segment_is_cut_between_code_points() -> None:
    zalgo = "e" + "\u0301" * 100
    pieces = texts("я" * 10 + zalgo)

    assert [len(p) for p in pieces] == [67, 44]
    assert "".join(pieces) == "я" * 10 + zalgo
    chain = "😀" + "\u200d😀" * 50
    assert "".join(texts(chain)) == chain
    assert all(p.encode() for p in texts(chain))


def test_more_than_255_segments_are_refused_and_255_are_not() -> None:
    assert len(texts("x" * 153 * 255)) == 255
    for text in ("x" * (153 * 255 + 1), "я" * 67 * 256, "x" * 10_000_000):
        with pytest.raises(Unencodable, match="at most 255"):
            plan(text)
    # Fits by its units alone, but the escapes leave a septet free in each segment.
    with pytest.raises(Unencodable, match="at most 255"):
        plan("€" * (153 * 255 // 2))


@pytest.mark.parametrize("text", ["\ud83d", "a\ude00", "\ud83d" * 80, "я" * 80 + "\ude00"])
def test_half_a_surrogate_pair_is_refused(text: str) -> None:
    with pytest.raises(Unencodable, match="surrogate"):
        plan(text)
    with pytest.raises(Unencodable, match="surrogate"):
        segment(text, reference=1)


@pytest.mark.parametrize(("reference", "wide"), [(256, False), (-1, False), (65536, True)])
def test_reference_that_has_no_room_is_refused(reference: int, *, wide: bool) -> None:
    with pytest.raises(Unencodable, match="reference"):
        segment("x", reference=reference, wide_reference=wide)


def test_alphabet_can_be_chosen_where_the_text_allows_it() -> None:
    assert segment("abc", reference=1, encoding=Alphabet.UCS2)[0].alphabet is Alphabet.UCS2
    assert segment("abc", reference=1, encoding=Alphabet.GSM7)[0].alphabet is Alphabet.GSM7
    assert segment("я", reference=1, encoding=Alphabet.UCS2)[0].alphabet is Alphabet.UCS2
    with pytest.raises(Unencodable):
        segment("я", reference=1, encoding=Alphabet.GSM7)
    with pytest.raises(Unencodable):
        segment("abc", reference=1, encoding=Alphabet.EIGHT_BIT)


def test_submits_carry_class_validity_report_and_no_reference() -> None:
    messages = submits(
        "я" * 100,
        "+491712345678",
        reference=300,
        validity=timedelta(hours=24),
        report=True,
        sms_class=0,
        wide_reference=True,
    )

    assert len(messages) == 2
    assert {m.mr for m in messages} == {0}
    assert {m.dcs for m in messages} == {0x18}
    assert all(m.wants_report and m.validity == timedelta(hours=24) for m in messages)
    assert [len(encode_submit(m)) for m in messages] == [13 + 139 + 1, 13 + 7 + 68 + 1]


def test_submit_of_a_short_text_is_the_vector_e1() -> None:
    (message,) = submits(
        "hello world", "+491712345678", reference=7, validity=timedelta(hours=24), report=True
    )

    assert (
        encode_submit(message).hex().upper() == "31000C919471214365870000A70BE8329BFD06DDDF723619"
    )


def test_text_does_not_show_in_a_repr() -> None:
    assert "Geheim" not in repr(segment("Geheim", reference=1))
    assert "ж" not in repr(plan("Geheim ж"))
