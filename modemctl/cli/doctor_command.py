"""`modemctl doctor`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from modemctl.cli.client import Connection, Record
from modemctl.cli.errors import printable
from modemctl.cli.show import as_json_option, print_table, show_json

if TYPE_CHECKING:  # pydantic and SQLAlchemy take their time
    from modemctl.doctor import Finding

_STYLES: Final = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command(
    epilog="Example: modemctl doctor."
    " Exit status: 0 all is well, 1 there are warnings, 2 something fails.",
)
@click.option(
    "--config",
    "-c",
    "config_path",
    type=click.Path(path_type=Path, readable=False),
    help="Settings.",
)
@as_json_option
@click.pass_obj
def doctor(connection: Connection, config_path: Path | None, *, as_json: bool) -> int:
    """Check what the daemon stands on, and name each cure.

    Rights, groups, keys, database, ports and who holds them, ModemManager, USB, limits, clock,
    disk, network. It needs no daemon and disturbs none, changes nothing and shows no secret. Root
    sees most; the daemon's user sees what the daemon would.
    """
    from modemctl.doctor import Facts, examine, exit_status

    findings = list(examine(Facts.of_this_machine(), config_path or connection.config_path))
    if as_json:
        for finding in findings:
            show_json(_record(finding))
    else:
        _show(findings)
    return exit_status(findings)


def _record(finding: Finding) -> Record:
    return {
        "check": finding.check,
        "verdict": finding.verdict.value,
        "seen": finding.seen,
        "cure": finding.cure,
    }


def _show(findings: Iterable[Finding]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    tally = dict.fromkeys(_STYLES, 0)
    for finding in findings:
        tally[finding.verdict.value] += 1
        style = _STYLES[finding.verdict.value]
        words = Text(printable(finding.seen))
        if finding.cure:
            words.append(f"\n→ {printable(finding.cure)}", style="bold")
        verdict = finding.verdict.value
        table.add_row(
            Text(verdict if verdict == "ok" else verdict.upper(), style=style),
            Text(finding.check, style="bold"),
            words,
        )
    print_table(table)
    click.echo(f"{tally['ok']} ok, {tally['warn']} warnings, {tally['fail']} faults")


COMMANDS: Final = {"doctor": doctor}
