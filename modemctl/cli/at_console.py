"""`modemctl at`: one AT command, or a console for many, through the daemon."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TextIO

import click

from modemctl.cli.client import Client, Connection, Record, in_path
from modemctl.cli.errors import EXIT_REFUSED, ApiProblem, NoDaemon, Refusal, printable
from modemctl.cli.show import as_json_option, show_done, show_json, show_record
from modemctl.policy.console import name_of

_HISTORY_MAX: Final = 500  # lines
_SECRET: Final = re.compile(r"[0-9]{4,}|[^\x20-\x7e]")
"""What keeps a line out of the history: a PIN has four digits, a number more."""
_LOOK_AGAIN: Final = 5  # seconds
_TURN: Final = 40
"""Seconds that a command may wait for its turn, beyond the time that it may take itself."""
_LATE: Final = "it may still do it: modemctl audit list --action modem.at.answered"
_HELP: Final = """\
Type AT commands; each waits for its turn between two segments and goes to the audit log.
  AT+CSQ, ATI, AT+CREG?    commands that read
  AT+COPS=0, AT+CFUN=4 …   commands that set ask for modems:configure (docs/cli.md lists them)
  state                    what the daemon knows of the bay
  help                     this
  Ctrl-D, exit             leave
Nobody sends messages, PINs, calls, another IMEI or firmware from here."""


@click.command(epilog="Example: modemctl at bay-07 AT+CSQ. Without a command: a console.")
@click.argument("bay")
@click.argument("command", required=False)
@as_json_option
@click.pass_obj
def at(connection: Connection, bay: str, command: str | None, *, as_json: bool) -> int:
    """Send an AT command to a modem, through the daemon.

    Commands that read, and with modems:configure some that set. It waits for its turn between two
    segments, and goes to the audit log. Without COMMAND: a console with a history; commands that
    come through a pipe are run one a line, and the exit status is 1 if one of them failed.
    """
    with connection.client() as client:
        if command is not None:
            answer = _send(client, bay, command)
            show_done(answer, "\n".join(_words(answer)), as_json=as_json)
            return 0
        console = Console(client, bay, as_json=as_json)
        if sys.stdin.isatty() and not as_json:
            with _line_editing():
                return console.talk()
        return console.run(sys.stdin)


def _send(client: Client, bay: str, command: str) -> Record:
    """The modem's answer; a person is told how long it has been waited for.

    Raises:
        ApiProblem, NoDaemon: as the client.
        Refusal: the bay has not answered in time.
    """
    path = f"/v1/modems/{in_path(bay)}/at"
    answer = client.post(path, {"command": command, "wait": _LOOK_AGAIN})
    if answer.get("done_at"):
        return answer
    limit = answer.get("time_limit")
    most = int(limit) if isinstance(limit, int | float) else 0
    with _passing_line() as tell:
        for waited in range(_LOOK_AGAIN, most + _TURN, _LOOK_AGAIN):
            tell(f"{bay} is at it: {waited} s, at most {most}; Ctrl-C waits no longer")
            answer = client.get(f"{path}/{answer['wish_id']}", wait=_LOOK_AGAIN)
            if answer.get("done_at"):
                return answer
    raise Refusal(f"{bay} is busy and has not answered", cure=_LATE)


@contextmanager
def _passing_line() -> Iterator[Callable[[str], None]]:
    """Tells on a terminal how far something is, in one line that is gone afterwards."""

    def tell(text: str) -> None:
        if sys.stderr.isatty():
            click.echo(f"\r{printable(text)}", err=True, nl=False)

    try:
        yield tell
    finally:
        if sys.stderr.isatty():
            click.echo("\r\x1b[K", err=True, nl=False)


def _words(answer: Record) -> list[str]:
    lines = answer.get("lines")
    return [str(line) for line in lines] if isinstance(lines, list) else []


class Console:
    """One session with one bay over one connection."""

    def __init__(self, client: Client, bay: str, *, as_json: bool) -> None:
        self._client = client
        self._bay = bay
        self._as_json = as_json

    def talk(self) -> int:
        """Ask for commands until the person leaves; a refusal does not end it.

        Raises:
            ApiProblem: there is no such bay, or this account may not see it.
            NoDaemon: there is none.
        """
        self._greet()
        while True:
            try:
                line = input(self._prompt()).strip()
            except EOFError:
                click.echo()
                return 0
            except KeyboardInterrupt:  # a line begun and not wanted
                click.echo()
                continue
            if line.lower() in {"exit", "quit"}:
                return 0
            if line:
                self._obey(line)

    def run(self, source: TextIO) -> int:
        """Send what comes line by line; 1 if one was refused or ended with an error."""
        status = 0
        for line in source:
            command = line.strip()
            if not command or command.startswith("#"):
                continue
            try:
                answer = _send(self._client, self._bay, command)
            except (ApiProblem, Refusal) as error:
                status = EXIT_REFUSED
                self._tell_refusal(command, error)
                continue
            words = _words(answer)
            if words[-1:] != ["OK"]:
                status = EXIT_REFUSED
            if self._as_json:
                show_json(answer | {"command": command})
            else:
                click.echo(printable("\n".join([f"> {command}", *words])))
        return status

    def _obey(self, line: str) -> None:
        if line.lower() in {"help", "?"}:
            click.echo(_HELP)
            return
        try:
            if line.lower() == "state":
                show_record(self._read_bay(), as_json=False)
                return
            answer = _send(self._client, self._bay, line)
        except (ApiProblem, NoDaemon, Refusal) as error:
            click.echo(f"modemctl: {error}", err=True)
            return
        except KeyboardInterrupt:
            click.echo("\nnot waited for; the modem may still do it", err=True)
            return
        _remember(line)
        click.echo(printable("\n".join(_words(answer))))

    def _prompt(self) -> str:
        try:
            state = self._read_bay().get("state")
        except (ApiProblem, NoDaemon):
            state = "?"
        return printable(f"{self._bay} {state}> ")

    def _read_bay(self) -> Record:
        return self._client.get(f"/v1/modems/{in_path(self._bay)}")

    def _greet(self) -> None:
        found = self._read_bay()
        facts = (found.get(name) for name in ("manufacturer", "model", "revision"))
        known = " ".join(str(fact) for fact in facts if fact)
        click.echo(printable(f"{self._bay}: {known or 'no modem was seen here'}"))
        click.echo("help tells what may be sent; Ctrl-D leaves")

    def _tell_refusal(self, command: str, error: ApiProblem | Refusal) -> None:
        """Without the command's values: they may be what was refused."""
        shown = name_of(command).removesuffix("…")
        if not self._as_json:
            click.echo(f"> {shown}…", err=True)
            click.echo(f"modemctl: {error}", err=True)
            return
        problem = dict(error.problem) if isinstance(error, ApiProblem) else {"title": str(error)}
        show_json({"command": shown, "problem": {key: str(one) for key, one in problem.items()}})


def history_file() -> Path:
    """Where the console keeps what was typed. Source: XDG Base Directory Specification."""
    home = os.environ.get("XDG_STATE_HOME", "")
    folder = Path(home) if home.startswith("/") else Path.home() / ".local" / "state"
    return folder / "modemctl" / "at_history"


@contextmanager
def _line_editing() -> Iterator[None]:
    """Line editing and a history that only the user may read; without either if they fail."""
    import readline

    readline.set_auto_history(False)  # what is remembered is decided after the answer
    readline.set_history_length(_HISTORY_MAX)
    try:
        path = history_file()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        path.chmod(0o600)
        readline.read_history_file(path)
    except (OSError, RuntimeError) as error:  # or this user has no home
        click.echo(f"no history: {printable(str(error))}", err=True)
        yield
        return
    try:
        yield
    finally:
        with suppress(OSError):  # the disk is full, or the folder gone
            readline.write_history_file(path)
            path.chmod(0o600)


def _remember(line: str) -> None:
    """Keep a command that was answered, if nothing in it can be a secret."""
    import readline

    if _SECRET.search(line) is None:
        readline.add_history(line)


COMMANDS: Final = {"at": at}
