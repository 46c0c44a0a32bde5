"""What the commands have in common: the bank's folder, tables for people, JSON for scripts."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

import click

from simulator.cli.naming import program, typed
from simulator.control.client import BankControl, ControlError

_F = TypeVar("_F", bound=Callable[..., object])
_PATIENCE: Final = 5.0  # seconds for a bank that is being started
_WIDE: Final = 10_000  # columns, where nobody looks at the table's width


def bank_option(command: _F) -> _F:
    """Add `--dir`: the folder of the bank that is meant."""
    return click.option(
        "--dir",
        "folder",
        type=click.Path(path_type=Path, file_okay=False),
        envvar="SIMULATOR_DIR",
        required=True,
        help="The bank's folder.",
    )(command)


def json_option(command: _F) -> _F:
    """Add `--json`: one JSON object, or one a line, on standard output."""
    return click.option(
        "--json", "as_json", is_flag=True, help="JSON for scripts; problems too, on stderr."
    )(command)


def connect(folder: Path, *, timeout: float = 30.0) -> BankControl:
    """A connection to the bank that is served from a folder, or will be in a moment.

    Raises:
        ControlError: none is.
    """
    path = folder / "control.sock"
    end = time.monotonic() + (_PATIENCE if folder.exists() else _PATIENCE / 2)
    while True:
        try:
            return BankControl(path, timeout=timeout)
        except (FileNotFoundError, ConnectionRefusedError) as error:
            if time.monotonic() < end:  # it may be just about to be served
                threading.Event().wait(0.05)
                continue
            raise ControlError(_gone(folder, error)) from error
        except OSError as error:
            raise ControlError(_gone(folder, error)) from error


def _gone(folder: Path, error: OSError) -> str:
    cure = f"start one with: {typed(f'serve --dir {folder}')}"
    return f"no bank is served from {folder} ({error.strerror}); {cure}"


def ask(folder: Path, do: str, args: Mapping[str, object], *, as_json: bool, said: str) -> None:
    """Let the bank do a verb; print `said`, filled with what it answered, or the answer."""
    wanted = {name: value for name, value in args.items() if value is not None}
    with connect(folder) as bank:
        answer = bank.request(do, wanted)
    answer.pop("id", None)
    if as_json:
        show_json(answer)
        return
    modems = answer.get("modems")
    if isinstance(modems, dict):
        for name, one in modems.items():
            click.echo(said.format_map({"modem": name, **one}))
    else:
        click.echo(said.format_map(answer))
    refused = answer.get("refused")
    if isinstance(refused, dict) and refused:
        for name, why in refused.items():
            click.echo(f"{program()}: {name}: {why}", err=True)
        raise click.exceptions.Exit(1)


def show_json(record: object) -> None:
    """One object on a line of its own."""
    click.echo(json.dumps(record, ensure_ascii=False))


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table; as wide as needed where nobody looks."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell(value)) for value in row))
    width = None if sys.stdout.isatty() else _WIDE
    screen = Console(width=width, highlight=False, markup=False, emoji=False)
    with screen.capture() as captured:
        screen.print(table)
    for line in captured.get().splitlines():
        click.echo(line.rstrip())


def cell(value: object) -> str:
    """How a value reads in a table; what would command the terminal is shown by its number."""
    match value:
        case None | "":
            return "–"
        case bool():
            return "yes" if value else "no"
    return "".join(
        char if char.isprintable() or char in "\u00a0\u3000\u200d" else ascii(char)[1:-1]
        for char in str(value)
    )
