"""The simulator's command line. Without a command's name the flags are those of `serve`."""

from __future__ import annotations

import difflib
import importlib
import io
import json
import os
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

import click

from simulator.cli.naming import program, with_program

HOMES: Final[Mapping[str, tuple[str, str, str]]] = MappingProxyType(
    {
        "balance": ("simulator.cli.network", "balance", "Set the money on cards."),
        "call": ("simulator.cli.acting", "call", "Let calls come in, or leave."),
        "check": ("simulator.cli.book", "check", "Compare what the network took with a list."),
        "conformance": ("simulator.conformance", "command",
                        "Check a modem or a persona: can, cannot, oddities."),
        "coverage": ("simulator.cli.network", "coverage", "Take the network away, bring it back."),
        "cut-off": ("simulator.cli.network", "cut_off", "Let the carrier cut cards off."),
        "do": ("simulator.cli.acting", "do", "Carry out any verb of the control socket."),
        "fault": ("simulator.cli.acting", "fault", "Give modems a fault, or take faults away."),
        "insert": ("simulator.cli.acting", "insert", "Put a card into a modem."),
        "latency": ("simulator.cli.network", "latency", "Change the network's pace."),
        "ledger": ("simulator.cli.book", "ledger", "What the network saw: show, filter, export."),
        "personas": ("simulator.cli.looking", "personas", "The models that there are."),
        "plug": ("simulator.cli.acting", "plug", "Plug modems or a hub."),
        "pull": ("simulator.cli.acting", "pull", "Take cards out of modems."),
        "reboot": ("simulator.cli.acting", "reboot", "Let modems restart by themselves."),
        "record": ("simulator.recording", "record", "Record a modem's session, without secrets."),
        "recording": ("simulator.recording", "recording", "What can be made of a recording."),
        "registration": ("simulator.cli.network", "registration", "Force cards' registration."),
        "replay": ("simulator.recording", "replay", "Serve a recording as a modem."),
        "rule": ("simulator.cli.network", "rule", "What the network does with matching submits."),
        "run": ("simulator.cli.serving", "run", "Play a scenario in no time, without clients."),
        "scenarios": ("simulator.cli.looking", "scenarios_", "The scenarios that there are."),
        "send": ("simulator.cli.acting", "send", "Let modems send an SMS, as a client would."),
        "serve": ("simulator.cli.serving", "serve", "Serve a bank until stopped."),
        "sms": ("simulator.cli.acting", "sms", "Send an SMS to cards, as a stranger would."),
        "state": ("simulator.cli.looking", "state", "What is true of the modems now."),
        "stop": ("simulator.cli.acting", "stop", "End the bank."),
        "swap": ("simulator.cli.acting", "swap", "Exchange two modems' cards."),
        "traffic": ("simulator.cli.acting", "traffic", "Start traffic, or end it."),
        "type": ("simulator.cli.acting", "type_", "Type a command into modems."),
        "unplug": ("simulator.cli.acting", "unplug", "Unplug modems or a hub."),
        "ussd": ("simulator.cli.network", "ussd", "Ask a code, or let the network begin."),
        "verbs": ("simulator.cli.looking", "verbs", "What `do` and a timeline can do."),
    }
)  # fmt: skip
"""Command → its module, its name there, short help: `--help` loads none of them."""

EXIT_REFUSED: Final = 1
"""The bank refused, or something asked for is not so."""
EXIT_USAGE: Final = 2
"""Wrong arguments, or a wrong scenario."""


class LazyGroup(click.Group):
    """Loads a command's module when it is asked for; unknown flags are those of `serve`."""

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
        command = getattr(importlib.import_module(home[0]), home[1])
        assert isinstance(command, click.Command)
        if command.epilog:
            command.epilog = with_program(command.epilog, HOMES)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands in the help, from the table."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, HOMES[name][2]) for name in sorted(HOMES)])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The examples, as the user would type them."""
        self.epilog = with_program(_EXAMPLES, HOMES)
        super().format_epilog(ctx, formatter)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the first argument names.

        Raises:
            UsageError: there is none; the closest names are shown.
        """
        if args and args[0] not in HOMES:
            close = difflib.get_close_matches(args[0], HOMES, n=2)
            hint = f" Did you mean {' or '.join(close)}?" if close else ""
            raise click.UsageError(f"No such command {args[0]!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)


_EXAMPLES: Final = (
    "Example: serve --modems 4 --dir /tmp/bank; in another window: sms modem01 hello"
    " --dir /tmp/bank; exit status: 0 done, 1 refused or different, 2 wrong usage or scenario."
)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
)
def cli() -> None:
    """A pretend bank of GSM modems with cards, network and faults.

    Flags alone (--modems 4 --dir /tmp/bank) are those of `serve`. Commands about a running bank
    take its folder by --dir or from the environment's SIMULATOR_DIR.
    """


def main(argv: Sequence[str] | None = None) -> int:
    """Run; the exit status. Each problem is one line (with --json one object) on stderr."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments and arguments[0].startswith("-") and arguments[0] not in {"-h", "--help"}:
        arguments.insert(0, "serve")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that cannot show 中 gets \u4e2d
            stream.reconfigure(errors="backslashreplace")
    try:
        status = _run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = EXIT_REFUSED
    except (click.exceptions.Abort, KeyboardInterrupt):
        status = 130
    return status


def _run(arguments: list[str]) -> int:
    from simulator.control.client import ControlError
    from simulator.reading import ScenarioError

    try:
        status = cli(arguments, prog_name=program(), standalone_mode=False)
    except click.UsageError as error:
        if "--json" not in arguments:
            error.show()
            return EXIT_USAGE
        problem, status = error.format_message(), EXIT_USAGE
    except click.ClickException as error:
        problem, status = error.format_message(), error.exit_code
    except ScenarioError as error:
        problem, status = str(error), EXIT_USAGE
    except ControlError as error:
        problem, status = str(error), EXIT_REFUSED
    except BrokenPipeError:
        raise
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        problem, status = f"{where}{error.strerror or error}", EXIT_USAGE
    else:
        return status if isinstance(status, int) else 0
    return _complain(problem, arguments, status)


def _complain(problem: str, arguments: Sequence[str], status: int) -> int:
    if "--json" in arguments:
        click.echo(json.dumps({"error": problem}, ensure_ascii=False), err=True)
    else:
        click.echo(f"{program()}: {problem}", err=True)
    return status
