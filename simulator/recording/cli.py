"""The commands: `record`, `replay`, and `recording` for what can be made of a recording."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import secrets
import signal
from pathlib import Path

import click

from simulator.recording import tape
from simulator.recording.tap import STOPPED, Plan, Summary, Tap
from simulator.recording.tape import TapeError
from simulator.recording.wire import WireError, source

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


def _load(file: Path) -> tape.Tape:
    try:
        return tape.load(file)
    except TapeError as error:
        raise click.ClickException(str(error)) from error
