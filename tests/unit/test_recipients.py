"""Recipient lists: every encoding and form, and what is wrong with bad ones."""

import io
import json
import zipfile
from contextlib import aclosing
from datetime import date

import openpyxl
import pytest

from modemctl.errors import Conflict, InvalidRequest
from modemctl.service import children, sheets
from modemctl.service.recipients import (
    MAX_LINE_CHARS,
    SLICE_LINES,
    ListFormat,
    detect_encoding,
    in_slices,
    read_lines,
    spool,
)
from modemctl.service.workbooks import read_rows

N_MANY = 50_000


async def read(octets, list_format, *, encoding=None, size=777, max_octets=1 << 27):
    async def chunks():
        for start in range(0, len(octets), size):
            yield octets[start : start + size]

    found = []
    async with spool(chunks(), max_octets=max_octets) as spooled:
        assert spooled.path.stat().st_mode & 0o077 == 0 or (
            spooled.path.parent.stat().st_mode & 0o077 == 0
        )
        with read_lines(spooled.path, list_format, encoding=encoding) as reading:
            for part in in_slices(reading.lines):
                assert 1 <= len(part) <= SLICE_LINES
                assert 0 <= reading.share() <= 1
                found += part
            assert reading.share() == 1 or not found
        path = spooled.path
    assert not path.exists()
    return found


def plain(found):
    return [(one.line_no, one.to, dict(one.variables)) for one in found]


def workbook(rows):
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet()
    for row in rows:
        sheet.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


ENCODINGS = {
    "utf-8": "utf-8",
    "utf-8-sig": "utf-8-sig",
    "utf-16": "utf-16",
    "utf-16-le": "utf-16-le",
    "utf-16-be": "utf-16-be",
    "gbk": "gb18030",
    "gb18030": "gb18030",
}
DIGITS = "".join(f"138{i:08d}\r\n" for i in range(2_000))
TEXTS = {
    "digits only": DIGITS[:30],
    "three lines": "手机号,姓名\n13800000001,张三\n13800000002,李四\n",
    "one name at the end": DIGITS + "13900000000,龚\n",
    "header only": "手机号码\n13800000001\n",
}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("what", TEXTS)
async def test_the_ladder_reads_every_encoding(encoding, what):
    octets = TEXTS[what].encode(encoding)
    expected = plain(await read(TEXTS[what].encode("utf-8"), ListFormat.CSV))
    assert plain(await read(octets, ListFormat.CSV)) == expected
    assert len(expected) >= 1


@pytest.mark.parametrize(("encoding", "found"), ENCODINGS.items())
def test_the_ladder_names_what_it_found(tmp_path, encoding, found):
    path = tmp_path / "list"
    path.write_bytes("13800000001,张三\n".encode(encoding))
    assert detect_encoding(path) == found


async def test_octets_that_fit_no_encoding_are_named_by_their_place():
    octets = b"13800000001\n" * 200_000 + b"\x80\xff\n"
    with pytest.raises(InvalidRequest, match=f"octet {12 * 200_000} "):
        await read(octets, ListFormat.TXT, size=1 << 16)


async def test_a_named_encoding_overrides_and_must_exist_and_fit():
    octets = "13800000001,張\n".encode("big5")
    found = await read(octets, ListFormat.CSV, encoding="big5")
    assert plain(found)[0][1] == "13800000001"
    with pytest.raises(InvalidRequest, match="no such encoding"):
        await read(octets, ListFormat.CSV, encoding="klingon")
    with pytest.raises(InvalidRequest, match="does not decode"):
        await read(octets, ListFormat.CSV, encoding="ascii")


@pytest.mark.parametrize("encoding", ["hex", "zlib", "bz2", "uu", "rot13", "a\0b", "x" * 500])
async def test_a_codec_that_makes_no_text_is_no_encoding(encoding):
    with pytest.raises(InvalidRequest, match="no such encoding"):
        await read(b"13800000001\n", ListFormat.TXT, encoding=encoding)


@pytest.mark.parametrize(
    ("encoding", "octets"),
    [("undefined", b"1"), ("punycode", b"\xff-\xff"), ("utf-16", b"1\n3\n"), ("idna", b"\xff")],
)
@pytest.mark.parametrize("list_format", [ListFormat.TXT, ListFormat.CSV, ListFormat.NDJSON])
async def test_octets_that_no_codec_takes_are_refused_in_each_form(encoding, octets, list_format):
    with pytest.raises(InvalidRequest):
        await read(octets, list_format, encoding=encoding)


@pytest.mark.parametrize("list_format", [ListFormat.TXT, ListFormat.CSV])
async def test_a_nul_is_refused_with_its_line(list_format):
    with pytest.raises(InvalidRequest, match="line 2 must hold no NUL"):
        await read(b"13800000001\n1380000\x000002\n", list_format, encoding="utf-8")
    with pytest.raises(InvalidRequest, match="line 1 must hold no NUL"):
        await read(rb'{"to": "1380000\u00000002"}', ListFormat.NDJSON)


async def test_half_a_character_is_refused_with_its_line():
    escaped = rb"13800000001,\ud800"
    with pytest.raises(InvalidRequest, match="line 1 "):
        await read(escaped, ListFormat.CSV, encoding="unicode_escape")
    with pytest.raises(InvalidRequest, match="line 1 "):
        await read(b'{"to": "\\ud800"}', ListFormat.NDJSON)


async def test_txt_has_a_number_a_line_and_keeps_the_sources_line_numbers():
    found = await read(b"13800000001\r\n\r\n 138 0000 0002 \n\n+8613800000003", ListFormat.TXT)
    assert plain(found) == [
        (1, "13800000001", {}),
        (3, "138 0000 0002", {}),
        (5, "+8613800000003", {}),
    ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
async def test_csv_names_its_columns_in_the_first_line_or_has_none(delimiter):
    text = '姓名,Phone Number,bad name,x\n张三,13800000001,z,"a, b"\n\n李四,13800000002,z,\n'
    text = text.replace(",", delimiter).replace(f"a{delimiter} b", "a, b")
    assert plain(await read(text.encode(), ListFormat.CSV)) == [
        (2, "13800000001", {"姓名": "张三", "x": "a, b"}),
        (4, "13800000002", {"姓名": "李四", "x": ""}),
    ]
    bare = "13800000001,甲\n13800000002\n".replace(",", delimiter)
    assert plain(await read(bare.encode(), ListFormat.CSV)) == [
        (1, "13800000001", {}),
        (2, "13800000002", {}),
    ]


async def test_a_first_line_that_is_neither_heading_nor_number_is_a_line():
    assert plain(await read(b"abc,def\n13800000001,x\n", ListFormat.CSV))[0] == (1, "abc", {})


async def test_ndjson_has_an_object_or_a_string_a_line():
    lines = [{"to": "13800000001", "variables": {"name": "张三"}}, "13800000002"]
    text = "\n".join(json.dumps(one) for one in lines) + "\n\n"
    assert plain(await read(text.encode(), ListFormat.NDJSON)) == [
        (1, "13800000001", {"name": "张三"}),
        (2, "13800000002", {}),
    ]


@pytest.mark.parametrize(
    "line",
    ["{", "[" * 8_000, "7", "[]", '{"to": 13800000001}',
     '{"variables": {}}', '{"to": "1", "x": "y"}',
     '{"to": "1", "variables": []}', '{"to": "1", "variables": {"a": 1}}'],
)  # fmt: skip
async def test_other_ndjson_is_refused_with_its_line(line):
    with pytest.raises(InvalidRequest, match="line 2"):
        await read(f'"13800000001"\n{line}\n'.encode(), ListFormat.NDJSON)


async def test_a_spreadsheet_is_read_with_numbers_texts_and_dates():
    octets = workbook(
        [
            [],
            ["name", "手机号", "day", "sum", "flag"],
            ["张三", 13800000001, date(2026, 11, 21), 12.5, True],
            [None, None, None, None, None],
            ["李四", "13800000002", None, 7, False],
            ["大", 8986011234567890123, None, 1, None],
        ]
    )
    found = plain(await read(octets, ListFormat.XLSX))
    assert found[:2] == [
        (3, "13800000001", {"name": "张三", "day": "2026-11-21", "sum": "12.5", "flag": "true"}),
        (5, "13800000002", {"name": "李四", "day": "", "sum": "7", "flag": "false"}),
    ]
    assert found[2][1] != "8986011234567890123"
    assert "e" in found[2][1].lower()


async def test_a_large_spreadsheet_and_a_large_text_are_read_whole():
    rows = ([13800000000 + i, f"客户{i}"] for i in range(N_MANY))
    found = await read(workbook(rows), ListFormat.XLSX, size=1 << 16)
    assert (len(found), found[-1].line_no, found[-1].to) == (
        N_MANY,
        N_MANY,
        f"{13800000000 + N_MANY - 1}",
    )
    text = "".join(f"138{i:08d},客户{i}\n" for i in range(N_MANY)).encode("gbk")
    found = await read(text, ListFormat.CSV, size=1 << 16)
    assert (len(found), found[-1].line_no) == (N_MANY, N_MANY)


async def test_a_spreadsheet_row_that_is_too_long_is_refused():
    octets = workbook([["汉" * 30_000] * 20])
    with pytest.raises(InvalidRequest, match="row 1 has more than"):
        await read(octets, ListFormat.XLSX)


@pytest.mark.parametrize("octets", [b"", b"not a workbook", b"PK\x03\x04" + bytes(100)])
async def test_what_is_no_spreadsheet_is_refused(octets):
    with pytest.raises(InvalidRequest, match="not a spreadsheet"):
        await read(octets, ListFormat.XLSX)


async def test_an_empty_spreadsheet_has_no_lines():
    assert await read(workbook([]), ListFormat.XLSX) == []


def test_a_spreadsheet_that_unpacks_to_too_much_is_refused_unread(tmp_path, monkeypatch, capsys):
    path = tmp_path / "bomb.xlsx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", bytes(1 << 20))
    monkeypatch.setattr(sheets, "MAX_UNPACKED", 1 << 19)
    assert sheets.main([str(path)]) == sheets.REFUSED
    assert "unpacks to more" in capsys.readouterr().err


async def test_few_spreadsheets_are_read_at_a_time_and_others_wait(tmp_path, monkeypatch):
    path = tmp_path / "list.xlsx"
    path.write_bytes(workbook([[13800000001], [13800000002]]))
    monkeypatch.setattr(children, "_TURN_LIMIT", 0.2)
    async with aclosing(read_rows(path)) as one, aclosing(read_rows(path)) as two:
        assert (await anext(one), await anext(two)) == ((1, ["13800000001"]),) * 2
        with pytest.raises(Conflict, match="other lists"):
            await anext(read_rows(path))
    async with aclosing(read_rows(path)) as rows:
        assert len([row async for row in rows]) == 2


async def test_rows_are_capped_together(tmp_path):
    path = tmp_path / "list.xlsx"
    path.write_bytes(workbook([["x" * 1_000]] * 3))
    async with aclosing(read_rows(path, max_octets=2_500)) as rows:
        with pytest.raises(InvalidRequest, match="more than 2500 octets"):
            assert [row async for row in rows]


async def test_a_list_that_is_too_large_is_refused_while_it_comes():
    with pytest.raises(InvalidRequest, match="at most 1000 octets"):
        await read(b"1" * 1_001, ListFormat.TXT, max_octets=1_000)


@pytest.mark.parametrize("list_format", [ListFormat.TXT, ListFormat.CSV, ListFormat.NDJSON])
async def test_a_line_that_never_ends_is_refused(list_format):
    octets = b"13800000001\n" + b"1" * (MAX_LINE_CHARS + 1)
    if list_format is ListFormat.NDJSON:
        octets = b'"' + octets.replace(b"\n", b'"\n', 1)
    with pytest.raises(InvalidRequest, match="line 2 has more than"):
        await read(octets, list_format)


@pytest.mark.parametrize("list_format", [ListFormat.TXT, ListFormat.CSV, ListFormat.NDJSON])
async def test_an_empty_list_has_no_lines(list_format):
    assert await read(b"", list_format) == []
