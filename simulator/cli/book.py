"""`ledger` and `check`: what the network saw, and whether it is what was expected."""

from __future__ import annotations

import csv
import io
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final, TypedDict, Unpack

import click

from simulator import checking
from simulator import ledger as books
from simulator.checking import Comparison, Taken
from simulator.cli.naming import program
from simulator.cli.show import cell, connect, show_json
from simulator.control.client import ControlError
from simulator.ledger import Fact
from simulator.network.numbers import national
from simulator.reading import unknown

_FOLDER: Final = click.Path(path_type=Path, file_okay=False)
_EXPECTED: Final = click.Path(path_type=Path, dir_okay=False, exists=True)
_COLUMNS: Final = ("n", "time", "kind", "modem", "iccid", "from", "destination", "number", "text",
                   "outcome", "mr", "st", "coding", "direction", "seconds", "cause", "stat",
                   "carrier", "event", "fault", "do", "concat", "tpdu")  # fmt: skip
KINDS: Final = ("submit", "refused", "deliver", "report", "expired", "call", "ussd",
                "registration", "account", "power", "card", "fault", "story")  # fmt: skip
"""What lines of the ledger are about."""
_BOM: Final = "\ufeff"


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which lines are wanted; what is empty wants all. Times as the ledger writes them."""

    kinds: tuple[str, ...] = ()
    modem: str = ""
    iccid: str = ""
    number: str = ""
    text: str = ""
    since: datetime | None = None
    until: datetime | None = None

    def fits(self, line: Mapping[str, Fact]) -> bool:
        """True where the line is wanted."""
        if self.kinds and line.get("kind") not in self.kinds:
            return False
        if self.modem not in {"", line.get("modem")} or self.iccid not in {"", line.get("iccid")}:
            return False
        if self.text and self.text not in str(line.get("text") or ""):
            return False
        if self.number and not self._has_number(line):
            return False
        return self._is_in_time(line)

    def _has_number(self, line: Mapping[str, Fact]) -> bool:
        wanted = national(self.number)
        found = (line.get(name) for name in ("destination", "from", "number"))
        return any(national(str(one)) == wanted for one in found if one)

    def _is_in_time(self, line: Mapping[str, Fact]) -> bool:
        if self.since is None and self.until is None:
            return True
        moment = line.get("time")
        if not isinstance(moment, str):
            return False
        at = datetime.fromisoformat(moment)
        return (self.since is None or at >= self.since) and (self.until is None or at < self.until)


class _Wanted(TypedDict):
    """The options of `ledger` that make a `Filter`."""

    kinds: tuple[str, ...]
    modem: str
    iccid: str
    number: str
    text: str
    since: datetime | None
    until: datetime | None


class Moment(click.ParamType[datetime]):
    """A moment as the ledger writes it; without a zone it is UTC."""

    name = "moment"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """An aware datetime."""
        try:
            found = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value}: a moment is needed, as 2026-01-01T08:30:00Z", param, ctx)
        return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


@click.command(
    epilog="Example: ledger /tmp/bank --kind submit --number 13800000001; for a spreadsheet:"
    " ledger /tmp/bank --csv --bom --out sent.csv"
)
@click.argument("folder", type=_FOLDER, envvar="SIMULATOR_DIR", metavar="DIR")
@click.option("--kind", "kinds", multiple=True, help="submit, refused, deliver, report, call, …")
@click.option("--modem", default="", help="Lines of this modem.")
@click.option("--sim", "iccid", default="", help="Lines of the card with this ICCID.")
@click.option("--number", default="", help="Lines to or from this number.")
@click.option("--text", default="", help="Lines whose text contains this.")
@click.option("--since", type=Moment(), help="From this moment on, as 2026-01-01T08:30.")
@click.option("--until", type=Moment(), help="Before this moment.")
@click.option("--last", type=click.IntRange(1), help="Only the last so many.")
@click.option("--json", "--jsonl", "form", flag_value="json", help="One JSON object a line.")
@click.option("--csv", "form", flag_value="csv", help="A table with all columns.")
@click.option("--bom", is_flag=True, help="Begin the CSV so that Excel reads Chinese.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write there.")
@click.option("--follow", "-f", is_flag=True, help="Go on with new lines until Ctrl-C.")
def ledger(
    *, folder: Path, form: str | None, last: int | None, bom: bool, out: Path | None,
    follow: bool, **wanted: Unpack[_Wanted],
) -> None:  # fmt: skip
    """What the network saw: show, filter, export.

    Times are the bank's, in UTC. `docs/simulator.md` explains the kinds.
    """
    for kind in wanted["kinds"]:
        if kind not in KINDS:
            raise click.UsageError(unknown(kind, KINDS, what="kind"))
    chosen = Filter(**wanted)
    path = folder / "ledger.jsonl"
    if not path.is_file():
        raise ControlError(f"no ledger in {folder}")
    if follow and last is not None:
        raise click.UsageError("--last does not go with --follow")
    lines = _followed(folder) if follow else books.read(path)
    found: Iterable[Mapping[str, Fact]] = (line for line in lines if chosen.fits(line))
    if last is not None:
        found = deque(found, maxlen=last)
    with click.open_file(str(out or "-"), "w", encoding="utf-8") as file:
        if not _write(found, file, form=form, bom=bom):
            click.echo(f"{program()}: no line of {path} fits", err=True)


@click.command(
    epilog="Example: check /tmp/bank expected.csv, where the first line of expected.csv is"
    " destination,text"
)
@click.argument("folder", type=_FOLDER, envvar="SIMULATOR_DIR", metavar="DIR")
@click.argument("expected", type=_EXPECTED)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check(*, folder: Path, expected: Path, as_json: bool) -> int:
    """Compare what the network took with a list: missing, doubled, unexpected.

    EXPECTED is CSV or JSONL with destination and text, and where wanted from, iccid, modem, times;
    in UTF-8, UTF-16 or GB18030 (GBK), as Excel writes them.
    Long texts are joined from their segments. Exit status 1: they differ.
    """
    path = folder / "ledger.jsonl"
    if not path.is_file():
        raise ControlError(f"no ledger in {folder}")
    result = checking.compare(books.read(path), checking.load_expected(expected))
    if as_json:
        show_json({"agrees": result.agrees, **asdict(result)})
    else:
        for line in describe(result):
            click.echo(line)
    return 0 if result.agrees else 1


def describe(result: Comparison) -> Iterator[str]:
    """A comparison for people: one line for each difference, and a sum."""
    for lack in result.missing:
        want, parts = lack.expected, lack.parts
        came = ""
        if parts is not None:
            came = f" (segments {', '.join(map(str, parts.lacks))} never came)"
        times = f" ×{lack.times}" if lack.times > 1 else ""
        yield f"missing{times}     {cell(want.destination)}  {cell(want.text)}{came}"
    for double in result.doubled:
        for extra in double.extra:
            yield f"doubled     {_shown(extra)}"
    for one in result.unexpected:
        yield f"unexpected  {_shown(one)}"
    verdict = "they agree" if result.agrees else "they differ"
    yield f"{result.n_expected} expected, {result.n_taken} taken: {verdict}"


def _shown(one: Taken) -> str:
    lines = ", ".join(map(str, one.lines))
    text = "(8-bit data)" if one.text is None else one.text
    lacks = f" (without segments {', '.join(map(str, one.lacks))})" if one.lacks else ""
    return f"{cell(one.destination)}  {cell(text)}{lacks}  [{one.modem} line {lines}]"


def _followed(folder: Path) -> Iterator[Mapping[str, Fact]]:
    with connect(folder) as bank:
        bank.timeout = None
        yield from bank.follow()


def _write(
    lines: Iterable[Mapping[str, Fact]], file: IO[str], *, form: str | None, bom: bool
) -> int:
    """How many lines were written."""
    writers: dict[str | None, Callable[[Mapping[str, Fact]], str]] = {
        "json": lambda line: json.dumps(line, ensure_ascii=False),
        "csv": _row,
        None: _plain,
    }
    render = writers[form]
    if form == "csv":
        file.write((_BOM if bom else "") + ",".join(_COLUMNS) + "\n")
    elif form is None and file.isatty():
        file.write(f"{'time':<24}  {'kind':<12}  {'modem':<9}  what\n")
    count = 0
    for line in lines:
        count += 1
        file.write(render(line) + "\n")
        file.flush()
    return count


def _row(line: Mapping[str, Fact]) -> str:
    out = io.StringIO()
    values = []
    for name in _COLUMNS:
        value = line.get(name)
        values.append(json.dumps(value) if isinstance(value, Mapping) else value)
    csv.writer(out, lineterminator="").writerow(values)
    return out.getvalue()


def _plain(line: Mapping[str, Fact]) -> str:
    who = line.get("destination") or line.get("from") or line.get("number") or ""
    what = [str(line[name]) for name in ("do", "fault", "what", "event", "stat", "outcome", "st")
            if line.get(name) is not None]  # fmt: skip
    text = line.get("text")
    time = str(line.get("time") or "").replace("+00:00", "Z")
    facts = [time, f"{line['kind']:<12}", f"{line.get('modem') or '':<9}"]
    facts += [part for part in (str(who), " ".join(what)) if part]
    facts += [] if text is None else [str(text)]
    return cell("  ".join(facts))
