"""The audit log: reading it, proving that nobody edited it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Final

import click

from modemctl.cli.client import Connection, Record, records
from modemctl.cli.errors import EXIT_REFUSED
from modemctl.cli.show import as_json_option, show_json, show_table

if TYPE_CHECKING:
    from modemctl.config import Settings

_COLUMNS: Final = ("seq", "at", "actor", "action", "subject", "details")
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
@as_json_option
@click.pass_obj
def verify(connection: Connection, *, offline: bool, as_json: bool) -> int:
    """Check the chain of every entry, the signatures, the noted head, the segments' journal."""
    if offline:
        from modemctl.config import load

        reports = list(_verify_offline(load(connection.config_path)))
    else:
        with connection.client() as client:
            reports = records(client.post("/v1/audit/verify").get("items"))
    for report in reports:
        if as_json:
            show_json(report)
        else:
            _tell(report)
    return EXIT_REFUSED if any(report.get("faults") for report in reports) else 0


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


def _verify_offline(settings: Settings) -> Iterator[Record]:
    from modemctl.cli.local import require_database
    from modemctl.service.audits import verify_offline
    from modemctl.store.lock import state_lock
    from modemctl.vault import AuditKey, Vault

    paths = settings.paths
    with state_lock(paths.state_dir):
        require_database(settings)
        reports = verify_offline(
            paths.database_url,
            node_id=settings.site.node,
            audit_public_key=AuditKey.load(paths.audit_key_file).public_octets(),
            head_file=paths.state_dir / HEAD_FILE,
            vault=Vault.load(paths.master_key_file),
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
