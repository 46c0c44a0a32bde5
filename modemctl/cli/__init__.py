"""The command line: a client of the daemon's API, and the few commands that need no daemon."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Final

import click

from modemctl.cli.errors import EXIT_CONFIG, explain
from modemctl.config import DEFAULT_PATH
from modemctl.errors import ConfigError, ModemctlError

_HOME: Final = {
    "run": "local",
    "simulate": "local",
    "check-config": "local",
    "db": "local",
    "demo": "demo_command",
    "key": "keys",
    "audit": "keys",
    "account": "keys",
    "batch": "batches",
    "message": "batches",
    "doubt": "batches",
    "opt-outs": "bank",
    "modems": "bank",
    "sims": "bank",
    "inbox": "bank",
    "calls": "bank",
    "at": "bank",
    "events": "bank",
    "status": "bank",
}
"""Command → module of this folder: a command loads only what it needs (start-up time)."""


class LazyGroup(click.Group):
    """Loads a sub-command's module when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, sorted."""
        del ctx
        return sorted(_HOME)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name."""
        del ctx
        home = _HOME.get(cmd_name)
        if home is None:
            return None
        module = importlib.import_module(f"modemctl.cli.{home}")
        command = module.COMMANDS[cmd_name]
        assert isinstance(command, click.Command)
        return command


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start here: `modemctl demo` runs everything against a simulated bank.",
)
@click.version_option(package_name="modemctl")
@click.option(
    "--config",
    "-c",
    "config_path",
    type=click.Path(path_type=Path),
    envvar="MODEMCTL_CONFIG",
    default=DEFAULT_PATH,
    show_default=True,
    help="Settings file (for run, check-config, db, key create, audit --offline).",
)
@click.option(
    "--socket",
    "socket_path",
    type=click.Path(path_type=Path),
    envvar="MODEMCTL_SOCKET",
    default=Path("/run/modemctl/api.sock"),
    show_default=True,
    help="The daemon's Unix socket.",
)
@click.option(
    "--key-file",
    type=click.Path(path_type=Path),
    envvar="MODEMCTL_KEY",
    help="File that holds your API key; without it your user id on this server counts.",
)
@click.pass_context
def cli(ctx: click.Context, config_path: Path, socket_path: Path, key_file: Path | None) -> None:
    """Controller for a bank of USB GSM modems.

    Sends approved SMS only, loses nothing, locks no card by guessing.
    """
    from modemctl.cli.client import Connection

    ctx.obj = Connection(config_path=config_path, socket_path=socket_path, key_file=key_file)


def main() -> None:
    """Run the command line; one clear line for each problem, never a traceback."""
    try:
        status = cli(standalone_mode=False)
    except click.exceptions.Abort:
        status = 130
    except click.ClickException as error:
        error.show()
        status = error.exit_code
    except ConfigError as error:
        for problem in error.problems:
            click.echo(f"modemctl: {problem}", err=True)
        status = EXIT_CONFIG
    except ModemctlError as error:
        click.echo(f"modemctl: {explain(error)}", err=True)
        status = 1
    except BrokenPipeError:
        status = 0
    sys.exit(status if isinstance(status, int) else 0)
