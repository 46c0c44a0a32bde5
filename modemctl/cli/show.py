"""Tables for people, JSON for scripts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from modemctl.cli.client import Json, Record

_F = TypeVar("_F", bound=Callable[..., object])

_COLOURS = {
    "ready": "green", "delivered": "green", "done": "green", "issued": "green", "running": "cyan",
    "sent": "cyan", "in_doubt": "yellow", "held": "yellow", "recovering": "yellow",
    "quarantined": "red", "failed": "red", "refused": "red", "rejected": "red",
    "undelivered": "red",
}  # fmt: skip


def as_json_option(command: _F) -> _F:
    """Add `--json`: one JSON document (or line per item) on standard output."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")(command)


def show_table(
    items: Iterable[Record], columns: Sequence[str], *, as_json: bool, empty: str = "nothing here"
) -> None:
    """A table of these keys of each item; with `as_json` one JSON object a line."""
    if as_json:
        for item in items:
            click.echo(json.dumps(item, ensure_ascii=False))
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column.replace("_", " "), overflow="fold")
    for item in items:
        table.add_row(*(cell(item.get(column), column) for column in columns))
    if table.row_count == 0:
        click.echo(empty)
        return
    Console().print(table)


def show_record(record: Record, *, as_json: bool) -> None:
    """One object: its keys below each other; with `as_json` the whole of it."""
    if as_json:
        click.echo(json.dumps(record, ensure_ascii=False, indent=2))
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in record.items():
        table.add_row(Text(name.replace("_", " "), style="bold"), cell(value, name))
    Console().print(table)


def cell(value: Json, column: str) -> Text:
    """How a value reads in a table."""
    if value is None or value == "":
        return Text("–", style="dim")
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    if isinstance(value, dict):
        return Text(", ".join(f"{name} {one}" for name, one in value.items()))
    if isinstance(value, list):
        return Text("\n".join(str(one) for one in value))
    text = str(value)
    return Text(text, style=_COLOURS.get(text, "") if "state" in column else "")
