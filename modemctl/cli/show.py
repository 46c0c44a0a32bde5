"""Tables for people, JSON for scripts."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final, TypeVar

import click

from modemctl.cli.client import Json, Record
from modemctl.cli.errors import printable

if TYPE_CHECKING:  # 30 ms that `--help` need not wait for
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

_F = TypeVar("_F", bound=Callable[..., object])

_COLOURS: Final[Mapping[str, str]] = {
    "ready": "green", "delivered": "green", "done": "green", "issued": "green", "running": "cyan",
    "sent": "cyan", "in_doubt": "yellow", "held": "yellow", "recovering": "yellow",
    "quarantined": "red", "failed": "red", "refused": "red", "rejected": "red",
    "undelivered": "red", "frozen": "yellow", "revoked": "red", "expired": "yellow",
}  # fmt: skip
_FOLDED: Final = 18  # columns that a text of several words needs at least: a reason
_NARROW: Final = 8  # columns that each has where there is no room for that
_GAP: Final = 2  # between two columns
_WIDE: Final = 10_000  # columns, where nobody looks at the table's width
_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_SEVERAL_WORDS: Final = re.compile(r"(?!\d{4}-\d\d-\d\d [\d:]{8}[+-]\d\d:\d\d$).*[ \n]", re.DOTALL)
JSON_WANTED: Final = "modemctl.json"
"""Key of click's `meta`: problems shall be JSON too."""


def as_json_option(command: _F) -> _F:
    """Add `--json`: one JSON object, or one a line, on standard output."""
    return click.option(
        "--json",
        "as_json",
        is_flag=True,
        callback=_note_json,
        help="Print JSON for scripts: one object, or one a line; problems go to stderr.",
    )(command)


def _note_json(ctx: click.Context, param: click.Parameter, value: bool) -> bool:  # noqa: FBT001 - click's signature
    del param
    ctx.meta[JSON_WANTED] = value
    return value


def show_json(record: Record) -> None:
    """One object on a line of its own."""
    click.echo(json.dumps(record, ensure_ascii=False))


def show_table(
    items: Iterable[Record],
    columns: Sequence[str],
    *,
    as_json: bool,
    empty: str = "nothing here",
    spare: Sequence[str] = (),
) -> None:
    """A table of these keys of each item; with `as_json` one whole object a line.

    A column `a.b` shows member `b` of member `a`. On a terminal that is too narrow the columns of
    `spare` are left out, in this order, before an ICCID or the name of a bay is broken in two.
    """
    if as_json:
        for item in items:
            show_json(item)
        return
    from rich.table import Table

    rows = [[cell(_member(item, column), column) for column in columns] for item in items]
    if not rows:
        click.echo(empty, err=True)
        return
    shown, whole = _columns_with_room(columns, rows, spare, console().width)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in shown:
        table.add_column(_heading(column), overflow="fold", no_wrap=column in whole)
    places = [columns.index(column) for column in shown]
    for row in rows:
        table.add_row(*(row[place] for place in places))
    print_table(table)
    if len(shown) < len(columns):
        left_out = ", ".join(_heading(column) for column in columns if column not in shown)
        click.echo(f"no room for: {left_out}; a wider window or --json shows them", err=True)


def _columns_with_room(
    columns: Sequence[str], rows: Sequence[Sequence[Text]], spare: Sequence[str], width: int
) -> tuple[Sequence[str], frozenset[str]]:
    """Which columns a table of this width shows, and which of them unbroken.

    Unbroken are those that hold one word or one instant a cell, the first ones where there is no
    room for all; the others are folded.
    """
    widths, whole = {}, set()
    for place, column in enumerate(columns):
        cells = [row[place] for row in rows]
        widths[column] = max(len(_heading(column)), *(one.cell_len for one in cells))
        if any(_SEVERAL_WORDS.match(one.plain) for one in cells):
            widths[column] = min(widths[column], _FOLDED)
        else:
            whole.add(column)
    shown = list(columns)
    for unwanted in (*spare, None):
        if sum(widths[one] + _GAP for one in shown) - _GAP <= width:
            return shown, frozenset(whole)
        if unwanted in shown:
            shown.remove(unwanted)
    room = width - (_NARROW + _GAP) * len(shown) + _GAP
    for column in [one for one in shown if one in whole]:
        if (more := max(0, widths[column] - _NARROW)) > room:
            whole.remove(column)
        else:
            room -= more
    return shown, frozenset(whole)


def _heading(column: str) -> str:
    return column.rpartition(".")[2].replace("_", " ")


def show_record(record: Record, *, as_json: bool) -> None:
    """One object: its keys below each other; with `as_json` the whole of it on a line."""
    if as_json:
        show_json(record)
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in record.items():
        table.add_row(Text(printable(name).replace("_", " "), style="bold"), cell(value, name))
    print_table(table)


def print_table(table: Table) -> None:
    """Print a table; where nobody looks, without the blanks that fill its last column."""
    screen = console()
    if screen.is_terminal:
        screen.print(table)
        return
    with screen.capture() as captured:
        screen.print(table)
    for line in captured.get().splitlines():
        click.echo(line.rstrip())


def show_done(record: Record, sentence: str, *, as_json: bool) -> None:
    """That an act was done: a sentence, or with `as_json` the daemon's answer."""
    if as_json:
        show_json(record)
    else:
        click.echo(printable(sentence))


def console(*, err: bool = False) -> Console:
    """A console as wide as the terminal; as wide as needed where there is none."""
    from rich.console import Console

    stream = sys.stderr if err else sys.stdout
    return Console(
        file=stream,
        width=None if stream is not None and stream.isatty() else _WIDE,
        highlight=False,
        markup=False,
        emoji=False,
    )


def cell(value: Json, column: str) -> Text:
    """How a value reads in a table."""
    from rich.text import Text

    if value is None or value in ("", [], {}):
        return Text("–", style="dim")
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    if isinstance(value, dict):
        return Text(", ".join(f"{name} {_plain(one)}" for name, one in value.items()))
    if isinstance(value, list):
        return Text("\n".join(_plain(one) for one in value))
    text = _plain(value)
    return Text(text, style=_COLOURS.get(text, "") if "state" in column else "")


def _plain(value: Json) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plain(one)}" for name, one in value.items())
    if isinstance(value, list):
        return ", ".join(_plain(one) for one in value)
    if isinstance(value, str) and _INSTANT.fullmatch(value):
        return local_time(value)
    return "–" if value is None else printable(str(value))


def local_time(text: str) -> str:
    """An instant of the API as this terminal's time zone writes it."""
    return datetime.fromisoformat(text).astimezone().isoformat(sep=" ", timespec="seconds")


def _member(item: Record, column: str) -> Json:
    value: Json = item
    for name in column.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value
