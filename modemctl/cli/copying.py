"""Moving a site's database to another one; without a daemon."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from modemctl.cli.client import Connection, Record
from modemctl.cli.errors import Refusal
from modemctl.cli.show import as_json_option, console, show_json

if TYPE_CHECKING:  # they take the store along
    from modemctl.clock import Clock
    from modemctl.config import Settings
    from modemctl.service.site_copies import SiteCopy, SiteKeys, Tell
    from modemctl.store.key_files import Address

_TOLD_EVERY: Final = 1.0  # seconds, where nobody looks at a terminal
_FAULTS_SHOWN: Final = 20


@click.command(
    epilog="Example: modemctl db copy --to postgresql+psycopg://modemctl@db.example/modemctl"
    " --password-file /etc/modemctl/database.password"
)
@click.option("--to", required=True, help="URL of an empty database, without a password.")
@click.option(
    "--password-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File of one line with its password.",
)
@click.option("--with-faults", is_flag=True, help="Copy although audit verify names faults.")
@click.option("--rename", is_flag=True, help="Rename the old SQLite file at the end.")
@as_json_option
@click.pass_obj
def copy(
    connection: Connection,
    *,
    to: str,
    password_file: Path | None,
    with_faults: bool,
    rename: bool,
    as_json: bool,
) -> None:
    """Copy the site from SQLite to PostgreSQL, or back, and prove the copy.

    All daemons are stopped before. The old database stays as it is, marked: no daemon starts on it
    any more. With --json, how far it is comes as lines, too; the last one is the result.
    """
    from modemctl.config import load
    from modemctl.service.site_copies import copy_site

    settings = load(connection.config_path)
    target = _target(settings, to, password_file)
    keys = _keys(settings)
    with _shown(keys.clock, as_json=as_json) as tell:
        done = copy_site(settings, target, keys, tell, with_faults=with_faults)
    old = _renamed(done.old, keys.clock) if rename and done.old is not None else done.old
    _tell_done(done, old, to, password_file, as_json=as_json)


@click.command(epilog="Example: modemctl db reopen --yes")
@click.option("--yes", is_flag=True, help="The copy is dropped, or will never be used.")
@as_json_option
@click.pass_obj
def reopen(connection: Connection, *, yes: bool, as_json: bool) -> None:
    """Take a database into use again that was copied elsewhere.

    What the copy sent is not known here: so the fleet is stopped, batches are held, what was in
    hand is in doubt, as after a restore (docs/backup.md).
    """
    from modemctl.config import load
    from modemctl.service.site_copies import reopen_site

    settings = load(connection.config_path)
    if not yes:
        cure = "drop the copy first; then: modemctl db reopen --yes"
        raise Refusal("beside its copy this database would send twice", cure=cure)
    still = reopen_site(settings, _keys(settings))
    if as_json:
        shown: Record = {
            "n_held": still.n_held,
            "n_in_doubt": still.n_in_doubt,
            "n_queued": still.n_queued,
            "n_webhooks": still.n_webhooks,
        }
        show_json(shown)
        return
    click.echo(
        f"in use again; the fleet is stopped, {still.n_held} batches are held with"
        f" {still.n_queued} segments, {still.n_in_doubt} segments are in doubt"
    )
    click.echo("before anybody lifts the stop: docs/backup.md, “After a restore”")


def _target(settings: Settings, to: str, password_file: Path | None) -> Address:
    """The target's address, held to the rules of `paths.database`.

    Raises:
        Refusal: it is no such address, or holds a password.
        ConfigError: the password file cannot be used.
    """
    from pydantic import ValidationError

    from modemctl.config.settings import PathsSettings
    from modemctl.store.key_files import load_database

    file = "" if password_file is None else str(password_file.absolute())
    try:
        paths = PathsSettings(
            database=to, database_password_file=file, state_dir=settings.paths.state_dir
        )
    except ValidationError as error:
        why = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
        cure = "such as postgresql+psycopg://modemctl@db.example/modemctl with --password-file"
        raise Refusal(f"--to: {why}", cure=cure) from None
    return load_database(paths)


def _keys(settings: Settings) -> SiteKeys:
    from modemctl.clock import SystemClock
    from modemctl.service.site_copies import SiteKeys
    from modemctl.store.key_files import load_audit_key, load_vault

    return SiteKeys(
        vault=load_vault(settings.paths),
        audit_key=load_audit_key(settings.paths),
        clock=SystemClock(),
    )


def _renamed(old: Path, clock: Clock) -> Path:
    """The old file under another name, which no configuration names."""
    return old.rename(old.with_name(f"{old.name}.{clock.now():%Y%m%dT%H%M%SZ}.copied"))


@contextmanager
def _shown(clock: Clock, *, as_json: bool) -> Iterator[Tell]:
    """How far it is: a bar where somebody looks, lines of JSON for scripts, now and then."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    from modemctl.service.site_copies import CheckProgress, Streamed

    screen = console(err=True)
    rate = TextColumn("{task.fields[rate]}")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), rate)
    is_off = as_json or not screen.is_terminal
    stage, since, told_at = "", clock.monotonic(), float("-inf")
    with Progress(*columns, Remaining(), console=screen, transient=True, disable=is_off) as bar:
        task = bar.add_task("", total=None, rate="")

        def tell(told: Streamed | CheckProgress) -> None:
            nonlocal stage, since, told_at
            now = clock.monotonic()
            what = str(told.stage) if isinstance(told, Streamed) else f"verifying {told.stage}"
            if what != stage:
                stage, since, told_at = what, now, float("-inf")
                bar.reset(task)
            rate = int(told.done / (now - since)) if now > since else 0
            table = told.table if isinstance(told, Streamed) else ""
            bar.update(
                task, description=f"{what} {table}".strip(), completed=told.done, total=told.of,
                rate=f"{rate:,}/s",
            )  # fmt: skip
            if as_json and now - told_at >= _TOLD_EVERY:
                told_at = now
                left = int((told.of - told.done) / rate) if rate else None
                line: Record = {
                    "stage": what,
                    "table": table,
                    "done": told.done,
                    "of": told.of,
                    "per_second": rate,
                    "seconds_left": left,
                }
                show_json({"progress": line})

        yield tell


def _tell_done(
    done: SiteCopy, old: Path | None, to: str, password_file: Path | None, *, as_json: bool
) -> None:
    if as_json:
        shown: Record = {
            "to": done.to,
            "n_tables": done.n_tables,
            "n_rows": done.n_rows,
            "n_entries": done.n_entries,
            "seconds": round(done.seconds, 3),
            "faults": list(done.faults),
            "old": None if old is None else str(old),
        }
        show_json(shown)
        return
    click.echo(
        f"copied and compared: {done.n_rows} rows of {done.n_tables} tables in"
        f" {done.seconds:.0f} s; audit verify: {done.n_entries} entries,"
        f" {f'{len(done.faults)} FAULTS' if done.faults else 'whole'}"
    )
    for fault in done.faults[:_FAULTS_SHOWN]:
        click.echo(f"  {fault}")
    click.echo("now, in the configuration of every node:\n  [paths]")
    click.echo(f'  database = "{to}"')
    if password_file is not None:
        click.echo(f'  database_password_file = "{password_file.absolute()}"')
    kept = "the old database" if old is None else f"the old file {old}"
    click.echo(
        f"{kept} is marked: no daemon starts on it any more. Keep it until the site runs, then"
        " remove it as you remove a backup"
    )
