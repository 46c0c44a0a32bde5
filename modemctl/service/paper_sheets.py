"""Reports as workbooks. No cell of one is ever a formula or a link, whatever a name begins with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from modemctl.errors import InvalidRequest
from modemctl.policy.papers import (
    Block,
    Boxes,
    ColumnKind,
    Content,
    Cover,
    Passage,
    Rows,
    TableHead,
    clean,
)

if TYPE_CHECKING:
    from xlsxwriter.format import Format
    from xlsxwriter.workbook import Workbook
    from xlsxwriter.worksheet import Worksheet

MAX_ROWS: Final = 1_000_000
"""Of one table: a sheet ends soon after."""
_OPTIONS: Final = {
    "constant_memory": True,
    "strings_to_formulas": False,
    "strings_to_urls": False,
    "strings_to_numbers": False,
}
_FORMULA: Final = ("=", "+", "-", "@")
_BLUE: Final = "#1F3864"
_WIDEST: Final = 60
_FONT: Final = {"font_name": "Microsoft YaHei", "font_size": 10, "valign": "top"}


class Workbooks:
    """Writes one workbook: a sheet for cover, passages and boxes, one for each table."""

    def __init__(self, path: Path) -> None:
        import xlsxwriter

        self._book: Workbook = xlsxwriter.Workbook(str(path), _OPTIONS)
        self._content = Content()
        self._styles = _Styles(self._book)
        self._cover: Cover | None = None
        self._front: Worksheet | None = None
        self._n_front = 0
        self._sheet: Worksheet | None = None
        self._kinds: tuple[ColumnKind, ...] = ()
        self._n_rows = 0

    def add(self, block: Block) -> None:
        """The next block.

        Raises:
            InvalidRequest: a table with more rows than a sheet.
        """
        self._content.add(block)
        match block:
            case Cover():
                self._begin(block)
            case Passage():
                self._passage(block)
            case Boxes():
                self._boxes(block)
            case TableHead():
                self._begin_table(block)
            case Rows():
                self._rows(block)

    def close(self) -> tuple[str, int]:
        """Write the digest and all the rest; the digest, and how many rows tables had."""
        assert self._cover is not None
        assert self._front is not None
        digest = self._content.digest()
        self._n_front += 1
        self._front.write_string(self._n_front, 0, self._cover.digest_label, self._styles.label)
        self._front.write_string(self._n_front, 1, digest, self._styles.text)
        for sheet in self._book.worksheets():
            sheet.set_footer(f"&L&8SHA-256 {digest}&R&8&P / &N")
        self._book.close()
        return digest, self._content.n_rows

    def _begin(self, cover: Cover) -> None:
        self._cover = cover
        sheet = self._front = self._new_sheet("封面" if cover.lang == "zh" else "Cover")
        sheet.set_column(0, 0, 26)
        sheet.set_column(1, 1, 90)
        sheet.set_portrait()
        sheet.set_row(0, 30)
        sheet.write_string(0, 0, clean(cover.title), self._styles.title)
        self._n_front = 1
        for label, value in cover.facts:
            sheet.write_string(self._n_front, 0, clean(label), self._styles.label)
            self._text(sheet, self._n_front, 1, value)
            self._n_front += 1
        sheet.write_string(self._n_front, 0, clean(cover.notice), self._styles.notice)
        self._n_front += 1

    def _passage(self, passage: Passage) -> None:
        assert self._front is not None
        self._n_front += 1
        self._front.write_string(self._n_front, 0, clean(passage.heading), self._styles.heading)
        self._n_front += 1
        for line in passage.lines:
            if len(line) == 1:  # a merged cell could not be read back in constant memory
                self._text(self._front, self._n_front, 0, line[0])
            for place, text in enumerate(line if len(line) > 1 else ()):
                if place == 0:
                    self._front.write_string(self._n_front, 0, clean(text), self._styles.label)
                else:
                    self._text(self._front, self._n_front, place, text)
            self._n_front += 1

    def _boxes(self, boxes: Boxes) -> None:
        assert self._front is not None
        self._n_front += 1
        self._front.write_string(self._n_front, 0, clean(boxes.heading), self._styles.heading)
        self._n_front += 1
        for label in boxes.labels:
            self._front.set_row(self._n_front, 44)
            self._front.write_string(self._n_front, 0, clean(label), self._styles.box)
            self._front.write_blank(self._n_front, 1, None, self._styles.box)
            self._n_front += 1

    def _begin_table(self, head: TableHead) -> None:
        sheet = self._sheet = self._new_sheet(head.name)
        self._kinds = tuple(column.kind for column in head.columns)
        for place, column in enumerate(head.columns):
            sheet.set_column(place, place, min(column.width, _WIDEST) + 2)
        sheet.write_string(0, 0, clean(head.heading), self._styles.heading)
        self._n_rows = 1
        if head.note:
            sheet.write_string(1, 0, clean(head.note), self._styles.note)
            self._n_rows = 2
        for place, column in enumerate(head.columns):
            sheet.write_string(self._n_rows, place, clean(column.heading), self._styles.column)
        sheet.repeat_rows(self._n_rows)
        sheet.freeze_panes(self._n_rows + 1, 0)
        self._n_rows += 1

    def _rows(self, block: Rows) -> None:
        assert self._sheet is not None
        if self._n_rows + len(block.rows) > MAX_ROWS:
            raise InvalidRequest(
                f"a table has at most {MAX_ROWS} rows", cure="ask for a shorter period"
            )
        for row in block.rows:
            for place, (one, kind) in enumerate(zip(row, self._kinds, strict=True)):
                if isinstance(one, str):
                    self._text(self._sheet, self._n_rows, place, one)
                elif one is not None and kind is ColumnKind.MONEY:
                    self._sheet.write_number(self._n_rows, place, one / 100, self._styles.money)
                elif one is not None:
                    self._sheet.write_number(self._n_rows, place, one, self._styles.count)
            self._n_rows += 1

    def _text(self, sheet: Worksheet, row: int, place: int, text: str) -> None:
        plain = clean(text)
        style = self._styles.quoted if plain.startswith(_FORMULA) else self._styles.text
        sheet.write_string(row, place, plain, style)

    def _new_sheet(self, name: str) -> Worksheet:
        assert self._cover is not None
        sheet = self._book.add_worksheet(name[:31])
        sheet.set_paper(9)  # A4
        sheet.set_landscape()
        sheet.fit_to_pages(1, 0)
        sheet.set_margins(left=0.5, right=0.5, top=0.8, bottom=0.7)
        title = clean(self._cover.title)[:60].replace("&", "&&")
        sheet.set_header(f"&L&8{title}&R&8{clean(self._cover.notice)[:120].replace('&', '&&')}")
        return sheet


class _Styles:
    """The looks of cells."""

    def __init__(self, book: Workbook) -> None:
        def make(**looks: object) -> Format:
            return book.add_format({**_FONT, **looks})

        line = {"border": 1, "border_color": "#BFBFBF"}
        self.title = make(bold=True, font_size=18, font_color=_BLUE)
        self.heading = make(bold=True, font_size=13, font_color=_BLUE)
        self.notice = make(bold=True, font_color="#C00000")
        self.label = make(bold=True, text_wrap=True)
        self.note = make(italic=True, font_color="#595959")
        self.column = make(
            bold=True,
            text_wrap=True,
            bg_color=_BLUE,
            font_color="#FFFFFF",
            valign="vcenter",
            **line,
        )
        self.text = make(text_wrap=True, **line)
        self.quoted = make(text_wrap=True, quote_prefix=True, **line)
        self.count = make(num_format="#,##0", **line)
        self.money = make(num_format="#,##0.00", **line)
        self.box = make(text_wrap=True, border=1)
