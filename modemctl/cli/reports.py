"""Reports: made, fetched, handed in, verified."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import click

from modemctl.cli.client import Client, Connection, Record, in_path, text_of
from modemctl.cli.errors import EXIT_REFUSED, Refusal
from modemctl.cli.show import as_json_option, console, show_done, show_json, show_record, show_table
from modemctl.cli.targets import NewPath

if TYPE_CHECKING:
    from rich.status import Status

_F = TypeVar("_F", bound=Callable[..., object])
KINDS: Final = (
    "quarter", "batch", "costs", "access", "screening", "spot_check", "month_audit", "year_audit",
    "inspection", "stocktake",
)  # fmt: skip
_COLUMNS: Final = (
    "report_id", "kind", "subject", "state", "format", "lang", "asked_by", "asked_at", "filed_by",
    "filed_at",
)  # fmt: skip
_SPARE: Final = ("filed_at", "lang", "format", "asked_at", "asked_by")
_LOOK_EVERY: Final = 0.2  # seconds
_BLOCK: Final = 1 << 20


@click.group()
def report() -> None:
    """Reports: make, fetch, file and verify them.

    Kinds: quarter (bulk SMS of a quarter, SMS-05), batch (the form of one batch, to print and sign,
    SMS-05), costs (use and cost of cards, SIM-15), access (who did what, SEC-05), screening and
    spot_check (of a week's log), month_audit, year_audit (all SEC-05), inspection (the state of
    what the rules ask for, SIM-16), stocktake (register against bank, SIM-11).
    """


@report.command(
    epilog="Example: modemctl report make quarter --period 2026Q3 --format pdf --lang zh -o q3.pdf"
)
@click.argument("kind", type=click.Choice(KINDS))
@click.option(
    "--period",
    "--quarter",
    "--month",
    "--week",
    "--year",
    "period",
    help="2026Q3, 2026-11, 2026-W47, or 2026; of audits one that is over.",
)
@click.option("--batch", "batch_id", help="The batch, for its form.")
@click.option(
    "--format", "paper_format", type=click.Choice(["pdf", "xlsx"]), help="Else by the file's name."
)
@click.option(
    "--lang", type=click.Choice(["zh", "en"]), default="zh", show_default=True, help="Its language."
)
@click.option("--unmasked", is_flag=True, help="With personal data: needs pii:read, is recorded.")
@click.option(
    "-o",
    "--output",
    "target",
    type=NewPath(),
    help="Wait for it and save it here: a new file.",
)
@as_json_option
@click.pass_obj
def make(
    connection: Connection,
    kind: str,
    *,
    period: str | None,
    batch_id: str | None,
    paper_format: str | None,
    lang: str,
    unmasked: bool,
    target: Path | None,
    as_json: bool,
) -> None:
    """Ask for a report; with -o wait until it is done, and save it. Ctrl-C stops its making."""
    body: Record = {
        "kind": kind,
        "subject": batch_id or period,
        "format": _format_of(target, paper_format),
        "lang": lang,
        "unmasked": unmasked,
    }
    with connection.client() as client:
        made = client.post("/v1/reports", body)
        if target is not None:
            made = save_when_done(client, text_of(made, "report_id"), target)
    if as_json:
        show_json(made)
    elif target is None:
        click.echo(f"report {made.get('report_id')} is being made; then: modemctl report fetch")
    else:
        click.echo(f"{target}: report {made.get('report_id')}, {made.get('n_rows')} rows")
        click.echo(f"digest {made.get('digest')}")


def _format_of(target: Path | None, paper_format: str | None) -> str:
    """What the option says, or the file's name.

    Raises:
        Refusal: the name says something else, or nothing.
    """
    if target is None:
        return paper_format or "pdf"
    suffix = target.suffix.removeprefix(".").lower()
    if suffix not in {"pdf", "xlsx"} or paper_format not in {None, suffix}:
        wanted = paper_format or "pdf or .xlsx"
        raise Refusal(f"{target}: a report's name ends in .{wanted}", cure="name the file so")
    return suffix


@report.command("list", epilog="Example: modemctl report list --kind quarter")
@click.option("--kind", type=click.Choice(KINDS), help="Only these.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="Reports.")
@as_json_option
@click.pass_obj
def list_(connection: Connection, kind: str | None, limit: int, *, as_json: bool) -> None:
    """Reports that were made, newest first."""
    with connection.client() as client:
        found = client.pages("/v1/reports", most=limit, kind=kind)
        show_table(found, _COLUMNS, as_json=as_json, spare=_SPARE, empty="no reports were made")


@report.command(epilog="Example: modemctl report show 0b5c9e52-5d0b-4d7c-a7f2-0e9f2f1c8f11")
@click.argument("report_id")
@as_json_option
@click.pass_obj
def show(connection: Connection, report_id: str, *, as_json: bool) -> None:
    """One report, and how much of it is done."""
    with connection.client() as client:
        show_record(client.get(_path(report_id)), as_json=as_json)


@report.command(epilog="Example: modemctl report fetch 0b5c9e52-… -o q3.pdf")
@click.argument("report_id")
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
def fetch(connection: Connection, report_id: str, target: Path, *, as_json: bool) -> None:
    """Save a report's file; it is on record who took it."""
    with connection.client() as client:
        made = save_when_done(client, report_id, target)
    show_done(made, f"{target}: digest {made.get('digest')}", as_json=as_json)


@report.command(epilog="Example: modemctl report cancel 0b5c9e52-…")
@click.argument("report_id")
@as_json_option
@click.pass_obj
def cancel(connection: Connection, report_id: str, *, as_json: bool) -> None:
    """Stop making a report."""
    with connection.client() as client:
        made = client.post(f"{_path(report_id)}/cancel")
    show_done(made, f"report {report_id} is {made.get('state')}", as_json=as_json)


@report.command("receive", epilog="Example: modemctl report receive 0b5c9e52-… --reference 41")
@click.argument("report_id")
@click.option("--reference", required=True, help="Where its paper is filed (卷号).")
@as_json_option
@click.pass_obj
def receive(connection: Connection, report_id: str, reference: str, *, as_json: bool) -> None:
    """Note that a report was handed in and filed (SMS-05), or acknowledge an audit's (SEC-05).

    An audit's paper is acknowledged by an auditor none of whose acts it shows.
    """
    with connection.client() as client:
        made = client.post(f"{_path(report_id)}/receipt", {"reference": reference})
    show_done(made, f"report {report_id} is filed by {made.get('filed_by')}", as_json=as_json)


@report.command(
    epilog="Example: modemctl report verify q3.xlsx. Exit status 1: it is none of ours, or altered."
)
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path, readable=False))
@as_json_option
@click.pass_obj
def verify(connection: Connection, path: Path, *, as_json: bool) -> int:
    """Prove that a file is a report of this controller, as it was made.

    A workbook that was saved again is known by its content.
    """
    sha256, named, own = _digests(path)
    with connection.client() as client:
        proof = client.post("/v1/reports/verify", {"sha256": sha256, "digest": own})
    made = proof.get("report")
    is_ours = isinstance(made, dict)
    if as_json:
        show_json({**proof, "sha256": sha256, "digest": own, "named_digest": named})
    elif not isinstance(made, dict):
        altered = named is not None and named != own
        click.echo(f"{path}: {'its content was altered' if altered else 'no report of ours'}")
    else:
        how = "the very file" if proof.get("is_same_file") else "the content"
        click.echo(
            f"{path}: {how} of report {made.get('report_id')} ({made.get('kind')}"
            f" {made.get('subject')}), made for {made.get('asked_by')} at {made.get('asked_at')}"
        )
    return 0 if is_ours else EXIT_REFUSED


def save_when_done(client: Client, report_id: str, target: Path) -> Record:
    """Save a report once it is done.

    Raises:
        Refusal: it failed, or was cancelled.
    """
    screen = console(err=True)
    with screen.status("making the report …") as status:
        try:
            made = _until_done(client, report_id, status)
        except KeyboardInterrupt:
            client.post(f"{_path(report_id)}/cancel")
            raise
    if made.get("state") != "done":
        raise Refusal(f"the report is {made.get('state')}: {made.get('reason')}")
    client.save(f"{_path(report_id)}/file", target)
    return made


def _until_done(client: Client, report_id: str, status: Status) -> Record:
    pause = threading.Event()
    while True:
        made = client.get(_path(report_id))
        if made.get("state") != "working":
            return made
        share = made.get("share")
        status.update(f"making the report: {share if isinstance(share, float) else 0:.0%}")
        pause.wait(_LOOK_EVERY)


def _digests(path: Path) -> tuple[str, str | None, str | None]:
    """Of the octets; the one that a workbook names; and that of its content.

    Raises:
        Refusal: it cannot be read.
    """
    from modemctl.policy.papers import prove
    from modemctl.service.paper_words import DIGEST_LABELS

    sha = hashlib.sha256()
    try:
        with path.open("rb") as file:
            head = file.read(4)
            file.seek(0)
            while block := file.read(_BLOCK):
                sha.update(block)
    except OSError as error:
        raise Refusal(f"{path}: {error.strerror}") from None
    if head != b"PK\x03\x04":
        return sha.hexdigest(), None, None
    named, own = prove(_rows(path), DIGEST_LABELS)
    return sha.hexdigest(), named, own


def _rows(path: Path) -> Sequence[Sequence[str | float]]:
    import python_calamine

    try:
        book = python_calamine.CalamineWorkbook.from_path(path)
        sheets = [book.get_sheet_by_name(name).to_python() for name in book.sheet_names]
    except python_calamine.CalamineError as error:
        raise Refusal(f"{path}: no workbook that can be read: {error}") from None
    return [[_cell(one) for one in row] for sheet in sheets for row in sheet]


def _cell(value: object) -> str | float:
    return value if isinstance(value, str | float) else str(value)


def _path(report_id: str) -> str:
    return f"/v1/reports/{in_path(report_id)}"


COMMANDS: Final = {"report": report}
