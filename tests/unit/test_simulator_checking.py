"""The checker: what the network took against what should have been sent."""

import json
import random
from pathlib import Path

import pytest

from simulator import checking, pdu
from simulator.checking import Comparison, Expected
from simulator.ledger import Fact
from simulator.story.reading import ScenarioError

Line = dict[str, Fact]


def submit(n: int, destination: str, text: str | None, **more: Fact) -> Line:
    plain: Line = {
        "n": n, "kind": "submit", "time": "2026-01-01T00:00:00.000+00:00", "modem": "modem01",
        "iccid": "8986", "from": "+8613800000001", "destination": destination, "text": text,
        "concat": None,
    }  # fmt: skip
    return {**plain, **more}


def segments(first: int, destination: str, text: str, ref: int, **more: Fact) -> list[Line]:
    parts = pdu.segments(text, reference=ref)
    return [
        submit(
            first + index,
            destination,
            part.text,
            concat={"ref": ref, "total": len(parts), "seq": index + 1},
            **more,
        )
        for index, part in enumerate(parts)
    ]


def want(destination: str, text: str, **more: object) -> Expected:
    return Expected(destination=destination, text=text, **more)  # type: ignore[arg-type]


def test_same_set_agrees_whatever_its_order_and_the_numbers_form() -> None:
    lines = [submit(1, "+8613911111111", "a"), submit(2, "13922222222", "中")]
    expected = [want("008613922222222", "中"), want("13911111111", "a")]
    result = checking.compare(lines, expected)
    assert result == Comparison(n_expected=2, n_taken=2)
    assert result.agrees


def test_missing_doubled_and_unexpected_are_named() -> None:
    lines = [submit(1, "1", "a"), submit(2, "1", "a"), submit(3, "2", "x"), submit(4, "3", "c")]
    result = checking.compare(lines, [want("1", "a"), want("2", "b"), want("3", "c")])
    assert not result.agrees
    assert [(m.expected, m.times) for m in result.missing] == [(want("2", "b"), 1)]
    assert [(d.expected, [t.lines for t in d.extra]) for d in result.doubled] == [
        (want("1", "a"), [(2,)])
    ]
    assert [one.lines for one in result.unexpected] == [(3,)]


def test_refused_and_other_lines_do_not_count() -> None:
    lines = [submit(1, "1", "a") | {"kind": kind} for kind in ("refused", "deliver", "report")]
    result = checking.compare(lines, [want("1", "a")])
    assert (result.n_taken, len(result.missing)) == (0, 1)


def test_times_says_how_often() -> None:
    lines = [submit(n, "1", "a") for n in range(3)]
    assert checking.compare(lines, [want("1", "a", times=3)]).agrees
    assert checking.compare(lines, [want("1", "a", times=2), want("1", "a")]).agrees
    short = checking.compare(lines, [want("1", "a", times=5)])
    assert [one.times for one in short.missing] == [2]
    assert checking.compare(lines[:1], [want("1", "a"), want("1", "b", times=0)]).agrees


def test_sender_card_and_modem_are_looked_at_where_given() -> None:
    lines = [submit(1, "1", "a"), submit(2, "1", "a", modem="modem02", iccid="8987")]
    assert checking.compare(lines, [want("1", "a"), want("1", "a", modem="modem01")]).agrees
    assert checking.compare(lines, [want("1", "a", iccid="8987"), want("1", "a")]).agrees
    other = checking.compare(lines, [want("1", "a", sender="13800000009"), want("1", "a")])
    assert [one.expected.sender for one in other.missing] == ["13800000009"]
    assert [one.lines for one in other.doubled[0].extra] == [(2,)]


@pytest.mark.parametrize("text", ["x" * 400, "中" * 200, "a" * 66 + "😀" * 40])
def test_long_texts_are_joined_from_their_segments_in_any_order(text: str) -> None:
    one, other = segments(1, "1", text, 7), segments(11, "1", text + "!", 8)
    mixed = [*one, *other]
    random.Random(5).shuffle(mixed)
    assert checking.compare(mixed, [want("1", text), want("1", text + "!")]).agrees


def test_reference_may_come_again_for_another_message() -> None:
    lines = [*segments(1, "1", "x" * 200, 7), *segments(3, "1", "y" * 200, 7)]
    assert checking.compare(lines, [want("1", "x" * 200), want("1", "y" * 200)]).agrees


def test_same_reference_of_another_card_or_to_another_number_is_another_message() -> None:
    texts = ("x" * 200, "y" * 200, "z" * 200)
    a, b = segments(1, "1", texts[0], 7), segments(3, "1", texts[1], 7, iccid="9")
    c = segments(5, "2", texts[2], 7)
    lines = [line for trio in zip(a, b, c, strict=True) for line in trio]
    expected = [want("1", texts[0]), want("1", texts[1]), want("2", texts[2])]
    assert checking.compare(lines, expected).agrees


def test_segment_that_never_came_is_named() -> None:
    text = "".join(f"{n:04d}" for n in range(110))  # three segments
    lines = segments(1, "1", text, 7)
    del lines[1]
    result = checking.compare(lines, [want("1", text)])
    (lack,) = result.missing
    assert lack.parts is not None
    assert lack.parts.lacks == (2,)
    assert result.unexpected == ()


def test_segment_that_came_twice_is_doubled() -> None:
    text = "".join(f"{n:04d}" for n in range(110))
    lines = segments(1, "1", text, 7)
    result = checking.compare([*lines, lines[1] | {"n": 9}], [want("1", text)])
    assert result.missing == ()
    (double,) = result.doubled
    assert [(one.lines, one.lacks) for one in double.extra] == [((9,), (1, 3))]


def test_eight_bit_data_is_unexpected_not_a_text() -> None:
    result = checking.compare([submit(1, "1", None)], [want("1", "None")])
    assert len(result.missing) == 1
    assert result.unexpected[0].text is None


def test_csv_is_read_with_or_without_a_mark_and_with_line_ends_in_texts(tmp_path: Path) -> None:
    for bom in ("", "\ufeff"):
        path = tmp_path / "expected.csv"
        path.write_text(
            f'{bom}destination,text,times,note,from\r\n1,"a,中\nb",2,x,\r\n2,c,,,13800000001\r\n',
            encoding="utf-8", newline="",
        )  # fmt: skip
        assert checking.load_expected(path) == [
            want("1", "a,中\nb", times=2),
            want("2", "c", sender="13800000001"),
        ]


def test_jsonl_is_read(tmp_path: Path) -> None:
    path = tmp_path / "expected.jsonl"
    rows = [{"destination": "1", "text": "中", "modem": "modem01", "times": 2}, {}]
    path.write_text("\n".join(json.dumps(row) for row in rows[:1]) + "\n\n", encoding="utf-8")
    assert checking.load_expected(path) == [want("1", "中", modem="modem01", times=2)]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("e.csv", "to,text\n1,a\n", r"e\.csv:2: destination: is missing"),
        ("e.csv", "destination,text,times\n1,a,x\n", r'e\.csv:2: times: "x": a whole number'),
        ("e.csv", "destination,text\n1\n", r"e\.csv:2: text: is missing"),
        ("e.jsonl", '{"destination":"1"}\n', r"e\.jsonl:1: text: is missing"),
        ("e.jsonl", "\n[]\n", r"e\.jsonl:2: an object is needed"),
        ("e.jsonl", "{", r"e\.jsonl:1: not JSON"),
        ("e.jsonl", '{"destination":1,"text":"a"}', r"e\.jsonl:1: destination: 1: a text"),
    ],
)
def test_wrong_list_is_told_with_its_line(
    tmp_path: Path, name: str, content: str, said: str
) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ScenarioError, match=said):
        checking.load_expected(path)


def test_ten_thousand_messages_are_compared_at_once() -> None:
    lines = [submit(n, f"+8613{n:09d}", f"text {n}") for n in range(10_000)]
    expected = [want(f"13{n:09d}", f"text {n}") for n in range(1, 10_001)]
    result = checking.compare(lines, expected)
    assert [one.expected.text for one in result.missing] == ["text 10000"]
    assert [one.text for one in result.unexpected] == ["text 0"]
