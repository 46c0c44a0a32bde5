"""How long a recipient list of a million lines takes to come in, and what it costs meanwhile.

Each row is a daemon of its own on a simulated bank that sends all the while: a list in a file (GBK
text or spreadsheet; one text for all, or a text with variables) is submitted through the API as
anybody would, until the answer with its preview; then the batch is confirmed, approved and started.
The baseline in the same run is the least that such a list needs: the same file read, every line
indexed, sealed and put into an empty copy of the same tables, by a bare script that judges nothing.

    .venv/bin/python bench/lists.py --lines 1000000
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import json
import math
import os
import sqlite3
import sys
import tempfile
import threading
import time
import uuid
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Final

import python_calamine
from banks import Staffed, metrics, open_staffed, wait_until
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from meters import LedgerReader, cpu_seconds, histogram, quantile_bound, rss_mb

from modemctl.store.tables import metadata

_PATIENCE: Final = 900.0
_LAG: Final = "modemctl_loop_lag_seconds"
_COMMIT: Final = "modemctl_journal_commit_seconds"
_BEFORE: Final = 20.0  # seconds of sending before the list comes
_LATENCY: Final = 1.0
_SLICE: Final = 500
_TEXTS: Final = {
    "one": "【示例公司】您的通知已到，请查收。",
    "variables": "【示例公司】尊敬的{姓名}，您的第{编号}号通知已到，请查收。",
}
_MOST_SECONDS: Final = {"one": 60.0, "variables": 120.0}
_MOST: Final = {"daemon_grew_mb": 50.0, "child_mb": 500.0, "loop_lag_p99_s": 0.05}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table. The pauses are the longest between two segments of the bank."""

    form: str
    text: str
    lines: int
    import_s: float
    bare_s: float
    of_bare: float
    daemon_cpu_s: float
    daemon_grew_mb: float
    child_mb: float
    loop_lag_p99_s: float
    commit_p99_s: float
    sent_per_s_before: float
    sent_per_s: float
    pause_before_s: float
    pause_s: float
    first_sent_s: float


def main() -> int:
    options = _options()
    rows: list[Row] = []
    if not options.json:
        print(f"load average before: {os.getloadavg()[0]:.2f} on {os.cpu_count()} cores\n")
        print(_HEAD, flush=True)
    for form in options.forms:
        for text in options.texts:
            with tempfile.TemporaryDirectory(prefix="modemctl-bench-") as folder:
                rows.append(_measure(Path(folder), form, text, options.lines, options.modems))
            if not options.json:
                print(_line(rows[-1]), flush=True)
    if options.json:
        print(json.dumps([asdict(row) for row in rows]))
    missed = [f"{row.form} {row.text}: {name}" for row in rows for name in _missed(row)]
    print(f"target: {', '.join(missed) + ' NOT met' if missed else 'met'}", file=sys.stderr)
    return 1 if missed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0],
        epilog="Exit status 1 where the target (1,000,000 lines: < 60 s with one text, < 120 s "
        "with variables; daemon + 50 MB, child 500 MB; loop lag p99 < 50 ms) is not met.",
    )
    parser.add_argument("--lines", type=int, default=1_000_000, help="length of the list")
    parser.add_argument("--forms", type=_words, default=["txt", "xlsx"], help="txt, xlsx")
    parser.add_argument("--texts", type=_words, default=list(_TEXTS), help="one, variables")
    parser.add_argument("--modems", type=int, default=4, help="that send meanwhile (default 4)")
    parser.add_argument("--json", action="store_true", help="one JSON array instead of a table")
    return parser.parse_args()


def _words(text: str) -> list[str]:
    return text.split(",")


def _missed(row: Row) -> list[str]:
    over = [name for name, most in _MOST.items() if asdict(row)[name] > most]
    most_seconds = _MOST_SECONDS[row.text] * row.lines / 1_000_000
    return over + (["import_s"] if row.import_s > most_seconds else [])


def _measure(folder: Path, form: str, text: str, n_lines: int, n_modems: int) -> Row:
    path = write_list(folder, form, n_lines, has_variables=text == "variables")
    bare = _bare(folder, path)
    with open_staffed(n_modems=n_modems, latency=_LATENCY, seed=1, patience=_PATIENCE) as staffed:
        world = staffed.world
        ledger = LedgerReader(world.bank / "ledger.jsonl")
        running = staffed.start(int(n_modems * (400 + 4 * bare)))
        wait_until(lambda: len({one.modem for one in ledger.read()}) == n_modems, what="sending")
        time.sleep(_BEFORE)
        before, begin, cpu = metrics(world), time.time(), cpu_seconds(world.daemon_pid)
        with watched(world.daemon_pid) as sizes:
            batch_id = submit_list(staffed, path, _TEXTS[text], n_lines)
        end, after = time.time(), metrics(world)
        cpu = cpu_seconds(world.daemon_pid) - cpu
        if not staffed.progress(running)["queued"]:
            raise RuntimeError("the bank ran out of work: the pauses do not count")
        staffed.hold(running)
        first = _first_sent(staffed, batch_id, ledger)
        earlier = [one.at for one in ledger.read() if begin - _BEFORE <= one.at < begin]
        during = [one.at for one in ledger.taken if begin <= one.at <= end]
    return Row(
        form=form,
        text=text,
        lines=n_lines,
        import_s=end - begin,
        bare_s=bare,
        of_bare=bare / (end - begin),
        daemon_cpu_s=cpu,
        daemon_grew_mb=sizes["daemon"],
        child_mb=sizes["child"],
        loop_lag_p99_s=_p99(_LAG, before, after),
        commit_p99_s=_p99(_COMMIT, before, after),
        sent_per_s_before=len(earlier) / _BEFORE,
        sent_per_s=len(during) / (end - begin),
        pause_before_s=_longest_pause(begin - _BEFORE, earlier, begin),
        pause_s=_longest_pause(begin, during, end),
        first_sent_s=first,
    )


def _p99(name: str, before: str, after: str) -> float:
    return quantile_bound(histogram(before, name), histogram(after, name), 0.99)


def _longest_pause(begin: float, moments: Sequence[float], end: float) -> float:
    points = [begin, *sorted(moments), end]
    return max((b - a for a, b in pairwise(points)), default=math.nan)


# ---------------------------------------------------------------- what is measured


def submit_list(staffed: Staffed, path: Path, text: str, n_lines: int) -> str:
    """Submit the list as a notice of the sales department; its id, when its preview is there."""
    request = {
        "batch_id": str(uuid.uuid4()),
        "category": "notice",
        "text": text,
        "department": "sales",
        "drafter": "liu-drafter",
        "operator": "zhou-operator",
        "list_owner": "liu-drafter",
        "list_source": "made for this measurement",
    }
    with staffed.world.client("approval-system") as system, path.open("rb") as file:
        found = system.multipart(
            "/v1/batches/upload",
            fields={"request": json.dumps(request)},
            name="list",
            file=file,
            file_name=path.name,
        )
    if found["n_messages"] != n_lines or found["state"] != "checked":
        raise RuntimeError(f"not what was submitted: {found['state']} {found['totals']}")
    return str(found["batch_id"])


def _first_sent(staffed: Staffed, batch_id: str, ledger: LedgerReader) -> float:
    """Approve and start the batch; seconds from the start's answer to its first segment."""
    staffed.approve("notice", batch_id)

    def at_rest() -> bool:
        n_taken = len(ledger.read())
        time.sleep(3 * _LATENCY)
        return len(ledger.read()) == n_taken

    wait_until(at_rest, what="the other batches at rest")
    n_taken = len(ledger.read())
    with staffed.world.client("zhou-operator") as operator:
        begin = time.time()
        operator.post(f"/v1/batches/{batch_id}/start")
        wait_until(lambda: len(ledger.read()) > n_taken, what="its first segment")
        staffed.hold([batch_id])
    return ledger.taken[n_taken].at - begin


@contextmanager
def watched(pid: int) -> Iterator[dict[str, float]]:
    """How much a process grows at most within the block, and how large its largest child is."""
    sizes, first, stop = {"daemon": 0.0, "child": 0.0}, rss_mb(pid), threading.Event()

    def look() -> None:
        while not stop.wait(0.1):
            sizes["daemon"] = max(sizes["daemon"], rss_mb(pid) - first)
            sizes["child"] = max([sizes["child"], *map(_rss_or_none, _children(pid))])

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield sizes
    finally:
        stop.set()
        watcher.join()


def _children(pid: int) -> list[int]:
    """Children of all its threads."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            found += (task / "children").read_text().split()
        except OSError:
            continue  # a thread that ended just now
    return [int(one) for one in found]


def _rss_or_none(pid: int) -> float:
    try:
        return rss_mb(pid)
    except (OSError, IndexError):
        return 0.0  # it ended just now


# ---------------------------------------------------------------- the list


def write_list(folder: Path, form: str, n_lines: int, *, has_variables: bool) -> Path:
    """A list of different numbers in no order, as they come from a customer database."""
    numbers = (f"138{index * 7_368_787 % 100_000_000:08}" for index in range(n_lines))
    if form == "xlsx":
        return _write_workbook(folder / "list.xlsx", numbers, has_variables=has_variables)
    path = folder / ("list.csv" if has_variables else "list.txt")
    with path.open("w", encoding="gbk") as out:
        out.write("手机号,姓名,编号\n" if has_variables else "")
        for index, number in enumerate(numbers):
            out.write(f"{number},客户{index % 9_973},{index}\n" if has_variables else f"{number}\n")
    return path


def _write_workbook(path: Path, numbers: Iterator[str], *, has_variables: bool) -> Path:
    """As a spreadsheet program writes it: numbers as numbers, texts in place."""
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as book,
    ):
        for name, content in _WORKBOOK.items():
            book.writestr(name, content)
        with book.open("xl/worksheets/sheet1.xml", "w", force_zip64=True) as out:
            out.write(f'<worksheet xmlns="{_MAIN}"><sheetData>'.encode())
            names = ("手机号", "姓名", "编号") if has_variables else ("手机号",)
            out.write(_xml_row(1, [_xml_text(name) for name in names]))
            for row_no, number in enumerate(numbers, 2):
                index = row_no - 2
                more = [_xml_text(f"客户{index % 9_973}"), f"<c><v>{index}</v></c>"]
                cells = [f"<c><v>{number}</v></c>", *(more if has_variables else ())]
                out.write(_xml_row(row_no, cells))
            out.write(b"</sheetData></worksheet>")
    return path


def _xml_row(row_no: int, cells: Sequence[str]) -> bytes:
    return f'<row r="{row_no}">{"".join(cells)}</row>'.encode()


def _xml_text(text: str) -> str:
    return f'<c t="inlineStr"><is><t>{text}</t></is></c>'


# ---------------------------------------------------------------- the baseline


def _bare(folder: Path, path: Path) -> float:
    """Seconds for the same list without any judgement."""
    begin = time.monotonic()
    key, box = os.urandom(32), AESGCM(os.urandom(32))
    database = sqlite3.connect(folder / "bare.db", isolation_level=None)
    for pragma in ("journal_mode=WAL", "synchronous=FULL"):
        database.execute(f"PRAGMA {pragma}")
    _create_tables(database)
    lines, line_no, batch_id = _cells(path), 0, str(uuid.uuid4())
    while part := list(islice(lines, _SLICE)):
        rows = []
        for cells in part:
            line_no += 1
            nonce, octets = os.urandom(12), json.dumps([line_no, *cells]).encode()
            index = hmac.digest(key, cells[0].encode(), hashlib.sha256)[:16]
            rows.append(
                (line_no, batch_id, line_no, index, nonce + box.encrypt(nonce, octets, b""))
            )
        database.execute("BEGIN IMMEDIATE")
        database.executemany("INSERT INTO message (message_id, batch_id, line_no, recipient_bidx,"
                             " line_enc, n_segments) VALUES (?, ?, ?, ?, ?, 1)", rows)  # fmt: skip
        database.executemany("INSERT INTO segment (message_id, batch_id, seq, state)"
                             " VALUES (?, ?, 1, 'queued')", [row[:2] for row in rows])  # fmt: skip
        database.execute("COMMIT")
    database.close()
    return time.monotonic() - begin


def _create_tables(database: sqlite3.Connection) -> None:
    """Empty copies of the two tables that hold a list, with their indexes."""
    from sqlalchemy.dialects.sqlite import dialect
    from sqlalchemy.schema import CreateIndex, CreateTable

    for name in ("message", "segment"):
        table = metadata.tables[name]
        for statement in (CreateTable(table), *map(CreateIndex, sorted(table.indexes, key=str))):
            database.execute(str(statement.compile(dialect=dialect())))


def _cells(path: Path) -> Iterator[list[str]]:
    if path.suffix == ".xlsx":
        sheet = python_calamine.CalamineWorkbook.from_path(str(path)).get_sheet_by_index(0)
        for row in islice(sheet.iter_rows(), 1, None):
            yield [str(int(cell)) if isinstance(cell, float) else str(cell) for cell in row]
        return
    with path.open(encoding="gbk") as source:
        yield from (line.rstrip("\n").split(",") for line in source)


# ---------------------------------------------------------------- words

_MAIN: Final = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OFFICE: Final = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE: Final = "http://schemas.openxmlformats.org/package/2006"
_SHEET: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_WORKBOOK: Final = {
    "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types">'
    '<Default Extension="xml" ContentType="application/xml"/>'
    '<Default Extension="rels" '
    'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    f'<Override PartName="/xl/workbook.xml" ContentType="{_SHEET}.sheet.main+xml"/>'
    f'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{_SHEET}.worksheet+xml"/>'
    "</Types>",
    "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="rId1" '
    f'Type="{_OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
    "xl/workbook.xml": f'<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}"><sheets>'
    '<sheet name="list" sheetId="1" r:id="rId1"/></sheets></workbook>',
    "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_PACKAGE}/relationships">'
    f'<Relationship Id="rId1" Type="{_OFFICE}/worksheet" Target="worksheets/sheet1.xml"/>'
    "</Relationships>",
}
_HEAD: Final = (
    "| list | text | lines | import s | bare s | of bare | daemon CPU s | daemon grew MB "
    "| child MB | loop lag p99 | commit p99 | sent/s before | sent/s | pause before s | pause s "
    "| first sent s |\n"
    "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
)


def _line(row: Row) -> str:
    return (
        f"| {row.form} | {row.text} | {row.lines} | {row.import_s:.1f} | {row.bare_s:.1f} "
        f"| {row.of_bare:.2f} | {row.daemon_cpu_s:.1f} | {row.daemon_grew_mb:.0f} "
        f"| {row.child_mb:.0f} | ≤ {row.loop_lag_p99_s * 1000:g} ms "
        f"| ≤ {row.commit_p99_s * 1000:g} ms | {row.sent_per_s_before:.2f} | {row.sent_per_s:.2f} "
        f"| {row.pause_before_s:.1f} | {row.pause_s:.1f} | {row.first_sent_s:.1f} |"
    )


if __name__ == "__main__":
    sys.exit(main())
