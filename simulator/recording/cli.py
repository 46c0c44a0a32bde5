"""The commands: `record`, `replay`, and `recording` for what can be made of a recording."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import secrets
import signal
from pathlib import Path

import click

from simulator.recording import tape, vectors
from simulator.recording.stage import Applause, play
from simulator.recording.tap import STOPPED, Plan, Summary, Tap
from simulator.recording.tape import TapeError
from simulator.recording.wire import WireError, source
from simulator.wire.ports import SocketKind

_FILE = click.Path(path_type=Path, dir_okay=False)
_EXISTING = click.Path(path_type=Path, dir_okay=False, exists=True)


@click.command(
    epilog="Example: record /dev/ttyUSB2 --to e1750.jsonl --pty /tmp/e1750, then drive /tmp/e1750"
)
@click.argument("port")
@click.option("--to", "file", type=_FILE, required=True, help="The recording; must not exist.")
@click.option("--pty", "link", type=_FILE, help="Where the program finds the modem (FILE.port).")
@click.option("--baud", default=115200, show_default=True, help="Speed of the serial line.")
@click.option("--flow-control", is_flag=True, help="RTS/CTS on the serial line.")
@click.option("--model", default="", help="What to call the modem in the file.")
@click.option("--note", default="", help="A remark for the file; it is written as it stands.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def record(
    *,
    port: str,
    file: Path,
    link: Path | None,
    baud: int,
    flow_control: bool,
    model: str,
    note: str,
    as_json: bool,
) -> None:
    """Record what a program and the modem at PORT say to each other, without its secrets.

    PORT is a serial device, tcp:HOST:PORT or unix:PATH. The program is pointed at the --pty instead
    and notices nothing. PINs, identities, numbers and texts are written as stand-ins of the same
    shape. Ends with SIGINT or SIGTERM, or when the modem goes away (exit status 1).
    """
    link = link or file.with_suffix(".port")
    _require_free(link)
    try:
        chosen = source(port, baud=baud, has_flow_control=flow_control)
        plan = Plan(source=chosen, file=file, link=link, model=model, note=note)
        summary = asyncio.run(_record(plan, is_quiet=as_json))
    except WireError as error:
        raise click.ClickException(str(error)) from error
    except FileExistsError as error:
        raise click.ClickException(
            f"{file} exists already; recordings overwrite nothing"
        ) from error
    except OSError as error:
        raise click.ClickException(f"{error.filename or file}: {error.strerror}") from error
    _tell(summary, file, as_json=as_json)
    if summary.end != STOPPED:
        raise SystemExit(1)


async def _record(plan: Plan, *, is_quiet: bool) -> Summary:
    stopped = asyncio.Event()
    _stop_with(stopped)
    tap = Tap(plan, key=secrets.token_bytes(32), stopped=stopped)
    text = f"recording to {plan.file}; point the program at {plan.link}; Ctrl-C ends it"
    return await tap.run(lambda: click.echo(text, err=is_quiet))


def _stop_with(stopped: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)


def _require_free(link: Path) -> None:
    if link.exists() and not link.is_symlink():
        raise click.ClickException(f"{link} is something else already; choose another --pty")


def _tell(summary: Summary, file: Path, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"file": str(file), **dataclasses.asdict(summary)}))
        return
    masked = ", ".join(f"{count} × {kind}" for kind, count in sorted(summary.masked.items()))
    click.echo(
        f"{file}: {summary.end} after {summary.seconds:.1f} s; {summary.commands} commands, "
        f"{summary.to_modem} octets to the modem, {summary.from_modem} from it"
    )
    click.echo(f"stand-ins written for: {masked or 'nothing; no secret went by'}")
    if summary.lost:
        click.echo(f"the modem did not take {summary.lost} octets: it hangs, or flow control is on")


@click.command(epilog="Example: replay e1750.jsonl --pty /tmp/e1750 --fast")
@click.argument("file", type=_EXISTING)
@click.option("--pty", "pty", type=_FILE, help="Serve at this terminal (default: FILE.port).")
@click.option("--unix", "unix", type=_FILE, help="Serve at this Unix socket instead.")
@click.option("--tcp", is_flag=True, help="Serve at a free port of 127.0.0.1 instead.")
@click.option("--fast", is_flag=True, help="Answer at once, not in the recorded time.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def replay(
    *, file: Path, pty: Path | None, unix: Path | None, tcp: bool, fast: bool, as_json: bool
) -> None:
    """Serve a recording as a modem.

    Each command is answered with what was recorded after it, in the recorded order and time, then
    with the last answer again. Numbers, PINs and texts need not be the recorded ones. What was
    never recorded is answered ERROR and listed at the end. Ends with SIGINT or SIGTERM.
    """
    if sum((pty is not None, unix is not None, tcp)) > 1:
        raise click.UsageError("one of --pty, --unix, --tcp")
    found = _load(file)
    path = pty or unix or file.with_suffix(".port")
    kind = SocketKind.UNIX if unix else SocketKind.TCP if tcp else None
    if not unix or not path.is_socket():
        _require_free(path)
    try:
        applause = asyncio.run(_replay(found, path, kind, is_fast=fast, is_quiet=as_json))
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror}") from error
    if as_json:
        click.echo(json.dumps({"file": str(file), **dataclasses.asdict(applause)}))
        return
    click.echo(f"{applause.answered} commands answered from {file}")
    for command, count in sorted(applause.unknown.items()):
        click.echo(f"not in the recording, answered ERROR: {count} × {command}")


async def _replay(
    found: tape.Tape, path: Path, kind: SocketKind | None, *, is_fast: bool, is_quiet: bool
) -> Applause:
    stopped = asyncio.Event()
    _stop_with(stopped)

    def ready(address: str) -> None:
        count = len(found.records)
        click.echo(f"replaying {count} records at {address}; Ctrl-C ends it", err=is_quiet)

    return await play(found, path, kind=kind, is_fast=is_fast, stopped=stopped, ready=ready)


@click.group()
def recording() -> None:
    """What can be made of a recording: look at it, a persona draft, test vectors."""


@recording.command(epilog="Example: recording show e1750.jsonl")
@click.argument("file", type=_EXISTING)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a record.")
def show(*, file: Path, as_json: bool) -> None:
    """Print a recording, a line for each thing that went by."""
    found = _load(file)
    for item in found.records:
        if as_json:
            click.echo(json.dumps(dataclasses.asdict(item)))
        else:
            arrow = ">" if item.sender is tape.Sender.HOST else "<"
            masked = f"  [{', '.join(item.masked)}]" if item.masked else ""
            text = item.data.strip("\r\n").encode("unicode_escape").decode("ascii")
            click.echo(f"{item.ms / 1000:10.3f} {arrow} {item.what:<8} {text}{masked}")
    if not found.is_complete and not as_json:
        click.echo("the recording was cut off here")


@recording.command("draft", epilog="Example: recording draft e1750.jsonl --to e1750.toml")
@click.argument("file", type=_EXISTING)
@click.option("--to", "target", type=_FILE, help="Write here instead of printing.")
@click.option("--name", default="", help="The persona's name (default: from the model).")
def draft_persona(*, file: Path, target: Path | None, name: str) -> None:
    """Draft a persona file from a recording."""
    from simulator.recording.draft import draft

    _put(draft(_load(file), name=name), target)


@recording.command("vectors", epilog="Example: recording vectors e1750.jsonl --to e1750.json")
@click.argument("file", type=_EXISTING)
@click.option("--to", "target", type=_FILE, help="Write here instead of printing.")
def write_vectors(*, file: Path, target: Path | None) -> None:
    """Make test vectors of a recording: each command with the octets that came back."""
    made = vectors.vectors(_load(file))
    _put(json.dumps(made, indent=1, ensure_ascii=False) + "\n", target)


def _put(text: str, target: Path | None) -> None:
    if target is None:
        click.echo(text, nl=False)
        return
    try:
        with target.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise click.ClickException(f"{target} exists already; choose another --to") from error
    except OSError as error:
        raise click.ClickException(f"{target}: {error.strerror}") from error
    click.echo(f"wrote {target}")


def _load(file: Path) -> tape.Tape:
    try:
        return tape.load(file)
    except TapeError as error:
        raise click.ClickException(str(error)) from error
