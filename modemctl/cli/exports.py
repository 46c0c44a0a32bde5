"""Exports: data that leave, encrypted and on a ledger."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from modemctl.cli.client import Connection, Record, in_path, text_of
from modemctl.cli.reports import save_when_done
from modemctl.cli.show import as_json_option, show_done, show_json, show_table
from modemctl.cli.targets import NewPath

_COLUMNS: Final = (
    "report.report_id", "report.subject", "report.state", "columns", "recipient", "purpose",
    "report.asked_by", "report.asked_at", "review_at", "review_note",
)  # fmt: skip
_SPARE: Final = ("columns", "report.asked_at", "review_note", "report.state", "purpose")


@click.group()
def export() -> None:
    """Exports: data that leave, encrypted and on a ledger (SEC-09).

    A workbook that Excel or WPS opens with its passphrase, which is shown once: send it another way
    than the file. What is bulk needs a second person: ask with `modemctl request`.
    """


@export.command(
    epilog="Example: modemctl export make cards --columns iccid,department --recipient anna"
    " --purpose audit -o cards.xlsx"
)
@click.argument("content", type=click.Choice(["cards", "opt_outs", "results"]))
@click.option("--columns", required=True, help="Only those that are needed, with commas.")
@click.option("--recipient", required=True, help="Who gets it.")
@click.option("--purpose", required=True, help="What for.")
@click.option("--batch", "batch_id", help="The batch, for its results.")
@click.option(
    "--lang", type=click.Choice(["zh", "en"]), default="zh", show_default=True, help="Its language."
)
@click.option("--unmasked", is_flag=True, help="With personal data: needs pii:read, is recorded.")
@click.option("--request", "request_id", help="The confirmed request, where it is bulk.")
@click.option(
    "-o",
    "--output",
    "target",
    required=True,
    type=NewPath(),
    help="A new file for it.",
)
@as_json_option
@click.pass_obj
def make(
    connection: Connection,
    content: str,
    *,
    columns: str,
    recipient: str,
    purpose: str,
    batch_id: str | None,
    lang: str,
    unmasked: bool,
    request_id: str | None,
    target: Path,
    as_json: bool,
) -> None:
    """Export rows to a workbook that opens with a passphrase."""
    body: Record = {
        "content": content,
        "columns": [one.strip() for one in columns.split(",")],
        "recipient": recipient,
        "purpose": purpose,
        "batch_id": batch_id,
        "lang": lang,
        "unmasked": unmasked,
        "request_id": request_id,
    }
    with connection.client() as client:
        made = client.post("/v1/exports", body)
        line = made["export"]
        assert isinstance(line, dict)
        report = line["report"]
        assert isinstance(report, dict)
        save_when_done(client, text_of(report, "report_id"), target)
    if as_json:
        show_json(made)
        return
    click.echo(f"{target}: export {report['report_id']}, to be looked at again {line['review_at']}")
    click.echo(f"passphrase, shown this once: {text_of(made, 'passphrase')}")


@export.command("list", epilog="Example: modemctl export list")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="Exports.")
@as_json_option
@click.pass_obj
def list_(connection: Connection, limit: int, *, as_json: bool) -> None:
    """The ledger, newest first."""
    with connection.client() as client:
        found = client.pages("/v1/exports", most=limit)
        show_table(found, _COLUMNS, as_json=as_json, spare=_SPARE, empty="nothing was exported")


@export.command(epilog="Example: modemctl export review 0b5c9e52-… --note 'deleted by anna'")
@click.argument("export_id")
@click.option("--note", required=True, help="What became of it.")
@click.option("--days", type=click.IntRange(1), help="Until the next look.")
@as_json_option
@click.pass_obj
def review(
    connection: Connection, export_id: str, note: str, days: int | None, *, as_json: bool
) -> None:
    """Note that an export was looked at again."""
    with connection.client() as client:
        done = client.post(f"/v1/exports/{in_path(export_id)}/review", {"note": note, "days": days})
    show_done(done, f"export {export_id}: next look {done.get('review_at')}", as_json=as_json)


COMMANDS: Final = {"export": export}
