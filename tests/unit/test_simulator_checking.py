"""The checker: what the network took against what should have been sent."""

import csv
import itertools
import json
import random
from pathlib import Path

import pytest

from simulator import checking, pdu
from simulator.checking import Comparison, Expected
from simulator.ledger import Fact
from simulator.reading import ScenarioError

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


def want(
    destination: str,
    text: str,
    *,
    iccid: str = "",
    modem: str = "",
    times: int = 1,
    sender: str = "",
) -> Expected:
    return Expected(
        destination=destination, text=text, sender=sender, iccid=iccid, modem=modem, times=times
    )


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


@pytest.mark.parametrize(
    "text", ["a\r\nb", "a\nb", "a\rb", "a\u2028b", "a\x85b", "a\x0cb", "a\x1cb"]
)
@pytest.mark.parametrize("name", ["e.csv", "e.jsonl"])
def test_text_keeps_its_own_line_ends(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    with path.open("w", encoding="utf-8", newline="") as file:
        if name.endswith("csv"):
            csv.writer(file).writerows([("destination", "text"), ("1", text), ("2", "z")])
        else:
            for row in ({"destination": "1", "text": text}, {"destination": "2", "text": "z"}):
                file.write(json.dumps(row, ensure_ascii=False) + "\r\n")
    expected = checking.load_expected(path)
    assert expected == [want("1", text), want("2", "z")]
    assert checking.compare([submit(1, "1", text), submit(2, "2", "z")], expected).agrees


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gbk", "gb18030"])
@pytest.mark.parametrize("cut", [",", ";", "\t"])
def test_csv_is_read_as_excel_writes_it(tmp_path: Path, encoding: str, cut: str) -> None:
    path = tmp_path / "e.csv"
    path.write_bytes(f"destination{cut}text\r\n1{cut}您的验证码，谢谢\r\n".encode(encoding))
    assert checking.load_expected(path) == [want("1", "您的验证码，谢谢")]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("e.csv", b"destination,text\n1,\xff\xff\n", "neither UTF-8 nor UTF-16 nor GB18030"),
        ("e.csv", b"\xff\xfe\x00", "neither UTF-8 nor UTF-16 nor GB18030"),
        ("e.csv", "destination,text,times\n1,x,²\n".encode(), r"e\.csv:2: times: .*whole number"),
        ("e.csv", b"destination,text,times\n1,x," + b"9" * 5000, "times: .*whole number"),
        ("e.csv", b'destination,text\n1,"open\n2,y\n', r"e\.csv:\d: no CSV"),
        (
            "e.jsonl",
            b'{"destination":"1","text":"a","times":-1}',
            r"e\.jsonl:1: times: -1: not below",
        ),
    ],
)
def test_list_that_cannot_be_read_is_told(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ScenarioError, match=said):
        checking.load_expected(path)


def test_damaged_submit_is_told() -> None:
    broken: Line = {"kind": "submit"}
    with pytest.raises(ScenarioError, match="has no n; the file is damaged"):
        checking.compare([broken], [])
    with pytest.raises(ScenarioError, match="has no total"):
        checking.compare([submit(1, "1", "a", concat={"ref": 7})], [])


def test_reference_that_came_round_after_a_lost_segment_begins_another_message() -> None:
    lines = [
        submit(1, "1", "aa", concat={"ref": 7, "total": 2, "seq": 1}),
        submit(2, "1", "cc", concat={"ref": 7, "total": 2, "seq": 1}),
        submit(3, "1", "dd", concat={"ref": 7, "total": 2, "seq": 2}),
    ]
    result = checking.compare(lines, [want("1", "aabb"), want("1", "ccdd")])
    assert [(one.expected.text, one.times) for one in result.missing] == [("aabb", 1)]
    assert result.missing[0].parts is not None
    assert result.missing[0].parts.lines == (1,)
    assert (result.doubled, result.unexpected) == ((), ())


def test_segment_that_is_repeated_before_the_last_leaves_the_message_whole() -> None:
    parts = [("aa", 1), ("bb", 2), ("aa", 1), ("cc", 3)]
    lines = [
        submit(n, "1", text, concat={"ref": 7, "total": 3, "seq": seq})
        for n, (text, seq) in enumerate(parts, 1)
    ]
    result = checking.compare(lines, [want("1", "aabbcc")])
    assert result.missing == ()
    assert [one.lines for one in result.doubled[0].extra] == [(3,)]


def test_rows_of_equal_weight_share_messages_that_fit_both() -> None:
    lines = [submit(1, "1", "x", iccid="A"), submit(2, "1", "x", iccid="A", modem="modem02")]
    for rows in (["iccid", "modem"], ["modem", "iccid"]):
        facts = {"iccid": "A", "modem": "modem01"}
        expected = [want("1", "x", **{name: facts[name]}) for name in rows]
        assert checking.compare(lines, expected).agrees, rows


@pytest.mark.parametrize("seed", range(30))
def test_as_many_rows_are_met_as_can_be(seed: int) -> None:
    """Against all ways to hand the messages out."""
    draw = random.Random(seed)
    lines = [
        submit(n, "1", "x", iccid=draw.choice("AB"), modem=draw.choice("mn")) for n in range(5)
    ]
    expected = [
        want("1", "x", iccid=draw.choice(["", "A", "B"]), modem=draw.choice(["", "m", "n"]))
        for _ in range(5)
    ]
    best = max(
        sum(
            row.iccid in {"", line["iccid"]} and row.modem in {"", line["modem"]}
            for row, line in zip(expected, order, strict=True)
        )
        for order in itertools.permutations(lines)
    )
    result = checking.compare(lines, expected)
    assert sum(one.times for one in result.missing) == 5 - best, f"seed {seed}"
