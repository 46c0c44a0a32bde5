"""Printed reports as values: a cover, passages, signature boxes, tables; and the digest of it all.

A report is a row of blocks: the cover, then passages and boxes, then tables. Its digest is taken
over the texts of its cells in that order, so that a workbook and a page of the same content have
the same one, and a workbook that was saved again still proves itself.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, TypeAlias

import rfc8785


class PaperFormat(StrEnum):
    """What a report is written as."""

    XLSX = "xlsx"
    PDF = "pdf"


class Lang(StrEnum):
    """The language of a report's own words; names and texts stay as they are."""

    ZH = "zh"
    EN = "en"


class ColumnKind(StrEnum):
    """What stands in a column."""

    TEXT = "text"
    COUNT = "count"
    MONEY = "money"  # in hundredths: fen


Cell: TypeAlias = str | int | None
"""A text, a count, or an amount in hundredths where the column says so; None is empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a table; `width` in characters of Latin script, twice as wide for Chinese."""

    heading: str
    kind: ColumnKind = ColumnKind.TEXT
    width: int = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Cover:
    """What stands first: `facts` are label and value; `notice` is shown on each page."""

    title: str
    lang: Lang
    facts: tuple[tuple[str, str], ...]
    notice: str
    digest_label: str
    page_label: str  # with {page} and {pages}


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A heading with lines of text below it; pairs read label and value."""

    heading: str
    lines: tuple[tuple[str, ...], ...] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Boxes:
    """Room for signatures and stamps."""

    heading: str
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TableHead:
    """Begins a table; its rows follow. `name` is short: that of the sheet."""

    name: str
    heading: str
    columns: tuple[Column, ...]
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Rows of the table that was begun last."""

    rows: tuple[tuple[Cell, ...], ...] = field(repr=False)


Block: TypeAlias = Cover | Passage | Boxes | TableHead | Rows

MAX_CHARS: Final = 32_000
"""Of one cell: a spreadsheet takes 32,767."""
_CONTROL: Final = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff\u202a-\u202e\u2066-\u2069]"
)
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


def clean(text: str) -> str:
    """A text as every format can hold it: no controls, no turned direction of writing."""
    plain = _CONTROL.sub("\ufffd", text.replace("\r\n", "\n").replace("\t", " ")).strip()
    return plain if len(plain) <= MAX_CHARS else plain[: MAX_CHARS - 1] + "…"


def rows_of(block: Block) -> Iterator[tuple[str, ...]]:
    """A block as rows of texts, which is how a workbook holds it; what `digest_of` is taken over.

    Of tables the head only: `Content` knows what a row's column is.
    """
    match block:
        case Cover():
            yield (block.title,)
            yield from block.facts
            yield (block.notice,)
        case Passage():
            yield (block.heading,)
            yield from block.lines
        case Boxes():
            yield (block.heading,)
            yield from ((label,) for label in block.labels)
        case TableHead():
            yield (block.heading,)
            if block.note:
                yield (block.note,)
            yield tuple(column.heading for column in block.columns)
        case Rows():
            yield from (tuple(cell_text(cell) for cell in row) for row in block.rows)


def cell_text(cell: Cell | float, kind: ColumnKind = ColumnKind.COUNT) -> str:
    """What a cell says: of an amount in hundredths the amount, as a spreadsheet tells it."""
    if cell is None:
        return ""
    if isinstance(cell, str):
        return clean(cell)
    value = cell / 100 if kind is ColumnKind.MONEY else float(cell)
    return str(int(value)) if value.is_integer() else repr(value)


class Content:
    """Takes the digest of a report, block after block."""

    def __init__(self) -> None:
        self._sha = hashlib.sha256()
        self._kinds: Sequence[ColumnKind] = ()
        self.n_rows = 0

    def add(self, block: Block) -> None:
        """The next block."""
        if isinstance(block, Rows):
            for row in block.rows:
                kinds = self._kinds
                self.add_row([cell_text(one, kind) for one, kind in zip(row, kinds, strict=True)])
            self.n_rows += len(block.rows)
            return
        if isinstance(block, TableHead):
            self._kinds = [column.kind for column in block.columns]
        for texts in rows_of(block):
            self.add_row([clean(text) for text in texts])

    def add_row(self, texts: Sequence[str]) -> None:
        """The next row as texts; empty cells at its end and empty rows say nothing."""
        n_told = max((place for place, text in enumerate(texts, 1) if text), default=0)
        if n_told:
            self._sha.update(rfc8785.dumps(list(texts[:n_told])) + b"\n")

    def digest(self) -> str:
        """SHA-256 so far, hexadecimal."""
        return self._sha.hexdigest()


def digest_of(blocks: Iterable[Block]) -> str:
    """The digest of a whole report."""
    content = Content()
    for block in blocks:
        content.add(block)
    return content.digest()


def prove(rows: Iterable[Sequence[Cell | float]], labels: Sequence[str]) -> tuple[str | None, str]:
    """The digest that a workbook names behind one of these labels (None: none), and its own."""
    content, named = Content(), None
    for row in rows:
        texts = [cell_text(cell) for cell in row]
        if len(texts) > 1 and texts[0] in labels and _DIGEST.fullmatch(texts[1]):
            named = texts[1]
            continue
        content.add_row(texts)
    return named, content.digest()
