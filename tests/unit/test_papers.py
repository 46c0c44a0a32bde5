"""Reports as files: judged by a workbook reader, a PDF reader and an office decrypter of others."""

import io
import subprocess
import sys
from pathlib import Path

import msoffcrypto
import openpyxl
import pytest
import python_calamine
from pypdf import PdfReader

from modemctl.policy.papers import (
    Block,
    Boxes,
    Column,
    ColumnKind,
    Content,
    Cover,
    Lang,
    PaperFormat,
    Passage,
    Rows,
    TableHead,
    clean,
    digest_of,
    prove,
)
from modemctl.service import paper_printing
from modemctl.service.paper_pages import MAX_ROWS, shown
from modemctl.service.paper_printing import Writing, Written, write
from tests.support.tools import require_tool

LABEL = "内容摘要 SHA-256"
LONG = "尊敬的客户：" + "您的季度对账单已寄出，请查收。" * 150
EVIL = ("=cmd|' /C calc'!A0", "+1+1", "-2", "@SUM(A1)", '=HYPERLINK("http://x.test")')


def cover(lang: Lang = Lang.ZH) -> Cover:
    return Cover(
        title="季度短信群发汇总表",
        lang=lang,
        facts=(("站点", "site-1"), ("制表人", "王喆"), ("备注", EVIL[1])),
        notice="内部资料，注意保密",
        digest_label=LABEL,
        page_label="第 {page} 页，共 {pages} 页",
    )


def head(**changes: object) -> TableHead:
    columns = (
        Column(heading="持有人", width=30),
        Column(heading="段数", kind=ColumnKind.COUNT),
        Column(heading="费用", kind=ColumnKind.MONEY),
    )
    return TableHead(**{"name": "明细", "heading": "费用明细", "columns": columns, **changes})


def report(rows: list[tuple[str | int | None, ...]], lang: Lang = Lang.ZH) -> list[Block]:
    return [
        cover(lang),
        Passage(heading="内容", lines=((LONG,), ("拟稿人", "刘堃"))),
        Boxes(heading="签字", labels=("经办人", "部门经理")),
        head(),
        Rows(rows=tuple(rows)),
    ]


def put(
    tmp_path: Path, blocks: list[Block], form: PaperFormat, **more: str
) -> tuple[Path, Written]:
    path = tmp_path / f"report.{form}"
    written = write(Writing(path=path, paper_format=form, **more), iter(blocks))
    assert written.rule is None, written.rule
    assert [one.name for one in tmp_path.iterdir()] == [path.name]
    return path, written


def sheet_rows(path: Path) -> list[list[object]]:
    book = python_calamine.CalamineWorkbook.from_path(path)
    return [row for name in book.sheet_names for row in book.get_sheet_by_name(name).to_python()]


def pdf_text(path: Path) -> str:
    return "".join(page.extract_text() for page in PdfReader(path).pages).replace("\n", "")


def test_no_cell_of_a_workbook_is_a_formula_or_a_link_whatever_a_name_begins_with(tmp_path):
    path, _ = put(tmp_path, report([(name, 1, 1) for name in EVIL]), PaperFormat.XLSX)
    book = openpyxl.load_workbook(path)
    cells = [cell for sheet in book for row in sheet.iter_rows() for cell in row]
    assert {cell.data_type for cell in cells} <= {"s", "n", "inlineStr"}
    assert not any(cell.hyperlink for cell in cells)
    found = [cell for cell in cells if cell.value in EVIL]
    assert len(found) >= len(EVIL)
    assert all(cell.quotePrefix for cell in found)  # nor after being edited


def test_counts_and_amounts_are_numbers_of_a_workbook(tmp_path):
    path, written = put(tmp_path, report([("王", 7, 1230), ("刘", None, 5)]), PaperFormat.XLSX)
    assert written.n_rows == 2
    rows = [row for row in sheet_rows(path) if row[0] in {"王", "刘"}]
    assert rows == [["王", 7.0, 12.3], ["刘", "", 0.05]]


def test_a_workbook_proves_its_digest_also_after_it_was_saved_again(tmp_path):
    blocks = report([("王", 7, 1230), ("\x07a\r\nb\u202e", 1, 99), ("89860012345678901234", 0, 0)])
    path, written = put(tmp_path, blocks, PaperFormat.XLSX)
    assert written.digest == digest_of(blocks)
    assert prove(sheet_rows(path), [LABEL]) == (written.digest, written.digest)
    book = openpyxl.load_workbook(path)
    book.save(path)
    assert prove(sheet_rows(path), [LABEL]) == (written.digest, written.digest)
    book["明细"]["B3"].value = 8
    book.save(path)
    named, own = prove(sheet_rows(path), [LABEL])
    assert named == written.digest != own


def test_chinese_in_a_pdf_can_be_searched_and_wraps(tmp_path):
    blocks = report([("王小明" * 30, i, i) for i in range(200)])
    path, written = put(tmp_path, blocks, PaperFormat.PDF)
    pages = PdfReader(path).pages
    assert len(pages) > 3
    text = pdf_text(path)
    assert LONG in text
    assert "王小明" * 30 in text
    for page in pages:
        told = page.extract_text()
        assert "内部资料，注意保密" in told
        assert written.digest in told
    assert f"第 2 页，共 {len(pages)} 页" in text
    wide = [float(x) for page in pages for x in page.mediabox[2:3]]
    assert all(590 < one < 600 for one in wide)  # upright A4


def test_a_second_judge_finds_the_chinese_text_too(tmp_path):
    program = require_tool("pdftotext")
    path, _ = put(tmp_path, report([("王喆", 1, 1)]), PaperFormat.PDF)
    told = subprocess.run(
        [program, path, "-"], capture_output=True, text=True, check=True, timeout=30
    ).stdout
    assert "季度短信群发汇总表" in told
    assert LONG in told.replace("\n", "")


def test_a_wide_table_turns_the_page(tmp_path):
    columns = tuple(Column(heading=f"列 {i}", width=20) for i in range(8))
    blocks = [cover(), head(columns=columns), Rows(rows=(("89860012345678901234",) * 8,))]
    path, _ = put(tmp_path, blocks, PaperFormat.PDF)
    box = PdfReader(path).pages[0].mediabox
    assert box.width > box.height


def test_the_same_content_gives_the_same_pdf(tmp_path):
    first, second = (
        put(folder, report([("王", 1, 1)]), PaperFormat.PDF)[1].sha256
        for folder in (tmp_path / "a", tmp_path / "b")
        if folder.mkdir() is None
    )
    assert first == second


def test_a_character_that_the_font_lacks_is_printed_by_its_number(tmp_path):
    assert shown("王喆堃䶮") == "王喆堃䶮"
    path, _ = put(tmp_path, report([("李𠮷", 1, 1)]), PaperFormat.PDF)
    assert "李〔U+20BB7〕" in pdf_text(path)


def test_markup_of_the_typesetter_in_a_text_is_only_text(tmp_path):
    word = '#panic("x") *b* $x$ #read("/etc/passwd") \\ @ref <l>'
    path, _ = put(tmp_path, report([(word, 1, 1)]), PaperFormat.PDF)
    assert word.replace(" ", "") in pdf_text(path).replace(" ", "")


def test_a_pdf_says_what_it_does_not_print_and_names_the_workbook(tmp_path):
    blocks = report([(f"r{n}x", n, 1) for n in range(MAX_ROWS + 70)])
    path, written = put(tmp_path, blocks, PaperFormat.PDF)
    text = pdf_text(path)
    assert "各表共 3,070 行，此处印出前 3,000 行" in text
    assert "XLSX" in text
    assert written.n_rows == MAX_ROWS + 70
    assert written.digest == digest_of(blocks), "it covers what is not printed, too"
    assert "r2999x" in text
    assert "r3000x" not in text
    assert "r3069x" not in text


def test_a_sealed_workbook_opens_with_its_passphrase_only(tmp_path):
    path, _ = put(tmp_path, report([("王", 1, 1)]), PaperFormat.XLSX, passphrase="k7-Qm2p-x")
    assert "王".encode() not in path.read_bytes()
    with path.open("rb") as file:
        judge = msoffcrypto.OfficeFile(file)
        assert judge.is_encrypted()
        with pytest.raises(msoffcrypto.exceptions.InvalidKeyError):
            judge.load_key(password="k7-Qm2p-y", verify_password=True)
        judge.load_key(password="k7-Qm2p-x", verify_password=True)
        assert judge.info["passwordKeyBits"] == 256
        assert judge.info["passwordHashAlgorithm"] == "SHA512"
        plain = io.BytesIO()
        judge.decrypt(plain, verify_integrity=True)
    assert openpyxl.load_workbook(plain)["明细"]["A3"].value == "王"


@pytest.mark.parametrize("text", ["a\x00b", "a\ud800b", "a\ufffeb", "a\x1bb", "a\u202eb"])
def test_what_no_file_can_hold_is_shown_as_replaced(text):
    assert clean(text) == "a\ufffdb"


def test_empty_cells_at_the_end_of_a_row_say_nothing():
    digests = []
    for texts in (["a", "b"], ["a", "b", "", ""], ["a", "", "b"]):
        content = Content()
        content.add_row(texts)
        digests.append(content.digest())
    assert digests[0] == digests[1] != digests[2]


def test_many_rows_take_little_memory():
    """In a process of its own, whose peak counts."""
    n = 20_000
    script = f"""
import resource, sys, tempfile
from pathlib import Path
sys.path.insert(0, {str(Path(paper_printing.__file__).parents[2])!r})
from modemctl.policy.papers import *
from modemctl.service.paper_printing import Writing, write
def blocks():
    yield Cover(title="t", lang=Lang.EN, facts=(), notice="n", digest_label="d", page_label="p")
    yield TableHead(name="x", heading="x", columns=(Column(heading="a"), Column(heading="b")))
    for at in range(0, {n}, 500):
        yield Rows(rows=tuple((f"{{i}} 中文", "b" * 40) for i in range(at, at + 500)))
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "r.xlsx"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    done = write(Writing(path=path, paper_format=PaperFormat.XLSX), blocks())
    assert done.n_rows == {n}, done
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert int(done.stdout) < 24 * 1024  # KiB
