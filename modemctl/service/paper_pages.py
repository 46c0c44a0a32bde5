"""Reports as pages (PDF), set by typst with a font of our own, so that Chinese looks the same
everywhere and can be searched. A character that the font lacks is printed by its number.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Final

from modemctl.policy.papers import (
    Block,
    Boxes,
    Cell,
    Column,
    ColumnKind,
    Content,
    Cover,
    Passage,
    Rows,
    TableHead,
    clean,
)
from modemctl.service.paper_words import Words

MAX_ROWS: Final = 3_000
"""Of all tables of a PDF together: pages are kept in memory (some 150 KB a row of 8 columns).

What is behind them is in the digest, and the paper says that it is not printed.
"""
_FONTS: Final = Path(__file__).parent / "fonts"
_TEMPLATE: Final = Path(__file__).parent / "paper_pages.typ"
_WIDE: Final = 92  # characters that an upright page has room for
_LONGEST: Final = 80  # characters of a word outside of tables
_WORD: Final = re.compile(r"[!-~]{8,}")
_BREAK: Final = "\u200b"  # a line may end here
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)  # the same content gives the same file


class Pages:
    """Collects a report and sets it; `folder` is for the files of the typesetting."""

    def __init__(self, path: Path, folder: Path) -> None:
        self._path = path
        self._folder = folder
        self._content = Content()
        self._cover: Cover | None = None
        self._passages: list[dict[str, object]] = []
        self._boxes: dict[str, object] | None = None
        self._tables: list[dict[str, object]] = []
        self._rows: list[list[str]] = []
        self._columns: tuple[Column, ...] = ()
        self._width = 0

    def add(self, block: Block) -> None:
        """The next block; rows behind the 3,000th are counted, not printed."""
        n_before = self._content.n_rows
        self._content.add(block)
        match block:
            case Cover():
                self._cover = block
            case Passage():
                lines = [[shown(text) for text in line] for line in block.lines]
                self._passages.append({"heading": shown(block.heading), "lines": lines})
            case Boxes():
                labels = [shown(label) for label in block.labels]
                self._boxes = {"heading": shown(block.heading), "labels": labels}
            case TableHead():
                self._begin_table(block)
            case Rows():
                self._rows += [
                    [_printed(one, column) for one, column in zip(row, self._columns, strict=True)]
                    for row in block.rows[: max(MAX_ROWS - n_before, 0)]
                ]

    def close(self) -> tuple[str, int]:
        """Set the pages; the digest, and how many rows tables had."""
        import typst

        assert self._cover is not None
        digest = self._content.digest()
        data = self._folder / "paper.json"
        data.write_text(json.dumps(self._data(self._cover, digest)), encoding="utf-8")
        source = self._folder / "paper.typ"
        source.write_bytes(_TEMPLATE.read_bytes())
        typst.compile(
            str(source),
            output=str(self._path),
            root=str(self._folder),
            font_paths=[str(_FONTS)],
            ignore_system_fonts=True,
            timestamp=_EPOCH,
            pdf_tags=False,  # a tag for each cell takes ten times the memory
        )
        return digest, self._content.n_rows

    def _begin_table(self, head: TableHead) -> None:
        self._columns = head.columns
        self._width = max(self._width, sum(column.width for column in head.columns))
        self._rows = []
        self._tables.append(
            {
                "heading": shown(head.heading),
                "note": shown(head.note),
                "columns": [shown(column.heading) for column in head.columns],
                "widths": [column.width for column in head.columns],
                "right": [column.kind is not ColumnKind.TEXT for column in head.columns],
                "rows": self._rows,
            }
        )

    def _data(self, cover: Cover, digest: str) -> dict[str, object]:
        n_rows = self._content.n_rows
        if n_rows > MAX_ROWS:
            words = Words(cover.lang)
            told = words("cut", n=f"{n_rows:,}", most=f"{MAX_ROWS:,}")
            self._passages.insert(0, {"heading": words("cut_heading"), "lines": [[shown(told)]]})
        return {
            "title": shown(cover.title),
            "lang": cover.lang.value,
            "facts": [[shown(label), shown(value)] for label, value in cover.facts],
            "notice": shown(cover.notice),
            "digest_label": shown(cover.digest_label),
            "digest": digest,
            "page_label": cover.page_label,
            "is_wide": self._width > _WIDE,
            "passages": self._passages,
            "boxes": self._boxes,
            "tables": self._tables,
        }


def shown(text: str) -> str:
    """A text with what the font lacks written by its number: nothing vanishes without a word.

    Long words may be broken.
    """
    held = _held()
    printable = "".join(
        char if char in held or char == "\n" else f"〔U+{ord(char):04X}〕" for char in clean(text)
    )
    return _breakable(printable, longest=_LONGEST)


@cache
def _held() -> frozenset[str]:
    return frozenset((_FONTS / "ModemctlSans.txt").read_text(encoding="utf-8"))


def _breakable(text: str, *, longest: int) -> str:
    """A text whose words of Latin script do not run out of their column."""

    def broken(found: re.Match[str]) -> str:
        word = found[0]
        if len(word) <= longest:
            return word
        step = max(longest - 2, 4)
        return _BREAK.join(word[at : at + step] for at in range(0, len(word), step))

    return _WORD.sub(broken, text)


def _printed(cell: Cell, column: Column) -> str:
    if cell is None:
        return ""
    if isinstance(cell, str):
        return _breakable(shown(cell), longest=column.width)
    kind = column.kind
    return f"{cell / 100:,.2f}" if kind is ColumnKind.MONEY else f"{cell:,}"
