"""The audit log: reading it, proving that nobody edited it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import click

from modemctl.cli.client import Client, Connection, Json, Record, records
from modemctl.cli.errors import EXIT_REFUSED, Refusal
from modemctl.cli.show import as_json_option, console, show_json, show_table
from modemctl.cli.targets import NewPath

if TYPE_CHECKING:
    from modemctl.config import Settings

_COLUMNS: Final = ("seq", "at", "actor", "action", "subject", "details")
_Tell: TypeAlias = Callable[[str, int, int], None]
"""Takes what is verified, how many of it were, of about how many."""

HEAD_FILE: Final = "audit.head"
"""Name of the file in the state folder that keeps the head of the chain outside the database."""


@click.group()
def audit() -> None:
    """The audit log: read it, prove that nobody edited it."""


@audit.command("list", epilog="Example: modemctl audit list --subject 0b5c… --limit 20")
@click.option("--actor", help="Only acts of this account.")
@click.option("--action", help="Only this kind of act, such as batch.approve.")
@click.option("--subject", help="Only what was done to this batch, card, account …")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="Entries.")
@as_json_option
@click.pass_obj
def list_(
    connection: Connection,
    actor: str | None,
    action: str | None,
    subject: str | None,
    limit: int,
    *,
    as_json: bool,
) -> None:
    """Entries, newest first."""
    with connection.client() as client:
        found = client.pages("/v1/audit", actor=actor, action=action, subject=subject, most=limit)
        show_table(found, _COLUMNS, as_json=as_json)


@audit.command(
    epilog="Example: modemctl audit verify. Exit status 1: something was edited, removed or added."
)
@click.option("--offline", is_flag=True, help="Without the daemon, which must be stopped.")
@click.option(
    "--bundle",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="An exported file in place of the database; needs --public-key and nothing else.",
)
@click.option("--public-key", help="The node's audit key, 64 hexadecimal digits (audit key).")
@as_json_option
@click.pass_obj
def verify(
    connection: Connection,
    *,
    offline: bool,
    bundle: Path | None,
    public_key: str | None,
    as_json: bool,
) -> int:
    """Check the chain of every entry, the signatures, and all rows that they vouch for."""
    if bundle is not None:
        reports = [_verify_bundle(bundle, public_key)]
    elif offline:
        from modemctl.config import load

        reports = list(_verify_offline(load(connection.config_path)))
    else:
        with connection.client() as client, _shown() as tell:
            reports = list(_followed(client, tell))
    for report in reports:
        if as_json:
            show_json(report)
        else:
            _tell(report)
    return EXIT_REFUSED if any(report.get("faults") for report in reports) else 0


@audit.command(epilog="Example: modemctl audit key")
@click.pass_obj
def key(connection: Connection) -> None:
    """Print this node's public key; give it to who checks exports, by another way than the file."""
    from modemctl.config import load
    from modemctl.store.key_files import load_audit_key

    settings = load(connection.config_path)
    click.echo(load_audit_key(settings.paths).public_octets().hex())


@audit.command(
    epilog="Example: modemctl audit export --request 6f2c0b5c-5d0b-4d7c-a7f2-0e9f2f1c8f11 --out q4"
)
@click.option("--since", help="From this time on (RFC 3339); else from the first entry.")
@click.option("--until", help="Up to this time; else to the last entry.")
@click.option(
    "--request",
    "request_id",
    required=True,
    help="What two persons agreed on: modemctl request ask export audit --reason WHY",
)
@click.option("--out", type=NewPath(), required=True, help="A new file for it.")
@click.pass_obj
def export(
    connection: Connection, since: str | None, until: str | None, request_id: str, out: Path
) -> None:
    """A part of the log as a signed file that others can check (docs/audit.md)."""
    with connection.client() as client:
        body: dict[str, Json] = {"request_id": request_id, "since": since, "until": until}
        client.save("/v1/audit/export", out, body=body)
    check = f"modemctl audit verify --bundle {out} --public-key KEY"
    click.echo(f"written: {out}; check it with: {check} (KEY: modemctl audit key)")


@audit.command(epilog="Example: modemctl audit sample --week 2026-W47 --share 40")
@click.option("--week", help="A week that is over, such as 2026-W47, in place of since and until.")
@click.option("--since", help="From this time on (RFC 3339); else from the first entry.")
@click.option("--until", help="Up to this time; else to the last entry.")
@click.option(
    "--share",
    "--percent",
    "percent",
    type=click.IntRange(30, 100),
    default=30,
    show_default=True,
    help="Percent of the entries.",
)
@click.option("--seed", help="Of an earlier draw: repeats it as it was; no other one is taken.")
@as_json_option
@click.pass_obj
def sample(
    connection: Connection,
    *,
    week: str | None,
    since: str | None,
    until: str | None,
    percent: int,
    seed: str | None,
    as_json: bool,
) -> None:
    """Entries drawn for the weekly spot check (SEC-05); the chain draws, nobody chooses."""
    body: dict[str, Json] = {
        "since": since, "until": until, "week": week, "percent": percent, "seed": seed,
    }  # fmt: skip
    with connection.client() as client:
        found = client.post("/v1/audit/sample", body)
    items = records(found.get("items"))
    if not as_json:
        click.echo(
            f"seed {found.get('seed')}: {len(items)} of {found.get('n_entries')} entries,"
            f" numbers {found.get('first')} to {found.get('last')}"
        )
    show_table(items, _COLUMNS, as_json=as_json)


def _verify_bundle(path: Path, public_key: str | None) -> Record:
    from modemctl.service.audit_bundle import check
    from modemctl.vault import public_key as key_of

    try:
        key = key_of(bytes.fromhex(public_key or ""))
    except ValueError:
        cure = "--public-key takes what modemctl audit key prints on the node's server"
        raise Refusal("--public-key: must be 64 hexadecimal digits", cure=cure) from None
    try:
        with path.open("rb") as file:
            found = check(file, key)
    except ValueError as error:
        cure = "copy it anew from who exported it; modemctl audit export writes such a file"
        raise Refusal(f"{path}: {error}", cure=cure) from None
    return {
        "node_id": found.node_id,
        "n_entries": found.n_entries,
        "n_transitions": 0,
        "head": f"{found.first} … {found.last}",
        "faults": list(found.faults),
    }


def _tell(report: Record) -> None:
    faults = report.get("faults")
    n_faults = len(faults) if isinstance(faults, list) else 0
    verdict = f"{n_faults} FAULTS" if n_faults else "whole"
    click.echo(
        f"{report.get('node_id')}: {verdict}; {report.get('n_entries')} entries,"
        f" {report.get('n_transitions')} segment transitions, head {report.get('head') or '–'}"
    )
    for fault in islice(faults if isinstance(faults, list) else [], 20):
        click.echo(f"  {fault}")


@contextmanager
def _shown() -> Iterator[_Tell]:
    """How far a verification is, on stderr where somebody looks."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    screen = console(err=True)
    columns = (TextColumn("verifying {task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as bar:
        task = bar.add_task("", total=None)

        def tell(stage: str, done: int, of: int) -> None:
            bar.update(task, description=stage, completed=done, total=of)

        yield tell


def _followed(client: Client, tell: _Tell) -> Iterator[Record]:
    """The reports; each page that was looked at is told."""
    for line in client.lines("/v1/audit/verify/follow", method="POST"):
        match line.get("progress"):
            case {"stage": str(stage), "done": int(done), "of": int(of)}:
                tell(stage, done, of)
        yield from records(line.get("reports") or [])


def _verify_offline(settings: Settings) -> Iterator[Record]:
    from modemctl.cli.local import require_database
    from modemctl.service.audits import verify_offline
    from modemctl.store.key_files import load_audit_key, load_database, load_vault
    from modemctl.store.lock import state_lock

    paths = settings.paths
    with state_lock(paths.state_dir), _shown() as tell:
        require_database(settings)
        reports = verify_offline(
            load_database(paths),
            node_id=settings.site.node,
            audit_public_key=load_audit_key(paths).public_octets(),
            head_file=paths.state_dir / HEAD_FILE,
            vault=load_vault(paths),
            tell=lambda told: tell(told.stage, told.done, told.of),
        )
    for report in reports:
        shown: Record = {
            "node_id": report.node_id,
            "n_entries": report.n_entries,
            "n_transitions": report.n_transitions,
            "head": report.head,
            "faults": list(report.faults),
        }
        yield shown


COMMANDS: Final = {"audit": audit}
