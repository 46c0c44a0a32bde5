"""The command line: a client of the daemon's API, and the few commands that need no daemon."""

from __future__ import annotations

import errno
import importlib
import io
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, TextIO

import click

from modemctl.cli.client import Connection
from modemctl.cli.errors import (
    EXIT_CONFIG,
    EXIT_INTERRUPTED,
    EXIT_REFUSED,
    ApiProblem,
    NoDaemon,
    Refusal,
    explain,
)
from modemctl.cli.show import JSON_WANTED
from modemctl.config import DEFAULT_PATH
from modemctl.errors import ConfigError, ModemctlError

HOMES: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "account": ("accounts", "Accounts: people and systems, and what they may do."),
        "at": ("at_console", "Send an AT command to a modem, through the daemon."),
        "audit": ("audit_log", "The audit log: read it, prove that nobody edited it."),
        "backup": ("backups", "Backups: encrypted, each day by itself, copied on Fridays."),
        "batch": ("batches", "Batches: submit, approve, start, watch."),
        "calls": ("traffic", "Calls that the modems saw."),
        "case": ("violations", "Violation cases: opened, investigated, appealed, reviewed."),
        "check-config": ("local", "Read the settings, report every mistake with its place."),
        "conformance": ("local", "Check what a modem can, cannot and does oddly."),
        "customer": ("customers", "Registers of customers: whom notices may go to."),
        "db": ("local", "The database: create, upgrade, look."),
        "demo": ("demo_command", "Play the whole mission against a simulated bank."),
        "department": (
            "departments",
            "Departments: what cards, accounts, authorities and batches may name.",
        ),
        "doctor": ("doctor_command", "Check what the daemon stands on, and name each cure."),
        "doubt": ("messages", "Segments of which nobody knows whether they left."),
        "duties": ("duties", "Regular duties: when each was done last."),
        "elevation": (
            "elevations",
            "Roles for a time: the department's head asks, an administrator confirms.",
        ),
        "events": ("overview", "What happened, and what happens."),
        "evidence": ("evidence", "Evidence packages: signed and encrypted, by two persons."),
        "erase": ("records", "A person's number and texts are taken out; a keyed hash stays."),
        "hold": ("records", "Legal holds: what they keep is neither purged nor erased."),
        "incident": (
            "incidents",
            "Incidents: opened, told to whom they concern, corrected, closed.",
        ),
        "export": ("exports", "Exports: data that leave, encrypted and on a ledger."),
        "handover": (
            "handovers",
            "Shift hand-over: what is open, made by one shift, taken by the next.",
        ),
        "inbox": ("traffic", "Messages that came in."),
        "key": ("keys", "Keys: of the database, of the API, of approvers."),
        "limits": ("limits", "Limits, and how much of each is used."),
        "message": ("messages", "Single messages: find them, explain what became of them."),
        "modems": ("modems", "The bank's bays and their modems."),
        "node": (
            "nodes",
            "Servers that share the database: see them, drain, bring back, remove.",
        ),
        "operator": (
            "operators",
            "Operators of departments: two managers sign, the general department files.",
        ),
        "opt-outs": ("traffic", "Numbers that want no promotions."),
        "policy": ("policy", "The settings' policy: what counts, what was changed."),
        "purge": ("records", "What has been kept long enough is removed, on record."),
        "record": ("local", "Record a modem's session to a file, without its secrets."),
        "report": ("reports", "Reports: make, fetch, file and verify them."),
        "register-faults": ("duties", "Where the register is not true: numbers on cards, leases."),
        "replay": ("local", "Serve a recording as a modem."),
        "request": ("requests", "Acts of two persons: one asks, a colleague confirms."),
        "restore": ("restoring", "Restore a backup into an empty state folder, or try it."),
        "resume": ("stops", "Lift a stop."),
        "run": ("local", "Run the daemon in the foreground (systemd starts it so)."),
        "self-test": (
            "duties",
            "Test bays now, or all: port, card, registration, signal, balance.",
        ),
        "sim": ("local", "The simulator: serve a bank, act on it, read its ledger."),
        "simulate": ("local", "Serve a simulated bank of modems until stopped."),
        "sims": ("sims", "The register of SIM cards."),
        "stop": ("stops", "Stop sending at once, and tell what had left."),
        "stops": ("stops", "Stops: those that stand, and exactly what each one reached."),
        "status": ("overview", "Whether the daemon is well, and what it has to do."),
        "vault": ("vault", "The vault's keys: see them, rotate them while everything runs."),
        "training": (
            "trainings",
            "Training, confidentiality agreement and drills of persons.",
        ),
        "webhook": ("webhooks", "Webhooks: who is sent which events, what did not arrive."),
    }
)  # fmt: skip
"""Command → module of this folder and short help: `--help` loads none of them (start-up time)."""


class LazyGroup(click.Group):
    """Loads a sub-command's module when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, sorted."""
        del ctx
        return sorted(HOMES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name."""
        del ctx
        home = HOMES.get(cmd_name)
        if home is None:
            return None
        module = importlib.import_module(f"modemctl.cli.{home[0]}")
        command = module.COMMANDS[cmd_name]
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands in the help, from the table."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, HOMES[name][1]) for name in sorted(HOMES)])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the first argument names.

        Raises:
            UsageError: there is none; the closest names are shown.
        """
        if args and args[0] not in HOMES and not args[0].startswith("-"):
            import difflib

            close = difflib.get_close_matches(args[0], HOMES, n=2)
            hint = f" Did you mean {' or '.join(close)}?" if close else ""
            raise click.UsageError(f"No such command {args[0]!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """Run; where JSON was asked for, a refusal is shown as such."""
        try:
            return super().invoke(ctx)
        except (ApiProblem, NoDaemon, Refusal) as error:
            if not ctx.meta.get(JSON_WANTED):
                raise
            problem = error.problem if isinstance(error, ApiProblem) else _local(error)
            click.echo(json.dumps(dict(problem), ensure_ascii=False), err=True)
            return EXIT_REFUSED


def _local(error: NoDaemon | Refusal) -> Mapping[str, object]:
    """What never reached the daemon, in the form of its problems; status 0: there is no answer."""
    rule, _, cure = str(error).partition("\n  → ")
    kind = "no-daemon" if isinstance(error, NoDaemon) else "refused-here"
    return {
        "type": f"urn:modemctl:problem:{kind}",
        "title": "Nobody answers" if isinstance(error, NoDaemon) else "The command refuses",
        "status": 0,
        "detail": str(error).replace("\n  → ", "; "),
        "rule": rule,
        "cure": cure,
    }


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start here: `modemctl demo` runs everything against a simulated bank."
    " Exit status: 0 done, 1 refused, 2 wrong usage, 78 wrong configuration.",
)
@click.version_option(package_name="modemctl")
@click.option(
    "--config",
    "-c",
    "config_path",
    type=click.Path(path_type=Path, readable=False),
    envvar="MODEMCTL_CONFIG",
    default=DEFAULT_PATH,
    show_default=True,
    help="Settings file (for run, check-config, doctor, db, key bootstrap,"
    " audit verify --offline).",
)
@click.option(
    "--socket",
    "socket_path",
    type=click.Path(path_type=Path, readable=False),
    envvar="MODEMCTL_SOCKET",
    default=Path("/run/modemctl/api.sock"),
    show_default=True,
    help="The daemon's Unix socket.",
)
@click.option(
    "--key-file",
    type=click.Path(path_type=Path, readable=False),
    envvar="MODEMCTL_KEY",
    help="File that holds your API key; without it your user id on this server counts.",
)
@click.pass_context
def cli(ctx: click.Context, config_path: Path, socket_path: Path, key_file: Path | None) -> None:
    """Controller for a bank of USB GSM modems.

    Sends approved SMS only, loses nothing, locks no card by guessing.
    """
    ctx.obj = Connection(config_path=config_path, socket_path=socket_path, key_file=key_file)


def main() -> None:
    """Run the command line; one clear line for each problem, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that cannot show 中 gets \u4e2d
            stream.reconfigure(errors="backslashreplace")
    try:
        status = _run()
        if sys.stdout is not None:  # closed by the caller: `>&-`
            sys.stdout.flush()
    except BrokenPipeError:  # `| head` has seen enough
        _drop(sys.stdout)
        status = EXIT_REFUSED
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        click.echo(f"modemctl: {where}{error.strerror or error}", err=True)
        _drop(sys.stdout)
        status = EXIT_REFUSED
    sys.exit(status)


def _run() -> int:
    try:
        status = cli(prog_name="modemctl", standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt) as error:
        is_answered = sys.stdin is not None and sys.stdin.isatty()
        if isinstance(error, click.exceptions.Abort) and not is_answered:
            click.echo("\nmodemctl: nothing was done; without a terminal say --yes", err=True)
        return EXIT_INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except ConfigError as error:
        for problem in error.problems:
            click.echo(f"modemctl: {problem}", err=True)
        return EXIT_CONFIG
    except ModemctlError as error:
        click.echo(f"modemctl: {explain(error)}", err=True)
        return EXIT_REFUSED
    return status if isinstance(status, int) else 0


def _drop(stream: TextIO) -> None:
    """Let what is still buffered go nowhere: the interpreter would complain at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, stream.fileno())
    except OSError as error:
        if error.errno != errno.EBADF:
            raise
    finally:
        os.close(nowhere)
