"""A spreadsheet's rows as JSON lines, in a process of its own: `python -m modemctl.service.sheets`.

Reading a large workbook takes seconds of CPU and a lot of memory; neither is the daemon's. Written
are `[row number, [cell, …]]` for rows that hold anything, cells as text.
"""

from __future__ import annotations

import json
import resource
import sys
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Final, TextIO, TypeAlias

import python_calamine

MAX_UNPACKED: Final = 1 << 30
"""Octets that a workbook may unpack to: more is a bomb, not a list."""
MAX_ROWS: Final = 1 << 21
MAX_COLUMNS: Final = 1 << 14
"""Where a cell may lie: spreadsheet programs go to half of these rows, and all before are read."""
MAX_MEMORY: Final = 1 << 30
"""Octets of address space: a full sheet of a million rows needs a third of it."""
MAX_CPU: Final = 120
"""Seconds of CPU."""
TOO_MUCH: Final = "the spreadsheet needs more memory or time than a list may"
REFUSED: Final = 3
"""Exit status where the file is no workbook that we take; the reason stands on stderr."""

Cell: TypeAlias = str | float | bool | date | datetime | time | timedelta
_EXACT: Final = 2**53


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """The first sheet: number (from 1) and cells of each row that holds anything."""

    n_rows: int
    rows: Iterator[tuple[int, list[str]]]


def open_sheet(path: Path) -> Sheet:
    """The first sheet of a workbook; all of it is in memory then.

    Raises:
        ValueError: not a workbook, or one that unpacks to too much.
    """
    _require_reasonable(path)
    try:
        workbook = python_calamine.CalamineWorkbook.from_path(str(path))
        sheet = workbook.get_sheet_by_index(0)
    except python_calamine.CalamineError as error:
        raise ValueError("not a spreadsheet that can be read") from error
    if sheet.total_height > MAX_ROWS or sheet.total_width > MAX_COLUMNS:
        raise ValueError(f"a cell lies beyond row {MAX_ROWS} or column {MAX_COLUMNS}")
    return Sheet(n_rows=sheet.total_height, rows=_rows(sheet))


def _rows(sheet: python_calamine.CalamineSheet) -> Iterator[tuple[int, list[str]]]:
    for row_no, cells in enumerate(sheet.iter_rows(), 1):
        texts = [_text(cell) for cell in cells]
        while texts and not texts[-1]:
            texts.pop()
        if texts:
            yield row_no, texts


def write_rows(path: Path, out: TextIO) -> None:
    """Write the rows as JSON lines.

    Raises:
        ValueError: as `open_sheet`.
    """
    for row_no, cells in open_sheet(path).rows:
        out.write(json.dumps([row_no, cells], ensure_ascii=False) + "\n")


def _require_reasonable(path: Path) -> None:
    if not zipfile.is_zipfile(path):
        return  # the older format is not packed
    try:
        with zipfile.ZipFile(path) as archive:
            n_octets = sum(member.file_size for member in archive.infolist())
    except zipfile.BadZipFile as error:
        raise ValueError("not a spreadsheet that can be read") from error
    if n_octets > MAX_UNPACKED:
        raise ValueError(f"the spreadsheet unpacks to more than {MAX_UNPACKED} octets")


def _text(cell: Cell) -> str:
    """A cell as a person reads it; whole numbers without a point while they are exact."""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < _EXACT:
        return str(int(cell))
    if isinstance(cell, datetime | date | time):
        return cell.isoformat()
    return str(cell).strip()


def main(arguments: Sequence[str]) -> int:
    """Write the rows of the named file to stdout; the exit status says whether it could."""
    try:
        write_rows(Path(arguments[0]), sys.stdout)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return REFUSED
    except MemoryError:
        sys.stderr.write(f"{TOO_MUCH}\n")
        return REFUSED
    return 0


def limit_itself() -> None:
    """Let this process take no more than a list may need: a small file can unfold to gigabytes."""
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_CPU, MAX_CPU))


if __name__ == "__main__":
    limit_itself()
    sys.exit(main(sys.argv[1:]))
