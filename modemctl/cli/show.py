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
_WIDE: Final = 10_000  # columns, where nobody looks at the table's width
_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
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
    items: Iterable[Record], columns: Sequence[str], *, as_json: bool, empty: str = "nothing here"
) -> None:
    """A table of these keys of each item; with `as_json` one whole object a line.

    A column `a.b` shows member `b` of member `a`.
    """
    if as_json:
        for item in items:
            show_json(item)
        return
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column.rpartition(".")[2].replace("_", " "), overflow="fold")
    for item in items:
        table.add_row(*(cell(_member(item, column), column) for column in columns))
    if table.row_count == 0:
        click.echo(empty, err=True)
        return
    print_table(table)


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
