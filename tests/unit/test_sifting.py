"""Lists judged in a process of their own: the same verdicts as here, hostile files, early ends."""

import asyncio
import io
import json
import os
import zipfile
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import openpyxl
import pytest

from modemctl.errors import InvalidRequest, PolicyRefused
from modemctl.policy.content import ContentRules
from modemctl.policy.digest import leaf, read_line
from modemctl.policy.numbers import NumberRules, Rejection
from modemctl.service import sifters, sifting_child
from modemctl.service.judging import JudgeRules
from modemctl.service.recipients import SLICE_LINES, ListFormat, Recipient, spool
from modemctl.service.sifters import sift, sift_lines

RULES = JudgeRules(
    category="notice",
    template="尊敬的{姓名}，您的对账单已寄出。",
    numbers=NumberRules(),
    content=ContentRules(),
    smallest_cap=3,
    salt=bytes(range(32)),
)
LIST = (
    "手机号,姓名\n13800000001,张三\n010-61234567,李四\n１３８００００００02,王五\n13800000001,赵六\n"
    "13800000003,\n1380000,钱七\nabc,孙八\n13800000004,€\n13800000005," + "长" * 300 + "\n"
)
N_MORE = 20_000


@asynccontextmanager
async def sifting(octets, list_format, *, rules=RULES, encoding=None):
    async def chunks():
        yield octets

    async with (
        spool(chunks(), max_octets=1 << 27) as spooled,
        aclosing(sift(spooled, list_format, encoding=encoding, rules=rules)) as parts,
    ):
        yield parts


async def verdicts(octets, list_format, *, rules=RULES):
    good, bad, forcing, shares = [], [], [], []
    async with sifting(octets, list_format, rules=rules) as parts:
        async for part in parts:
            assert len(part.good) + len(part.bad) <= SLICE_LINES
            good += part.good
            bad += part.bad
            forcing += part.forcing
            shares.append(part.share)
    assert shares == sorted(shares)
    return good, bad, list(dict.fromkeys(forcing)), shares


def workbook(rows):
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet()
    for row in rows:
        sheet.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def children_of_this_process():
    found = set()
    for task in Path("/proc/self/task").iterdir():
        found |= {int(one) for one in (task / "children").read_text().split()}
    return found


async def test_every_line_gets_its_verdict_with_number_and_reason():
    good, bad, forcing, shares = await verdicts(LIST.encode("gbk", "replace"), ListFormat.CSV)
    assert [(one.line_no, one.to, one.n_segments) for one in good] == [
        (2, "+8613800000001", 1),
        (4, "+8613800000002", 1),
        (9, "+8613800000004", 1),
    ]
    assert [(one.line_no, one.reason) for one in bad] == [
        (3, Rejection.LANDLINE),
        (5, Rejection.DUPLICATE),
        (6, Rejection.MISSING_VARIABLE),
        (7, Rejection.LENGTH),
        (8, Rejection.LETTERS),
        (10, Rejection.TOO_LONG),
    ]
    assert dict(read_line(good[0].octets).variables) == {"姓名": "张三"}
    for one in good:
        assert one.leaf == leaf(one.octets, salt=RULES.salt, line_no=one.line_no)
    assert "尊" in forcing
    assert shares[-1] == 1
    assert not any("13800000001" in one.masked for one in bad)


@pytest.mark.parametrize("list_format", [ListFormat.CSV, ListFormat.NDJSON, ListFormat.XLSX])
async def test_a_process_of_its_own_gives_the_verdicts_that_we_give_here(list_format, monkeypatch):
    rows = [line.split(",") for line in LIST.splitlines()]
    octets = {
        ListFormat.CSV: LIST.encode("gb18030"),
        ListFormat.XLSX: workbook(rows),
        ListFormat.NDJSON: "\n".join(
            f'{{"to": "{to}", "variables": {{"姓名": "{name}"}}}}' for to, name in rows
        ).encode(),
    }[list_format]
    monkeypatch.setattr(sifters, "_SHORT_OCTETS", 0)
    elsewhere = await verdicts(octets, list_format)
    lines = [Recipient(line_no=n, to=to, variables={"姓名": name})
             for n, (to, name) in enumerate(rows, 1)]  # fmt: skip
    if list_format is not ListFormat.NDJSON:
        del lines[0]
    here = [part async for part in sift_lines(lines, rules=RULES)]
    assert elsewhere[0] == [one for part in here for one in part.good]
    assert elsewhere[1] == [one for part in here for one in part.bad]
    assert elsewhere[2] == [char for part in here for char in part.forcing]


async def test_a_long_list_is_judged_whole_and_duplicates_are_found_over_slices():
    numbers = [f"138{i:08d}" for i in range(N_MORE)]
    octets = "\n".join([*numbers, *numbers[:3]]).encode("utf-16")
    rules = replace(RULES, template="您的对账单已寄出。")
    good, bad, _, shares = await verdicts(octets, ListFormat.TXT, rules=rules)
    assert (len(good), good[-1].line_no) == (N_MORE, N_MORE)
    assert [(one.line_no, one.reason) for one in bad] == [
        (N_MORE + i, Rejection.DUPLICATE) for i in (1, 2, 3)
    ]
    assert 0 < shares[0] < 0.5 < shares[-1] == 1


@pytest.mark.parametrize("is_here", [True, False])
async def test_refusals_are_the_same_from_either_place(is_here, monkeypatch):
    monkeypatch.setattr(sifters, "_SHORT_OCTETS", 1 << 20 if is_here else 0)
    smuggled = "手机号,姓名\n13800000001,王先生请回复银行卡密码\n".encode()
    with pytest.raises(PolicyRefused) as caught:
        await verdicts(smuggled, ListFormat.CSV)
    assert (caught.value.policy, caught.value.field) == ("SMS-12", "text")
    with pytest.raises(InvalidRequest, match="line 2 is not JSON"):
        await verdicts(b'{"to": "13800000001"}\n{"to"', ListFormat.NDJSON)
    with pytest.raises(InvalidRequest, match="octet 12 fits none"):
        await verdicts(b"13800000001\n\x80\xff\n", ListFormat.TXT)


@pytest.mark.parametrize("char", ["\x01", "\x1b", "\x07"])
async def test_a_variable_holds_no_control_characters_as_the_text_holds_none(char):
    lines = [{"to": f"1380000000{i}", "variables": {"姓名": name}} for i, name in
             enumerate(("张\n三", f"张{char}三"))]  # fmt: skip
    octets = "\n".join(map(json.dumps, lines)).encode()
    good, bad, *_ = await verdicts(octets, ListFormat.NDJSON)
    assert [one.line_no for one in good] == [1]
    assert [(one.line_no, one.reason) for one in bad] == [(2, Rejection.BAD_TEXT)]


def sparse_workbook(n_rows):
    """One whose two cells stand in the corners of a sheet of full width: a few kilobytes."""
    return workbook_of(
        "".join(
            f'<row r="{row}"><c r="A{row}"><v>1</v></c><c r="XFD{row}"><v>1</v></c></row>'
            for row in (1, n_rows)
        )
    )


def workbook_of(rows):
    source = zipfile.ZipFile(io.BytesIO(workbook([["x"]])))
    head = '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">'
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in source.namelist():
            is_sheet = name == "xl/worksheets/sheet1.xml"
            text = f"{head}<sheetData>{rows}</sheetData></worksheet>"
            archive.writestr(name, text if is_sheet else source.read(name))
    return out.getvalue()


async def test_a_small_spreadsheet_that_unfolds_to_gigabytes_is_refused():
    octets = sparse_workbook(100_000)
    assert len(octets) < 10_000
    with pytest.raises(InvalidRequest, match="more memory or time"):
        await verdicts(octets, ListFormat.XLSX)


@pytest.mark.parametrize("place", ["A4000000000", "ZZZZZ1"])
async def test_a_spreadsheet_with_a_cell_where_none_can_be_is_refused_at_once(place):
    row_no = place.lstrip("AZ")
    octets = workbook_of(f'<row r="{row_no}"><c r="{place}"><v>1</v></c></row>')
    async with asyncio.timeout(20):
        with pytest.raises(InvalidRequest, match="a cell lies beyond"):
            await verdicts(octets, ListFormat.XLSX)


async def test_a_spreadsheet_that_lies_about_its_size_is_refused():
    row = b'<row><c t="inlineStr"><is><t>' + bytes([49]) * (1 << 20) + b"</t></is></c></row>"
    main = b"http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    source = zipfile.ZipFile(io.BytesIO(workbook([["x"]])))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in source.namelist():
            if name != "xl/worksheets/sheet1.xml":
                archive.writestr(name, source.read(name))
        with archive.open("xl/worksheets/sheet1.xml", "w") as sheet:
            sheet.write(b'<worksheet xmlns="%s"><sheetData>' % main)
            for _ in range(700):
                sheet.write(row)
            sheet.write(b"</sheetData></worksheet>")
        large = archive.getinfo("xl/worksheets/sheet1.xml").file_size
    octets = out.getvalue().replace(large.to_bytes(4, "little"), (1_000).to_bytes(4, "little"))
    assert large > 700_000_000
    assert len(octets) < 2_000_000
    with pytest.raises(InvalidRequest):
        await verdicts(octets, ListFormat.XLSX)


def test_a_child_limits_itself_below_what_is_promised():
    assert sifting_child.MAX_MEMORY < 700_000_000
    pid = os.fork()
    if pid == 0:
        try:
            sifting_child.limit_itself()
            bytearray(sifting_child.MAX_MEMORY)
        except MemoryError:
            os._exit(7)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7


async def test_a_reader_that_stops_early_leaves_no_process_behind():
    before = children_of_this_process()
    octets = workbook([[13800000000 + i] for i in range(5_000)])
    rules = replace(RULES, template="您的对账单已寄出。")
    async with sifting(octets, ListFormat.XLSX, rules=rules) as parts:
        assert len((await anext(parts)).good) == SLICE_LINES
        assert len(children_of_this_process() - before) == 1
    assert children_of_this_process() <= before
