"""Recipient lists as people and machines send them: TXT, CSV, NDJSON, spreadsheets (SMS-07).

An upload is first written to a file of its own, since the encoding of a text can only be told from
all of it; then it is read in slices, off the loop.
"""

from __future__ import annotations

import asyncio
import codecs
import csv
import hashlib
import json
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from io import TextIOWrapper
from pathlib import Path
from typing import BinaryIO, Final

from modemctl.errors import InvalidRequest
from modemctl.policy.content import is_variable_name
from modemctl.policy.numbers import NumberRules, Rejection, normalise
from modemctl.service.characters import unfit

SLICE_LINES: Final = 500
"""Lines that are judged and stored at a time: keeps each transaction below 20 ms."""
MAX_LINES: Final = 2_000_000
MAX_LINE_CHARS: Final = 8_192
MAX_ROW_CHARS: Final = 65_536

_SLICE_CHARS: Final = 1 << 17  # a slice of long lines has fewer of them
_BLOCK: Final = 1 << 20
_HEAD: Final = 4_096
_DELIMITERS: Final = ",\t;|"
_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_NUMBER_COLUMNS: Final = frozenset(
    {"to", "number", "phone", "phone number", "mobile", "msisdn", "recipient", "tel",
     "手机", "手机号", "手机号码", "号码", "电话", "电话号码", "联系电话", "移动电话",
     "手機", "手機號", "手機號碼", "號碼", "電話", "電話號碼", "聯繫電話", "移動電話"}
)  # fmt: skip


class ListFormat(StrEnum):
    """Forms in which a list may come."""

    TXT = "txt"  # one number a line
    CSV = "csv"  # number and variables; the first line may name the columns
    NDJSON = "ndjson"  # {"to": …, "variables": {…}} a line
    XLSX = "xlsx"  # spreadsheets, the older format too; as CSV


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """One line as it came: `to` is as written, `variables` are for the template."""

    line_no: int
    to: str = field(repr=False)
    variables: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spooled:
    """An upload in a file, and the SHA-256 of its octets."""

    path: Path
    n_octets: int
    sha256: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A list that is being read; `share` (0 … 1) tells how much of it was."""

    lines: Iterator[Recipient]
    share: Callable[[], float]


@asynccontextmanager
async def spool(chunks: AsyncIterator[bytes], *, max_octets: int) -> AsyncIterator[Spooled]:
    """Write an upload to a file that only we can read and that goes with the block.

    Raises:
        InvalidRequest: more than `max_octets`.
    """
    folder = await asyncio.to_thread(tempfile.TemporaryDirectory, prefix="modemctl-list-")
    try:
        path = Path(folder.name) / "list"
        out = await asyncio.to_thread(path.open, "wb")
        try:
            digest, n_octets = hashlib.sha256(), 0
            async for chunk in chunks:
                n_octets += len(chunk)
                if n_octets > max_octets:
                    raise InvalidRequest(
                        f"a list has at most {max_octets} octets", cure="split it into batches"
                    )
                digest.update(chunk)
                await asyncio.to_thread(out.write, chunk)
        finally:
            await asyncio.to_thread(out.close)
        yield Spooled(path=path, n_octets=n_octets, sha256=digest.digest())
    finally:
        await asyncio.to_thread(folder.cleanup)


@contextmanager
def read_lines(
    path: Path, list_format: ListFormat, *, encoding: str | None = None
) -> Iterator[Reading]:
    """The list's lines in order, read as they are asked for; for a thread or process of its own.

    `encoding` overrides the look at the octets. Lines raise `InvalidRequest` where they are not of
    this format, do not decode, or are too many or too long.

    Raises:
        InvalidRequest: not of this format or encoding.
    """
    if list_format is ListFormat.XLSX:
        yield _sheet(path)
        return
    with path.open("rb") as octets:
        text = _as_text(octets, encoding or detect_encoding(path))
        n_octets = max(1, path.stat().st_size)
        yield Reading(
            lines=_checked(_READERS[list_format](text)),
            share=lambda: min(1.0, octets.tell() / n_octets),
        )


def in_slices(lines: Iterable[Recipient]) -> Iterator[Sequence[Recipient]]:
    """Lines in slices that one short transaction can take."""
    part: list[Recipient] = []
    n_chars = 0
    for line in lines:
        part.append(line)
        n_chars += len(line.to) + sum(map(len, line.variables.values()))
        if len(part) == SLICE_LINES or n_chars >= _SLICE_CHARS:
            yield part
            part, n_chars = [], 0
    if part:
        yield part


def detect_encoding(path: Path) -> str:
    """The encoding of a text file: BOM, UTF-16 by its NULs, strict UTF-8, strict GB18030.

    Raises:
        InvalidRequest: none of them; names the octet that fits none.
    """
    with path.open("rb") as source:
        head = source.read(_HEAD)
    for bom, name in _BOMS:
        if head.startswith(bom):
            return name
    if head.count(0) * 3 > len(head):
        # Digits in UTF-16: the NULs stand in the even places of the big-endian form.
        return "utf-16-be" if head[0::2].count(0) > head[1::2].count(0) else "utf-16-le"
    if _first_fault(path, "utf-8") is None:
        return "utf-8"
    fault = _first_fault(path, "gb18030")
    if fault is None:
        return "gb18030"
    raise InvalidRequest(
        f"the text is neither UTF-8, UTF-16 nor GB18030: octet {fault} fits none",
        cure="save the list as UTF-8, or name its encoding",
    )


def _first_fault(path: Path, encoding: str) -> int | None:
    """Place of the first octet that does not decode; None if all do."""
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    n_read = 0
    with path.open("rb") as source:
        while True:
            block = source.read(_BLOCK)
            try:
                decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                return n_read + len(block) - len(error.object) + error.start
            if not block:
                return None
            n_read += len(block)


def _as_text(octets: BinaryIO, encoding: str) -> TextIOWrapper:
    try:
        # Codecs that make no text of octets, such as zlib, are refused as well.
        return TextIOWrapper(octets, encoding=encoding, newline=None, errors="strict")
    except (LookupError, ValueError) as error:
        raise InvalidRequest("no such encoding", field="encoding", value=encoding[:40]) from error


def _checked(lines: Iterator[Recipient]) -> Iterator[Recipient]:
    try:
        for line in lines:
            if line.line_no > MAX_LINES:
                raise InvalidRequest(
                    f"a list has at most {MAX_LINES} lines", cure="split it into batches"
                )
            yield line
    except UnicodeError as error:
        raise InvalidRequest(
            "the list does not decode in this encoding", field="encoding"
        ) from error
    except csv.Error as error:
        raise InvalidRequest("the list is not CSV") from error


# ---------------------------------------------------------------- the formats


def _numbered(text: TextIOWrapper) -> Iterator[tuple[int, str]]:
    line_no = 0
    while line := text.readline(MAX_LINE_CHARS + 1):
        line_no += 1
        if len(line) > MAX_LINE_CHARS:
            raise InvalidRequest(f"line {line_no} has more than {MAX_LINE_CHARS} characters")
        _require_fit(line_no, line)  # some codecs let half a character through
        yield line_no, line


def _txt(text: TextIOWrapper) -> Iterator[Recipient]:
    for line_no, line in _numbered(text):
        if stripped := line.strip("\ufeff \t\r\n\x1a"):
            yield Recipient(line_no=line_no, to=stripped, variables={})


def _csv(text: TextIOWrapper) -> Iterator[Recipient]:
    lines = (line for _, line in _numbered(text))
    first = next((line for line in lines if line.strip()), "")
    text.seek(0)
    delimiter = max(_DELIMITERS, key=first.count)
    records = csv.reader((line for _, line in _numbered(text)), delimiter=delimiter)
    table = _Table()
    for record in records:
        if (found := table.read(records.line_num, record)) is not None:
            yield found


def _ndjson(text: TextIOWrapper) -> Iterator[Recipient]:
    for line_no, line in _numbered(text):
        if not line.strip():
            continue
        try:
            members = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InvalidRequest(f"line {line_no} is not JSON") from error
        yield _from_members(line_no, members)


def _from_members(line_no: int, members: object) -> Recipient:
    if isinstance(members, str):
        members = {"to": members}
    variables = members.get("variables", {}) if isinstance(members, dict) else None
    if not isinstance(members, dict) or not isinstance(variables, dict):
        raise InvalidRequest(f'line {line_no} is not an object {{"to": …, "variables": {{…}}}}')
    to = members.get("to")
    texts = (to, *variables, *variables.values())
    is_plain = all(isinstance(one, str) for one in texts)
    if not is_plain or members.keys() - {"to", "variables"}:
        raise InvalidRequest(f"line {line_no} holds other members or values than strings")
    for text in texts:  # JSON may escape what no text may hold
        _require_fit(line_no, str(text))
    return Recipient(line_no=line_no, to=str(to), variables=variables)


def _require_fit(line_no: int, text: str) -> None:
    if rule := unfit(text):
        raise InvalidRequest(f"line {line_no} {rule}", cure="write it again, as UTF-8")


class _Table:
    """Rows of cells: the first may name the columns, else the first cell is the number."""

    def __init__(self) -> None:
        self._names: Sequence[str] | None = None

    def read(self, line_no: int, cells: Sequence[str]) -> Recipient | None:
        """The row as a recipient; None for an empty one and for the heading."""
        if not any(cell.strip() for cell in cells):
            return None
        if self._names is None:
            self._names = _column_names(cells)
            if self._names:
                return None
        return _from_cells(line_no, cells, self._names)


def _column_names(cells: Sequence[str]) -> Sequence[str]:
    """Names of the columns, `to` among them; empty where the row is no heading."""
    if not isinstance(normalise(cells[0], NumberRules()), Rejection):
        return ()
    plain = [cell.strip().strip("\ufeff") for cell in cells]
    names = ["to" if name.casefold() in _NUMBER_COLUMNS else name for name in plain]
    return names if names.count("to") == 1 else ()


def _from_cells(line_no: int, cells: Sequence[str], names: Sequence[str]) -> Recipient:
    if not names:
        return Recipient(line_no=line_no, to=cells[0], variables={})
    row = dict(zip(names, (cell.strip() for cell in cells), strict=False))
    variables = {
        name: value for name, value in row.items() if name != "to" and is_variable_name(name)
    }
    return Recipient(line_no=line_no, to=row.get("to", ""), variables=variables)


_READERS: Final[Mapping[ListFormat, Callable[[TextIOWrapper], Iterator[Recipient]]]] = {
    ListFormat.TXT: _txt,
    ListFormat.CSV: _csv,
    ListFormat.NDJSON: _ndjson,
}


# ---------------------------------------------------------------- spreadsheets


def _sheet(path: Path) -> Reading:
    # Imported here: the daemon never reads one itself, its child processes do.
    from modemctl.service import sheets

    table, n_done = _Table(), 0

    def lines(rows: Iterator[tuple[int, Sequence[str]]]) -> Iterator[Recipient]:
        nonlocal n_done
        for row_no, cells in rows:
            n_done = row_no
            if sum(map(len, cells)) > MAX_ROW_CHARS:
                raise InvalidRequest(f"row {row_no} has more than {MAX_ROW_CHARS} characters")
            if (found := table.read(row_no, cells)) is not None:
                yield found

    try:
        sheet = sheets.open_sheet(path)
    except ValueError as error:
        raise InvalidRequest(str(error)) from error
    return Reading(
        lines=_checked(lines(sheet.rows)), share=lambda: min(1.0, n_done / max(1, sheet.n_rows))
    )
