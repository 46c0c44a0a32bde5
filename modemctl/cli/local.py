"""Commands that need no daemon: run it, simulate a bank, check settings, keep the database."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from modemctl.cli.client import Connection
from modemctl.cli.copying import copy, reopen
from modemctl.cli.errors import EXIT_CONFIG
from modemctl.errors import ConfigError

if TYPE_CHECKING:  # pydantic takes 100 ms
    from modemctl.config import Settings


_config = click.option(
    "--config",
    "-c",
    "config_path",
    type=click.Path(path_type=Path, readable=False),
    help="Settings.",
)


@click.command(epilog="Example: modemctl run --config /etc/modemctl/modemctl.toml")
@_config
@click.pass_obj
def run(connection: Connection, config_path: Path | None) -> int:
    """Run the daemon in the foreground (systemd starts it so).

    Exit status 78: it cannot start as configured; the lines above say what to do.
    """
    import asyncio

    from modemctl.config import load

    settings = load(config_path or connection.config_path)  # first: mistakes show at once
    from modemctl.daemon import run as run_daemon

    return asyncio.run(run_daemon(settings))


def _simulator(name: str, words: str, *before: str) -> click.Command:
    """A command that hands everything on to the simulator, a program of its own."""

    @click.command(
        name,
        help=words,
        context_settings={"ignore_unknown_options": True, "help_option_names": []},
        add_help_option=False,
    )
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    def command(arguments: tuple[str, ...]) -> None:
        program = "modemctl" if before else f"modemctl {name}"  # as its usage lines name it
        environment = os.environ | {"SIMULATOR_PROGRAM": program}
        os.execve(  # noqa: S606 - our own interpreter, arguments as given
            sys.executable, [sys.executable, "-m", "simulator", *before, *arguments], environment
        )

    return command


simulate = _simulator(
    "simulate",
    "Serve a simulated bank of modems until stopped (--help shows its options)."
    "\n\nExample: modemctl simulate --modems 16 --dir /tmp/bank",
)
sim = _simulator(
    "sim",
    "The simulator: serve a bank, act on it, read its ledger (--help shows its commands)."
    "\n\nExample: modemctl sim run chatter --dir /tmp/day --until 24h",
)
record = _simulator(
    "record",
    "Record a modem's session to a file, without its secrets (--help shows its options)."
    "\n\nExample: modemctl record /dev/ttyUSB2 --to e1750.jsonl --pty /tmp/e1750",
    "record",
)
replay = _simulator(
    "replay",
    "Serve a recording as a modem (--help shows its options)."
    "\n\nExample: modemctl replay e1750.jsonl --pty /tmp/e1750",
    "replay",
)
conformance = _simulator(
    "conformance",
    "Check what a modem can, cannot and does oddly (--help shows its options)."
    "\n\nExample: modemctl conformance /dev/ttyUSB2",
    "conformance",
)


@click.command(
    "check-config",
    epilog="Example: modemctl check-config --config /etc/modemctl/modemctl.toml",
)
@_config
@click.option("--json", "as_json", is_flag=True, help="Print settings, or mistakes, as JSON.")
@click.pass_obj
def check_config(connection: Connection, config_path: Path | None, *, as_json: bool) -> int:
    """Read the settings, report every mistake with its place.

    The site's families and lists of words are read too. The place is file, line and key. Exit
    status 78: there are mistakes.
    """
    from modemctl.config import load
    from modemctl.fleet.families import site_families
    from modemctl.service.content_lists import content_rules

    path = config_path or connection.config_path
    try:
        settings = load(path)
        own = [family.capabilities.family for family in site_families(settings.bank.families)]
        lists = [rule.name for rule in content_rules(settings).lists]
    except ConfigError as error:
        if not as_json:
            raise
        click.echo(json.dumps({"problems": error.problems}, ensure_ascii=False))
        return EXIT_CONFIG
    if as_json:
        click.echo(settings.model_dump_json())
    else:
        digest = settings.policy_digest()[:16]
        click.echo(f"{path}: well-formed (policy digest {digest}…)")
        if own:
            click.echo(f"{settings.bank.families}: families of this site: {', '.join(own)}")
        if lists:
            click.echo(f"{settings.content.lists}: lists of words: {', '.join(lists)}")
    return 0


@click.group()
def db() -> None:
    """The database: create, upgrade, look, move."""


@db.command(epilog="Example: modemctl db upgrade")
@click.pass_obj
def upgrade(connection: Connection) -> None:
    """Create the database or bring it to this version's schema; keeps a copy first."""
    from modemctl.clock import SystemClock
    from modemctl.config import load
    from modemctl.store.engine import sqlite_path
    from modemctl.store.key_files import load_database, load_vault
    from modemctl.store.lock import state_lock
    from modemctl.store.migrate import upgrade as migrate

    settings = load(connection.config_path)
    url = load_database(settings.paths)
    if sqlite_path(url) is None:
        click.echo("PostgreSQL: no copy is kept first, as of a file; have a backup of today")
    with state_lock(settings.paths.state_dir):
        copy = migrate(
            url,
            vault=load_vault(settings.paths),
            site_id=settings.site.id,
            now=SystemClock().now(),
        )
    if copy is not None:
        click.echo(f"kept a copy: {copy}")
    click.echo("database is at this version's schema")


@db.command(epilog="Example: modemctl db status")
@click.pass_obj
def status(connection: Connection) -> None:
    """Say whether this version can work with the database and the master key."""
    from modemctl.config import load
    from modemctl.store.engine import SCHEMA_REVISION, sqlite_path

    settings = load(connection.config_path)
    require_database(settings)
    path = sqlite_path(settings.paths.database_url)
    size = "" if path is None else f", {_size(path)}"
    click.echo(f"database fits: schema {SCHEMA_REVISION}{size}")


db.add_command(copy)
db.add_command(reopen)


def require_database(settings: Settings) -> None:
    """Refuse a database that is not there, not ours, of another version or of another key.

    Raises:
        ConfigError: with the cure.
    """
    from modemctl.store.engine import create_engines, readable, require_schema, sqlite_path
    from modemctl.store.key_files import load_database, load_vault
    from modemctl.store.keys import unlock

    url = load_database(settings.paths)
    path = sqlite_path(url)
    if path is not None and not path.exists():  # opening would make an empty one
        raise ConfigError([f"database {path} does not exist; run: modemctl db upgrade"])
    vault = load_vault(settings.paths)
    engine, reader = create_engines(url, n_readers=1)
    try:
        require_schema(engine, key_check=vault.check_value)
        with readable(url), engine.connect() as conn:
            unlock(conn, vault)
    finally:
        engine.dispose()
        reader.dispose()


def _size(path: Path) -> str:
    return f"{path.stat().st_size / 1_048_576:.1f} MiB"


COMMANDS: Final = {
    "run": run,
    "simulate": simulate,
    "sim": sim,
    "record": record,
    "replay": replay,
    "conformance": conformance,
    "check-config": check_config,
    "db": db,
}
