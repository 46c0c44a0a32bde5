"""Backups: make one now, copy it to a medium, see what there is (SEC-07)."""

from __future__ import annotations

import threading
from typing import Final

import click

from modemctl.cli.client import Client, Connection, Record, in_path, records, text_of
from modemctl.cli.errors import Refusal
from modemctl.cli.show import as_json_option, show_done, show_json, show_table

_COLUMNS: Final = ("at", "state", "name", "n_octets", "by", "acts", "reason", "sha256")
_SPARE: Final = ("sha256", "by", "n_octets", "at", "reason")
_LOOK_EVERY: Final = 0.2  # seconds


@click.group()
def backup() -> None:
    """Backups: encrypted, each day by itself, copied on Fridays.

    Only public keys are on the server: it cannot open what it wrote (SEC-07). `modemctl restore`
    can, with the secret key.
    """


@backup.command(epilog="Example: modemctl backup now")
@click.option("--no-wait", is_flag=True, help="Do not wait until it is whole.")
@as_json_option
@click.pass_obj
def now(connection: Connection, *, no_wait: bool, as_json: bool) -> None:
    """Make a backup now."""
    with connection.client() as client:
        made = client.post("/v1/backups")
        if not no_wait:
            made = _when_done(client, made)
    name, state = text_of(made, "name"), text_of(made, "state")
    show_done(made, f"backup {name}: {state}, {made.get('n_octets') or 0} octets", as_json=as_json)


@backup.command("list", epilog="Example: modemctl backup list")
@click.option(
    "--limit", type=click.IntRange(1, 1_000), default=50, show_default=True, help="Backups."
)
@as_json_option
@click.pass_obj
def list_(connection: Connection, limit: int, *, as_json: bool) -> None:
    """Backups, newest first, with their copies and restore tests."""
    with connection.client() as client:
        found = records(client.get("/v1/backups", limit=limit).get("items"))
    if as_json:
        show_json({"items": [*found]})
        return
    rows: list[Record] = [{**one, "acts": _acts(one)} for one in found]
    show_table(rows, _COLUMNS, as_json=False, spare=_SPARE, empty="no backup yet")


@backup.command(epilog="Example: modemctl backup copy --medium friday-a --keeper anna")
@click.option("--medium", required=True, help="Label of the medium (backup.media).")
@click.option("--keeper", required=True, help="Account of the person who locks it away.")
@as_json_option
@click.pass_obj
def copy(connection: Connection, medium: str, keeper: str, *, as_json: bool) -> None:
    """Copy the newest backup to a mounted medium, and record who keeps it.

    The copy is read again before it counts. It is encrypted as the backup is.
    """
    with connection.client() as client:
        done = client.post_long("/v1/backup-copies", {"medium": medium, "keeper": keeper})
    show_done(done, f"{text_of(done, 'name')} is on {medium}; {keeper} keeps it", as_json=as_json)


@backup.command(epilog="Example: modemctl backup tested mrt1:9f86d081…")
@click.argument("receipt")
@as_json_option
@click.pass_obj
def tested(connection: Connection, receipt: str, *, as_json: bool) -> None:
    """Record a restore test that was made on another machine.

    RECEIPT is the line that `modemctl restore --verify` printed there.
    """
    with connection.client() as client:
        done = client.post("/v1/restore-tests", {"receipt": receipt})
    show_done(done, f"restore test of {text_of(done, 'name')}: recorded", as_json=as_json)


def _when_done(client: Client, made: Record) -> Record:
    """The backup when it is whole.

    Raises:
        Refusal: it failed.
    """
    path = f"/v1/backups/{in_path(text_of(made, 'backup_id'))}"
    pause = threading.Event()
    while made.get("state") == "working":
        pause.wait(_LOOK_EVERY)
        made = client.get(path)
    if made.get("state") == "failed":
        raise Refusal(f"the backup failed: {made.get('reason')}", cure="docs/backup.md")
    return made


def _acts(one: Record) -> str:
    acts = records(one.get("acts") or [])
    return ", ".join(
        f"{act.get('medium')} ({act.get('keeper')})" if act.get("kind") == "copy" else "tested"
        for act in acts
    )


COMMANDS: Final = {"backup": backup}
